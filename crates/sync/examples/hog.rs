//! A task that does not yield keeps its worker: what that does to the rest.
//!
//! A thread outside of the runtime spawns a task every millisecond and measures how long it takes
//! until that runs, while other tasks keep the workers busy.
//!
//! ```sh
//! cargo run --release -p seawall-sync --features rt --example hog
//! ```

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

const SECOND: Duration = Duration::from_secs(1);

fn main() -> std::io::Result<()> {
    println!("from spawn to run, ms                    p50      p99  longest");
    measure("idle", |_| {})?;
    measure("1 of 2 workers hogged for 1 s", |runtime| {
        runtime.spawn(async { work(SECOND) });
    })?;
    measure("2 of 2 workers hogged for 1 s", |runtime| {
        runtime.spawn(async { work(SECOND) });
        runtime.spawn(async { work(SECOND) });
    })?;
    measure("the same, yielding every 0.1 ms", |runtime| {
        for _ in 0..2 {
            runtime.spawn(async {
                let start = Instant::now();
                while start.elapsed() < SECOND {
                    work(Duration::from_micros(100));
                    tokio::task::yield_now().await;
                }
            });
        }
    })?;
    measure("the same on the blocking pool", |runtime| {
        for _ in 0..2 {
            runtime.spawn_blocking(|| work(SECOND));
        }
    })
}

fn work(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn measure(name: &str, disturb: impl Fn(&Runtime)) -> std::io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
    disturb(&runtime);
    let (send, waits) = mpsc::channel();
    let start = Instant::now();
    while start.elapsed() < SECOND {
        let (send, spawned) = (send.clone(), Instant::now());
        runtime.spawn(async move { send.send(spawned.elapsed()) });
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(send);
    let mut waits: Vec<_> = waits
        .iter()
        .map(|wait: Duration| wait.as_secs_f64() * 1e3)
        .collect();
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied();
    let [p50, p99] = [0.5, 0.99].map(|share| at(share).unwrap_or(f64::NAN));
    let longest = waits.last().copied().unwrap_or(f64::NAN);
    println!("{name:<35} {p50:>8.2} {p99:>8.2} {longest:>8.2}");
    Ok(())
}
