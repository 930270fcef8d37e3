//! Where a task waits for a worker, and from where another worker steals it.
//!
//! ```sh
//! cargo run --release -p seawall-sync --features rt --example stealing
//! ```

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

const BUSY: Duration = Duration::from_millis(200);

fn main() -> std::io::Result<()> {
    println!("A task spawns children and then keeps its worker for {BUSY:?}; the other is idle:");
    for children in [1, 2, 4] {
        let waits = children_of_a_busy_task(&two_workers()?, children);
        println!("  {children} spawned: {}", waits.join(", "));
    }
    println!(
        "A task spawns children while both workers are kept; in the injection queue are then:"
    );
    for children in [256, 257, 258, 1_000] {
        let depth = overflow(&two_workers()?, children);
        println!("  {children:>5} spawned: {depth}");
    }
    let runtime = two_workers()?;
    let keep = keep_both(&runtime);
    for _ in 0..10 {
        runtime.spawn(async {});
    }
    println!(
        "10 spawned from outside: {}",
        runtime.metrics().global_queue_depth()
    );
    keep.store(false, Relaxed);
    Ok(())
}

fn two_workers() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).build()
}

/// When and where each child ran, in the order in which they were spawned.
fn children_of_a_busy_task(runtime: &Runtime, children: usize) -> Vec<String> {
    let (send, ran) = mpsc::channel();
    runtime.spawn(async move {
        let parent = thread::current().id();
        for child in 0..children {
            let (send, spawned) = (send.clone(), Instant::now());
            tokio::spawn(async move {
                let place = if thread::current().id() == parent {
                    "same"
                } else {
                    "other"
                };
                send.send((child, spawned.elapsed(), place))
            });
        }
        let start = Instant::now();
        while start.elapsed() < BUSY {
            std::hint::spin_loop();
        }
    });
    let mut ran: Vec<_> = ran.iter().collect();
    ran.sort_unstable();
    let told = ran
        .into_iter()
        .map(|(_, wait, place)| format!("{place} worker after {:.2} ms", wait.as_secs_f64() * 1e3));
    told.collect()
}

/// How many of the children of one task end up in the queue that all workers share.
fn overflow(runtime: &Runtime, children: usize) -> usize {
    let (send, depth) = mpsc::channel();
    let keep = Arc::new(AtomicBool::new(true));
    let other = Arc::clone(&keep);
    let begun = Arc::new(AtomicBool::new(false));
    let running = Arc::clone(&begun);
    runtime.spawn(async move { kept(&other, &running) });
    wait_for(&begun);
    runtime.spawn(async move {
        for _ in 0..children {
            tokio::spawn(async {});
        }
        send.send(Handle::current().metrics().global_queue_depth())
    });
    let depth = depth.recv().unwrap_or(usize::MAX);
    keep.store(false, Relaxed);
    depth
}

/// Occupies both workers until the flag is taken down.
fn keep_both(runtime: &Runtime) -> Arc<AtomicBool> {
    let keep = Arc::new(AtomicBool::new(true));
    for _ in 0..2 {
        let begun = Arc::new(AtomicBool::new(false));
        let (keep, running) = (Arc::clone(&keep), Arc::clone(&begun));
        runtime.spawn(async move { kept(&keep, &running) });
        wait_for(&begun);
    }
    keep
}

fn kept(keep: &AtomicBool, begun: &AtomicBool) {
    begun.store(true, Relaxed);
    while keep.load(Relaxed) {
        std::hint::spin_loop();
    }
}

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Relaxed) {
        thread::yield_now();
    }
}
