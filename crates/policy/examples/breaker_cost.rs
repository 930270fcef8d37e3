//! What a call pays for a breaker: nanoseconds of ask + record, closed and healthy, with a hundredth
//! of failures, and of a rejection; alone, and with two threads that share the breaker.
//!
//! The best of many short rounds, with the loop and its random number in it. On a busy machine the
//! best figures mean something and the others do not.
//!
//! `cargo run --profile quick -p seawall-policy --example breaker_cost`
#![allow(clippy::print_stdout, reason = "its output is the point")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use seawall_policy::breaker::{Breaker, Span, Throttle, ThrottleSettings, Window, WindowSettings};
use seawall_policy::{Outcome, Tick};

const CALLS: u64 = 200_000;
const ROUNDS: u64 = 60;
/// Virtual time between two calls, about as long as one takes with what surrounds it.
const STEP: u64 = 1_000;

/// Makes `CALLS` calls, the `n`th of which fails if `n & mask` is `mask`.
fn calls(breaker: &impl Breaker, round: u64, mask: u64) -> (Instant, Instant) {
    let mut random = round | 1;
    let begin = Instant::now();
    for n in 0..CALLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let now = Tick((round * CALLS + n) * STEP);
        if let Ok(pass) = breaker.ask(now, random) {
            let outcome = match n & mask == mask {
                true => Outcome::Failure,
                false => Outcome::Success,
            };
            breaker.record(pass, black_box(outcome), Duration::from_nanos(STEP), now);
        }
    }
    (begin, Instant::now())
}

/// The best round of `threads` at once, from the first one's begin to the last one's end: a round in
/// which they did not overlap is no good one.
fn best(breaker: &impl Breaker, threads: usize, mask: u64) -> f64 {
    let barrier = Barrier::new(threads);
    let run = || {
        (0..ROUNDS)
            .map(|round| {
                barrier.wait();
                calls(breaker, round, mask)
            })
            .collect::<Vec<_>>()
    };
    let times: Vec<Vec<(Instant, Instant)>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        all.into_iter()
            .map(|t| t.join().expect("no thread panics"))
            .collect()
    });
    (0..ROUNDS as usize)
        .filter_map(|round| {
            let begin = times.iter().map(|of| of[round].0).min()?;
            let end = times.iter().map(|of| of[round].1).max()?;
            Some(end - begin)
        })
        .min()
        .map_or(f64::NAN, |t| t.as_nanos() as f64 / CALLS as f64)
}

fn print<B: Breaker>(name: &str, mask: u64, make: impl Fn() -> B) {
    let (one, two) = (best(&make(), 1, mask), best(&make(), 2, mask));
    println!("{name:<40} {one:>8.1} {two:>8.1}");
}

fn main() {
    let throttle = || {
        let settings = ThrottleSettings {
            shards: 2,
            ..ThrottleSettings::default()
        };
        Throttle::new(settings, Tick::ZERO)
    };
    let window = |span, opens| {
        let settings = WindowSettings {
            span,
            shards: 2,
            failure_ratio: Some(opens),
            ..WindowSettings::default()
        };
        Window::new(settings, Tick::ZERO)
    };
    let time = || window(Span::Time(Duration::from_secs(10)), 0.5);
    let count = |n| move || window(Span::Calls(n), 0.5);
    println!("{:<40} {:>8} {:>8}", "ns a call", "1 thread", "2");
    print("throttle", u64::MAX, throttle);
    print("throttle, 1/128 fails", 127, throttle);
    print("throttle, all fail", 0, throttle);
    print("window of 10 s", u64::MAX, time);
    print("window of 10 s, 1/128 fails", 127, time);
    print("window of 10 s, all fail", 0, time);
    print("window of 1,000 calls", u64::MAX, count(1_000));
    print("window of 100 calls", u64::MAX, count(100));
    print("window of 20 calls", u64::MAX, count(20));
}
