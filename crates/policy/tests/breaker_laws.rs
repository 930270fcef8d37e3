//! Laws of the breakers: a window is the naive one, and nothing wedges or panics.

use std::time::Duration;

use proptest::prelude::*;
use seawall_policy::breaker::{
    Breaker, Slow, Span, State, Throttle, ThrottleSettings, Window, WindowSettings,
};
use seawall_policy::{Criticality, Outcome, Tick};

const MS: Duration = Duration::from_millis(1);

/// Long after the time that the clock is set back to.
const BEFORE: Tick = Tick::from_millis(1_000_000);

/// A throttle that was open when the clock was set back.
fn set_back(success: bool) -> Throttle {
    let throttle = Throttle::new(ThrottleSettings::default(), BEFORE);
    for ms in 0..200 {
        fail(&throttle, BEFORE + MS * ms);
    }
    if success {
        let now = BEFORE + MS * 200;
        let pass = throttle
            .ask(now, u64::MAX)
            .expect("not all are turned away");
        throttle.record(pass, Outcome::Success, MS, now);
    }
    assert_eq!(throttle.state(BEFORE), State::Open);
    throttle
}

fn fail(breaker: &dyn Breaker, now: Tick) {
    if let Ok(pass) = breaker.ask(now, now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
        breaker.record(pass, Outcome::Failure, MS, now);
    }
}

#[test]
fn a_clock_that_is_set_back_ends_silence_and_keeps_failures_fresh() {
    let silent = set_back(false);
    for ms in 0..11_000 {
        let _ = silent.ask(Tick::from_millis(ms), ms << 50);
    }
    assert_eq!(silent.state(Tick::from_millis(11_000)), State::Closed);

    let revived = set_back(true);
    let failures = revived.counts().failure;
    for ms in 0..2_000 {
        fail(&revived, Tick::from_millis(ms));
    }
    assert!(revived.counts().failure > failures);
    assert_eq!(revived.state(Tick::from_millis(2_000)), State::Open);
}

#[test]
fn a_window_slides_after_the_clock_was_set_back() {
    let settings = WindowSettings {
        consecutive: None,
        ..WindowSettings::default()
    };
    let breaker = Window::new(settings, BEFORE);
    fail(&breaker, BEFORE);
    for _ in 0..19 {
        fail(&breaker, Tick::ZERO);
    }
    fail(&breaker, Tick::from_millis(100_000));
    assert_eq!(breaker.state(Tick::ZERO), State::Closed);
}

/// An origin that serves 100/s and refuses the rest of 1,000/s is sent √(K·C·rate) = 447/s.
#[test]
fn a_throttle_sends_an_overloaded_origin_what_its_formula_says() {
    let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
    let (mut sent, mut room, mut random) = (0, 0, 1u64);
    for ms in 0..20_000u64 {
        let now = Tick::from_millis(ms);
        room = (room + 1).min(100); // tenths of a call
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if let Ok(pass) = throttle.ask(now, random) {
            sent += u64::from(ms >= 10_000);
            let outcome = if room >= 10 {
                room -= 10;
                Outcome::Success
            } else {
                Outcome::Overloaded
            };
            throttle.record(pass, outcome, MS, now);
        }
    }
    assert!((4_000..=4_900).contains(&sent), "{sent} in 10 s");
}

