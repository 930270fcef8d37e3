//! Asking a breaker and telling it how the call went: closed, and all is well.

use std::hint::black_box;
use std::time::Duration;

use failsafe::CircuitBreaker as _;
use seawall_policy::breaker::{Breaker, Throttle, ThrottleSettings, Window, WindowSettings};
use seawall_policy::{Outcome, Tick};

use super::{Case, threads, together};
use crate::peers::Peer;

const RECLOSER: Peer = Peer::Library("recloser");
const FAILSAFE: Peer = Peer::Library("failsafe");
/// Calls of a thread in a run of full length.
const CALLS: f64 = 1e7;
/// Virtual time between two calls of a thread: windows end as they would.
const STEP: u64 = 1_000;
const COST: &str = "ask and record";

pub(super) fn cases() -> Vec<Case> {
    let goals = [(1, "<= 25"), (2, "<= 40")];
    let throttle = |shards| -> Box<dyn Breaker> {
        let settings = ThrottleSettings {
            shards,
            ..ThrottleSettings::default()
        };
        Box::new(Throttle::new(settings, Tick::ZERO))
    };
    let window = |shards| -> Box<dyn Breaker> {
        let settings = WindowSettings {
            shards,
            ..WindowSettings::default()
        };
        Box::new(Window::new(settings, Tick::ZERO))
    };
    let throttles = goals.map(|(count, goal)| case("throttle", count, goal, throttle));
    let windows = goals.map(|(count, goal)| case("window", count, goal, window));
    throttles.into_iter().chain(windows).collect()
}

fn case(
    kind: &str,
    count: usize,
    goal: &'static str,
    make: impl Fn(usize) -> Box<dyn Breaker> + 'static,
) -> Case {
    let name = format!("breaker, {kind}, {}", threads(count));
    let peers = [Peer::Seawall, RECLOSER, FAILSAFE];
    Case::new(name, &peers, move |peer, setup| {
        let calls = setup.length(CALLS) as u64;
        if peer == Peer::Seawall {
            let breaker = make(count);
            return together::cost(COST, goal, count, calls, |thread, calls| {
                ask_and_record(breaker.as_ref(), thread as u64, calls);
            });
        }
        let good = || black_box(Ok::<(), ()>(()));
        let cost = |call: &(dyn Fn() + Sync)| {
            together::cost(COST, goal, count, calls, |_, calls| {
                for _ in 0..calls {
                    call();
                }
            })
        };
        if peer == RECLOSER {
            let breaker = recloser::Recloser::default();
            cost(&|| drop(black_box(breaker.call(good))))
        } else {
            let breaker = failsafe::Config::new().build();
            cost(&|| drop(black_box(breaker.call(good))))
        }
    })
}

fn ask_and_record(breaker: &dyn Breaker, thread: u64, calls: u64) {
    let mut random = thread + 1;
    for call in 0..calls {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let now = Tick(call * STEP);
        if let Ok(pass) = breaker.ask(now, random) {
            let outcome = black_box(Outcome::Success);
            breaker.record(pass, outcome, Duration::from_nanos(STEP), now);
        }
    }
}
