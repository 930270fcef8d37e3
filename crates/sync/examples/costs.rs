//! What reading a snapshot and using a pool cost, beside peers, on one and two threads.
//!
//! `cargo run -p seawall-sync --all-features --profile quick --example costs`
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use seawall_sync::{Pool, Snapshot};

const CALLS: u32 = 2_000_000;

/// Nanoseconds per call, the best of seven rounds; of several threads, the mean.
fn cost(threads: usize, call: impl Fn() + Sync) -> f64 {
    let round = || {
        let start = Barrier::new(threads);
        let run = || {
            start.wait();
            let begin = Instant::now();
            (0..CALLS).for_each(|_| call());
            begin.elapsed().as_nanos() as f64 / f64::from(CALLS)
        };
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let total: f64 = runs
                .into_iter()
                .map(|run| run.join().unwrap_or(f64::NAN))
                .sum();
            total / threads as f64
        })
    };
    (0..7).map(|_| round()).fold(f64::MAX, f64::min)
}

fn report(name: &str, call: impl Fn() + Sync) {
    println!("{name:44} {:7.1} {:7.1}", cost(1, &call), cost(2, &call));
}

fn main() {
    println!("{:44} {:>7} {:>7}", "ns per operation", "1", "2 threads");
    let (snapshot, done) = (Snapshot::new([1u64; 8]), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                snapshot.store([2; 8]);
                std::thread::sleep(Duration::from_micros(940));
            }
        });
        let start = Instant::now();
        report("Snapshot read", || _ = black_box(snapshot.load()[0]));
        let swaps = snapshot.version() as f64 / start.elapsed().as_secs_f64();
        println!("  while a writer swapped {swaps:.0}/s");
        done.store(true, Relaxed);
    });

    let ours: Pool<Vec<u8>> = Pool::recycling(64, || Vec::with_capacity(1024));
    report("Pool get + put", || ours.get().push(1));
    report("Pool get + put, three at a time, each", || {
        // A third of the calls does three.
        thread_local!(static TURN: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
        if TURN.replace((TURN.get() + 1) % 3) == 0 {
            let mut held = [ours.get(), ours.get(), ours.get()];
            held.iter_mut().for_each(|buffer| buffer.push(1));
        }
    });
    let make = || Vec::<u8>::with_capacity(1024);
    let peer = object_pool::Pool::new(64, make);
    report("object-pool pull + drop", || {
        let mut buffer = peer.pull(make);
        buffer.clear();
        buffer.push(1);
    });
    let peer = lockfree_object_pool::LinearObjectPool::<Vec<u8>>::new(make, Vec::clear);
    report("lockfree-object-pool linear", || peer.pull().push(1));
    let peer = Arc::new(lockfree_object_pool::SpinLockObjectPool::<Vec<u8>>::new(
        make,
        Vec::clear,
    ));
    report("lockfree-object-pool spin lock", || peer.pull().push(1));
    report("allocate and free 1 KiB", || black_box(make()).push(1));
}