/// 100/s of 1,000/s are served, the highest first, and the rest is refused.
#[test]
fn a_throttle_turns_the_lowest_away_first() {
    let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
    let (mut room, mut turned_away) = (0.0_f64, [0_u32; 4]);
    let mut random = 1_u64;
    for ms in 0..10_000 {
        let now = Tick::from_millis(ms);
        room = (room + 0.1).min(5.0);
        random = random
            .wrapping_mul(0xD134_2543_DE82_EF95)
            .wrapping_add(0x9E37);
        let criticality = match ms % 20 {
            0 => Criticality::CriticalPlus,
            1..6 => Criticality::Critical,
            6..12 => Criticality::SheddablePlus,
            _ => Criticality::Sheddable,
        };
        let Ok(pass) = throttle.ask_as(criticality, now, random) else {
            turned_away[criticality as usize] += u32::from(ms >= 500);
            continue;
        };
        let spare = if criticality <= Criticality::Critical {
            1.0
        } else {
            3.0
        };
        let outcome = if room >= spare {
            room -= 1.0;
            Outcome::Success
        } else {
            Outcome::Overloaded
        };
        throttle.record(pass, outcome, MS, now);
    }
    assert_eq!(turned_away[0], 0, "{turned_away:?}");
    assert!(turned_away[3] > 3_000, "{turned_away:?}");
    assert!(turned_away[2] <= turned_away[3], "{turned_away:?}");
}

/// A result counts from when it came, not from when somebody asked last.
#[test]
fn a_throttle_that_is_seldom_asked_still_knows_how_old_its_results_are() {
    let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
    let passes: Vec<_> = (0..20)
        .map(|_| throttle.ask(Tick::ZERO, 0).unwrap())
        .collect();
    for pass in passes {
        throttle.record(pass, Outcome::Failure, MS * 900, Tick::from_millis(900));
    }
    let now = Tick::from_millis(1_060);
    assert!(throttle.ask(now, 0).is_err());
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    /// Nanoseconds after the one before.
    after: u64,
    failed: bool,
    slow: bool,
}

fn ended() -> impl Strategy<Value = Ended> {
    let after = prop_oneof![Just(0), 0..50_000_000u64, 0..2_000_000_000u64];
    (after, prop::bool::weighted(0.4), prop::bool::weighted(0.3)).prop_map(
        |(after, failed, slow)| Ended {
            after,
            failed,
            slow,
        },
    )
}

fn rules() -> impl Strategy<Value = WindowSettings> {
    let ratio = || prop::option::of(0.0..=1.0);
    let consecutive = prop::option::of(1..12u32);
    (ratio(), ratio(), consecutive, 1..30u32).prop_map(|(failure, slow, consecutive, min_calls)| {
        WindowSettings {
            failure_ratio: failure,
            slow: slow.map(|ratio| Slow {
                after: MS * 100,
                ratio,
            }),
            consecutive,
            min_calls,
            ..WindowSettings::default()
        }
    })
}

/// Whether the naive breaker opens at the last of `calls`: all of them kept, each with the number
/// of its bucket, and `in_window` says which of the buckets count.
fn opens(rule: &WindowSettings, calls: &[(u64, Ended)], in_window: impl Fn(u64) -> bool) -> bool {
    let Some((_, last)) = calls.last() else {
        return false;
    };
    let slow = last.slow && rule.slow.is_some();
    if !last.failed && !slow {
        return false;
    }
    let streak = calls.iter().rev().take_while(|c| c.1.failed).count();
    let window: Vec<_> = calls.iter().filter(|c| in_window(c.0)).collect();
    let share = |part: fn(&Ended) -> bool| {
        let part = window.iter().filter(|c| part(&c.1)).count() as f64;
        (part > 0.0).then_some(part / window.len() as f64)
    };
    let reached = |share: Option<f64>, ratio: Option<f64>| {
        let (Some(share), Some(ratio)) = (share, ratio) else {
            return false;
        };
        share * window.len() as f64 >= ratio * window.len() as f64
    };
    rule.consecutive.is_some_and(|n| streak >= n as usize)
        || window.len() >= rule.min_calls as usize
            && (reached(share(|c| c.failed), rule.failure_ratio)
                || reached(share(|c| c.slow), rule.slow.map(|s| s.ratio)))
}

/// Gives the breaker the call; whether it opened.
fn give(breaker: &Window, call: Ended, now: Tick) -> bool {
    let outcome = match call.failed {
        true => Outcome::Failure,
        false => Outcome::Success,
    };
    let latency = if call.slow { MS * 100 } else { MS };
    let pass = breaker.ask(now, 0).expect("it is closed");
    breaker.record(pass, outcome, latency, now);
    breaker.state(now) == State::Open
}

