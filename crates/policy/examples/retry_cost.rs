//! What a retry budget costs, in nanoseconds: a deposit and a withdrawal, the best of several
//! rounds, on one thread and on two that share it; and what recording a latency costs.
//!
//! `cargo run --release -p seawall-policy --example retry_cost`
#![allow(clippy::print_stdout, reason = "its output is the point")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures: the code that it measures still takes time as an argument"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use seawall_policy::Tick;
use seawall_policy::retry::{Budget, BudgetSettings, Latencies, LatencySettings};
use seawall_sync::{Shard, Sharded};

const CALLS: u64 = 2_000_000;
const ROUNDS: usize = 15;

/// The best round's nanoseconds for one `step`, where each thread makes `CALLS`, one every 200 ns
/// of virtual time.
fn best(threads: usize, step: impl Fn(Tick) + Sync) -> f64 {
    let round = |n: usize| {
        let begin = Barrier::new(threads);
        let run = || {
            begin.wait();
            let start = Instant::now();
            for i in 0..CALLS {
                step(Tick((n as u64 * CALLS + i) * 200));
            }
            start.elapsed()
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let longest = all
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .max();
            longest.unwrap_or(Duration::MAX).as_nanos() as f64 / CALLS as f64
        })
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn budget(ratio: f64, shards: usize) -> Budget {
    Budget::new(&BudgetSettings {
        ratio,
        floor: 1.0,
        shards,
        ..Default::default()
    })
}

fn main() {
    println!("{:<44} {:>9} {:>9}", "ns", "1 thread", "2 threads");
    let row = |name: &str, one: f64, two: f64| println!("{name:<44} {one:>9.1} {two:>9.1}");
    let addition = |threads| {
        let count = Sharded::new(threads, || AtomicU64::new(0));
        best(threads, |now| {
            count.get(Shard::current()).fetch_add(now.0, Relaxed);
        })
    };
    row(
        "an atomic addition, for comparison",
        addition(1),
        addition(2),
    );
    let both = |ratio| {
        let cost = |threads| {
            let budget = budget(ratio, threads);
            best(threads, |now| {
                budget.deposit(now);
                black_box(budget.withdraw(now));
            })
        };
        (cost(1), cost(2))
    };
    let (one, two) = both(1.0);
    row("deposit and withdraw, granted", one, two);
    let (one, two) = both(0.1);
    row("deposit and withdraw, nine of ten refused", one, two);
    let deposit = |threads| {
        let budget = budget(0.1, threads);
        best(threads, |now| budget.deposit(now))
    };
    row("deposit", deposit(1), deposit(2));
    let record = |threads| {
        let latencies = Latencies::new(&LatencySettings {
            shards: threads,
            ..Default::default()
        });
        best(threads, |now| {
            latencies.record(Duration::from_nanos(1_000_000 + now.0 % 977_000), now);
        })
    };
    row("record a latency", record(1), record(2));
}
