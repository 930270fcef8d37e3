//! A million tasks on two workers: what one costs in time and in memory.
//!
//! ```sh
//! cargo run --release -p seawall-sync --features rt --example million_tasks
//! ```

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const TASKS: usize = 1_000_000;

fn main() -> std::io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(async {
        let before = resident();
        let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for _ in 0..TASKS {
            let (gate, waiting) = (Arc::clone(&gate), Arc::clone(&waiting));
            tasks.spawn(async move {
                waiting.fetch_add(1, Relaxed);
                // Closing the semaphore is what lets them all go.
                gate.acquire().await.is_err()
            });
        }
        let spawned = start.elapsed();
        while waiting.load(Relaxed) < TASKS {
            tokio::task::yield_now().await;
        }
        let bytes = resident().saturating_sub(before) / TASKS;
        gate.close();
        let mut ended = 0;
        while let Some(Ok(true)) = tasks.join_next().await {
            ended += 1;
        }
        let all = start.elapsed();
        println!("{ended} tasks on two workers: {bytes} bytes a waiting task");
        println!("{:.0} ns a task to spawn", each(spawned));
        println!(
            "{:.0} ns a task from spawn to join, with one wait between",
            each(all)
        );
    });
    Ok(())
}

fn each(all: Duration) -> f64 {
    all.as_secs_f64() * 1e9 / TASKS as f64
}

/// Bytes of memory in use, as Linux tells.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4_096
}