proptest! {
    #[test]
    fn a_time_window_is_the_naive_one(
        rule in rules(),
        calls in prop::collection::vec(ended(), 1..200),
    ) {
        let rule = WindowSettings { span: Span::Time(Duration::from_secs(1)), ..rule };
        let breaker = Window::new(rule, Tick::ZERO);
        let (mut now, mut all) = (Tick::ZERO, Vec::new());
        for call in calls {
            now = now + Duration::from_nanos(call.after);
            let bucket = now.0 / 100_000_000;
            all.push((bucket, call));
            let opened = give(&breaker, call, now);
            prop_assert_eq!(opened, opens(&rule, &all, |b| bucket - b < 10));
            if opened {
                break;
            }
        }
    }

    #[test]
    fn a_count_window_is_the_naive_one(
        rule in rules(),
        calls in prop::collection::vec(ended(), 1..400),
        size in 1..150u32,
    ) {
        let rule = WindowSettings { span: Span::Calls(size), ..rule };
        let rule = WindowSettings { min_calls: rule.min_calls.min(size), ..rule };
        let breaker = Window::new(rule, Tick::ZERO);
        let chunk = 1 << u64::from((size / 16).max(1).ilog2());
        let mut all = Vec::new();
        for (n, call) in calls.into_iter().enumerate() {
            all.push((n as u64 / chunk, call));
            let opened = give(&breaker, call, Tick::ZERO);
            // As few whole chunks as hold the size, and the one begun.
            let whole = all.len() as u64 / chunk;
            let from = whole.saturating_sub(u64::from(size).div_ceil(chunk));
            prop_assert_eq!(opened, opens(&rule, &all, |b| b >= from));
            if opened {
                break;
            }
        }
    }

    /// Whatever happened, and whatever the clock said: with an origin that answers, all is well
    /// within seconds.
    #[test]
    fn nothing_wedges_or_panics(
        mess in prop::collection::vec(
            (mad(), mad(), 0..5u8, mad()), 0..100),
        (penalty, span, probes) in (mad(), mad(), any::<u32>()),
        ratio in prop_oneof![Just(f64::NAN), Just(-1.0), Just(f64::INFINITY), 0.0..2.0],
        count in any::<bool>(),
    ) {
        let span = match count {
            true => Span::Calls((span % 10_000) as u32),
            false => Span::Time(Duration::from_nanos(span)),
        };
        let window = Window::new(WindowSettings {
            span,
            penalty: Duration::from_nanos(penalty),
            probes: probes % 5,
            failure_ratio: Some(ratio),
            slow: Some(Slow { after: Duration::from_nanos(penalty.max(1)), ratio }),
            ..WindowSettings::default()
        }, Tick::ZERO);
        let throttle = Throttle::new(ThrottleSettings {
            multiplier: ratio,
            floor: ratio,
            max_rejection: ratio,
            window: Duration::from_nanos(penalty % 2_000_000_000),
            ..ThrottleSettings::default()
        }, Tick::ZERO);
        for breaker in [&window as &dyn Breaker, &throttle] {
            for &(now, random, outcome, latency) in &mess {
                let now = Tick(now);
                let Ok(pass) = breaker.ask(now, random) else { continue };
                let outcome = match outcome {
                    0 => Outcome::Success,
                    1 => Outcome::Failure,
                    2 => Outcome::Overloaded,
                    3 => Outcome::Ignored,
                    _ => continue, // lost
                };
                breaker.record(pass, outcome, Duration::from_nanos(latency), now);
            }
            let mut now = Tick::from_secs_f64(1e6);
            for _ in 0..500 {
                now = now + MS * 10;
                if let Ok(pass) = breaker.ask(now, now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
                    breaker.record(pass, Outcome::Success, Duration::ZERO, now);
                }
            }
            prop_assert_eq!(breaker.state(now), State::Closed);
        }
    }
}

fn mad() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        any::<u64>(),
        0..20_000_000_000u64,
        0..2_000_000u64
    ]
}
