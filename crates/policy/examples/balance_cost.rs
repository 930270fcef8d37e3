//! What a pick among ten hosts and its finish cost, by algorithm, on one thread and on two that
//! share the hosts: nanoseconds per call, the best of several rounds. With Prequal, every response
//! carries a report and the probes' answers are taken in as well.
//!
//! `cargo run --release -p seawall-policy --example balance_cost [ROUNDS]`
#![allow(clippy::print_stdout, reason = "its output is the point")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use seawall_policy::balance::{Algorithm, Ask, BalanceSettings, HostSpec, Hosts, Load};
use seawall_policy::{Outcome, Tick};

/// Short rounds: a busy machine has quiet moments.
const CALLS: u32 = 200_000;

/// Calls of one thread, 1 µs apart, each answered after about a millisecond.
fn calls(hosts: &Hosts, seed: u64) {
    let mut random = seed;
    for call in 1..=CALLS {
        random = random.wrapping_mul(0xD134_2543_DE82_EF95) | 1;
        let now = Tick(u64::from(call) * 1_000);
        let ask = Ask {
            hash: Some(random.rotate_left(32)),
            ..Ask::default()
        };
        let Some(choice) = hosts.pick(&ask, now, random.rotate_left(32)) else {
            return;
        };
        black_box(choice.at());
        let latency = Duration::from_nanos(1_000_000 + (random >> 50));
        let load = Load {
            in_flight: (random >> 60) as u32,
            latency,
        };
        choice.finish(Outcome::Success, latency, Some(load), now + latency);
        if let Some(at) = hosts.probe_wanted(now, random) {
            hosts.probe_result(at, load, now);
        }
    }
}

/// From the first begin to the last end: threads that took turns instead of meeting show as slow.
fn round(hosts: &Hosts, threads: u32) -> f64 {
    let barrier = Barrier::new(threads as usize);
    let spans: Vec<_> = std::thread::scope(|scope| {
        let run = |seed: u32| {
            let barrier = &barrier;
            move || {
                barrier.wait();
                let begin = Instant::now();
                calls(hosts, u64::from(seed) * 2 + 0x5_DEEC_E66D);
                (begin, Instant::now())
            }
        };
        let running: Vec<_> = (0..threads).map(|seed| scope.spawn(run(seed))).collect();
        let spans = running.into_iter().filter_map(|thread| thread.join().ok());
        spans.collect()
    });
    let begin = spans.iter().map(|span| span.0).min();
    let end = spans.iter().map(|span| span.1).max();
    let took = begin.zip(end).map(|(begin, end)| end - begin);
    took.unwrap_or_default().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn main() {
    let argument = std::env::args().nth(1).and_then(|s| s.parse().ok());
    let rounds: u32 = argument.unwrap_or(60);
    println!(
        "{:<16} {:>10} {:>10}",
        "ns per call", "1 thread", "2 threads"
    );
    for algorithm in Algorithm::ALL {
        let specs: Vec<_> = (0..10).map(HostSpec::new).collect();
        let settings = BalanceSettings {
            algorithm,
            ..BalanceSettings::default()
        };
        let best = |threads| {
            let round = |_| round(&Hosts::new(settings, &specs, Tick::ZERO), threads);
            (0..rounds).map(round).fold(f64::INFINITY, f64::min)
        };
        println!(
            "{:<16} {:>10.1} {:>10.1}",
            algorithm.as_str(),
            best(1),
            best(2)
        );
    }
}
