//! A breaker's probes under every interleaving and every allowed reordering of two threads.
//!
//! `pacer.rs` is compiled a second time here, over loom's words.

#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "../src/breaker/pacer.rs"]
mod pacer;

mod words {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

use std::sync::Arc;

use loom::thread;
use pacer::{Kind, Pacer, Turn, Turnstile};

const EVERY: u64 = 500;

fn both<T: 'static>(f: impl Fn(u64) -> T + Clone + 'static) -> (T, T) {
    let other = thread::spawn({
        let f = f.clone();
        move || f(1)
    });
    let mine = f(0);
    (mine, other.join().expect("no thread panics"))
}

/// Half-open, with `good` successes so far, and the pacer's last slot long over.
fn half_open(probes: u32, good: u64) -> Arc<Turnstile> {
    let turnstile = Turnstile::new(probes, EVERY);
    turnstile.turn(Kind::HalfOpen, 0, good);
    Arc::new(turnstile)
}

fn is_probe(turn: Turn) -> bool {
    matches!(turn, Turn::Probe(_))
}

#[test]
fn an_interval_has_one_probe() {
    loom::model(|| {
        let pacer = Arc::new(Pacer::new(0, EVERY));
        let (a, b) = both(move |late| pacer.take(1_000 + late));
        assert!(a.is_some() != b.is_some());
    });
}

#[test]
fn half_open_lets_exactly_one_through() {
    for (probes, good) in [(1, 0), (2, 1)] {
        loom::model(move || {
            let turnstile = half_open(probes, good);
            let (a, b) = both({
                let turnstile = turnstile.clone();
                move |late| turnstile.enter(turnstile.word(), 1_000 + late)
            });
            assert!(is_probe(a) != is_probe(b), "{a:?} {b:?}");
            assert_eq!(turnstile.enter(turnstile.word(), 1_002), Turn::Full);
        });
    }
}

#[test]
fn a_round_that_is_not_heard_of_is_followed_by_one_probe() {
    loom::model(|| {
        let turnstile = half_open(1, 0);
        assert!(is_probe(turnstile.enter(turnstile.word(), 1_000)));
        let (a, b) = both(move |late| turnstile.enter(turnstile.word(), 2_000 + late));
        assert!(is_probe(a) != is_probe(b), "{a:?} {b:?}");
    });
}

#[test]
fn a_probe_given_back_makes_room_for_exactly_one() {
    loom::model(|| {
        let turnstile = half_open(1, 0);
        let word = turnstile.word();
        let Turn::Probe(round) = turnstile.enter(word, 1_000) else {
            panic!("there is room");
        };
        let (_, meanwhile) = both({
            let turnstile = turnstile.clone();
            move |who| match who {
                0 => {
                    turnstile.give_back(word.generation(), round);
                    false
                }
                _ => is_probe(turnstile.enter(turnstile.word(), 1_001)),
            }
        });
        let after = is_probe(turnstile.enter(turnstile.word(), 1_002));
        assert!(meanwhile != after);
    });
}

#[test]
fn of_several_successes_one_is_the_last() {
    loom::model(|| {
        let turnstile = half_open(2, 0);
        let generation = turnstile.word().generation();
        let rounds = [1_000, 1_001].map(|now| match turnstile.enter(turnstile.word(), now) {
            Turn::Probe(round) => round,
            turn => panic!("{turn:?}"),
        });
        let (a, b) = both(move |who| turnstile.succeed(generation, rounds[who as usize]));
        assert!(a != b);
    });
}

#[test]
fn what_an_earlier_state_began_changes_no_later_one() {
    loom::model(|| {
        let turnstile = half_open(2, 0);
        let word = turnstile.word();
        let _ = turnstile.enter(word, 1_000);
        both({
            let turnstile = turnstile.clone();
            move |who| match who {
                0 => drop(turnstile.turn(Kind::Closed, 0, 0)),
                _ => {
                    let _ = turnstile.enter(word, 1_001);
                    turnstile.succeed(word.generation(), 0);
                }
            }
        });
        let last = turnstile.word();
        assert_eq!((last.kind(), last.good()), (Kind::Closed, 0));
        assert_eq!(last.generation(), word.generation() + 1);
    });
}
