//! What a flight costs: distinct keys on one thread, where nothing is coalesced and so all is cost;
//! and ten thousand callers of one key.
//!
//! `cargo run --profile quick -p seawall-sync --all-features --example flight`
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use seawall_sync::{Flight, Group, flight::FlightError};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

const CALLS: u64 = 200_000;
const ROUNDS: usize = 15;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (driven, kept) = (
        Flight::new(),
        Flight::new().keep(std::time::Duration::from_secs(9)),
    );
    let detached = driven.clone().detached();
    assert_eq!(kept.run(0, async { 7 }).await, Ok(7));
    let mut least = [f64::MAX; 4];
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for key in 0..CALLS {
            let _ = black_box(driven.run(key, async move { key }).await);
        }
        keep_least(&mut least[0], begun);
        let begun = Instant::now();
        for key in 0..CALLS {
            let _ = black_box(detached.run(key, async move { key }).await);
        }
        keep_least(&mut least[1], begun);
        let begun = Instant::now();
        for key in 0..CALLS {
            let _ = black_box(tokio::spawn(async move { key }).await);
        }
        keep_least(&mut least[2], begun);
        let begun = Instant::now();
        for _ in 0..CALLS {
            let _ = black_box(kept.run(0, async { 8 }).await);
        }
        keep_least(&mut least[3], begun);
    }
    println!(
        "distinct keys, driven by waiters {:.0} ns, detached {:.0} ns",
        least[0], least[1]
    );
    println!(
        "spawn + await alone {:.0} ns; a kept result {:.0} ns",
        least[2], least[3]
    );
    one_key().await;
}

async fn one_key() {
    let (flight, runs) = (Flight::new(), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let entered = Arc::new(AtomicUsize::new(0));
    let mut callers = Group::<(), FlightError>::new();
    let begun = Instant::now();
    for _ in 0..10_000 {
        let (flight, runs, gate) = (flight.clone(), runs.clone(), gate.clone());
        let entered = entered.clone();
        callers.spawn(async move {
            let work = async move {
                let _ = gate.acquire().await;
                runs.fetch_add(1, Relaxed);
            };
            entered.fetch_add(1, Relaxed);
            flight.run("key", work).await
        });
    }
    // A turn of this task lets only some of the others have theirs.
    while entered.load(Relaxed) < 10_000 {
        yield_now().await;
    }
    gate.close();
    let served = callers.join().await.all().map(|all| all.len());
    println!(
        "10,000 callers of one key: {} executions, {} served in {:?}",
        runs.load(Relaxed),
        served.unwrap_or_default(),
        begun.elapsed()
    );
}

fn keep_least(least: &mut f64, begun: Instant) {
    *least = least.min(begun.elapsed().as_secs_f64() * 1e9 / CALLS as f64);
}
