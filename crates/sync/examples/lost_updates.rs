//! Atomicity: a load and a store are two steps, `fetch_add` is one.
//!
//! ```sh
//! cargo run --release -p seawall-sync --example lost_updates
//! ```

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const THREADS: u64 = 2;
const EACH: u64 = 100_000_000;

fn main() {
    let two_steps = count(|counter| counter.store(counter.load(Relaxed) + 1, Relaxed));
    let one_step = count(|counter| {
        counter.fetch_add(1, Relaxed);
    });
    println!(
        "load, then store: {:>10} of {} lost",
        THREADS * EACH - two_steps,
        THREADS * EACH
    );
    println!(
        "fetch_add:        {:>10} of {} lost",
        THREADS * EACH - one_step,
        THREADS * EACH
    );
}

fn count(add: impl Fn(&AtomicU64) + Sync) -> u64 {
    let (counter, begin) = (AtomicU64::new(0), Barrier::new(THREADS as usize));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                begin.wait();
                (0..EACH).for_each(|_| add(&counter));
            });
        }
    });
    counter.into_inner()
}
