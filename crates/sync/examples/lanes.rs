//! What a lane that computes for long does to the latency of another, by where it runs.
//!
//! `cargo run -p seawall-sync --all-features --profile quick --example lanes`
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use seawall_sync::threads::{Cpus, Threads, ThreadsError, ThreadsOptions};

const REQUESTS: usize = 3_000;
/// Tasks of the heavy lane that are under way at any time.
const HEAVY: usize = 8;

fn compute(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        (0..100u64).for_each(|i| _ = black_box(i));
    }
}

fn lane(name: &str, workers: usize, cpus: Cpus) -> Result<Threads, ThreadsError> {
    Threads::start(ThreadsOptions {
        name: name.to_owned(),
        workers: NonZeroUsize::new(workers),
        cpus,
    })
}

/// Median and 99th percentile, in microseconds, from when a light task is handed over to its end.
/// One every 500 µs, each computing for 50 µs.
fn latency(light: &Threads) -> (u128, u128) {
    let mut times: Vec<_> = (0..REQUESTS)
        .map(|_| {
            std::thread::sleep(Duration::from_micros(500));
            let (sender, receiver) = std::sync::mpsc::channel();
            let start = Instant::now();
            light.spawn(async move {
                compute(Duration::from_micros(50));
                // The receiver waits for it.
                let _ = sender.send(start.elapsed());
            });
            receiver.recv().unwrap_or_default().as_micros()
        })
        .collect();
    times.sort_unstable();
    (times[REQUESTS / 2], times[REQUESTS * 99 / 100])
}

/// Keeps a lane busy with tasks that compute for 5 ms between awaits.
fn saturate(heavy: &Threads) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    for _ in 0..HEAVY {
        let done = Arc::clone(&done);
        heavy.spawn(async move {
            while !done.load(Relaxed) {
                compute(Duration::from_millis(5));
                tokio::task::yield_now().await;
            }
        });
    }
    done
}

fn main() -> Result<(), ThreadsError> {
    println!(
        "{:40} {:>9} {:>9}",
        "latency of the light lane, µs", "median", "p99"
    );
    let print = |name: &str, (median, p99)| println!("{name:40} {median:9} {p99:9}");
    let light = lane("light", 2, Cpus::Shared)?;
    print("unloaded", latency(&light));

    let done = saturate(&light);
    print("heavy tasks on the same runtime", latency(&light));
    done.store(true, Relaxed);

    for workers in [1, 2] {
        let heavy = lane("heavy", workers, Cpus::Shared)?;
        let done = saturate(&heavy);
        let name = format!("on {workers} of their own, CPUs shared");
        print(&name, latency(&light));
        done.store(true, Relaxed);
    }

    let heavy = lane("heavy", 1, Cpus::Exclusive)?;
    let done = saturate(&heavy);
    print("on 1 of their own, with a CPU of its own", latency(&light));
    done.store(true, Relaxed);
    Ok(())
}
