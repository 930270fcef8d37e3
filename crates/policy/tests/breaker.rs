//! What the breakers do, and the mistakes of others, each as a test.

use std::time::Duration;

use seawall_policy::breaker::{
    Breaker, Cause, Pass, Slow, Span, State, Throttle, ThrottleSettings, Transition, Window,
    WindowSettings,
};
use seawall_policy::{Advice, Outcome, Reason, Scope, Tick};

const MS: Duration = Duration::from_millis(1);

fn window(settings: WindowSettings) -> Window {
    Window::new(settings, Tick::ZERO)
}

fn one_failure_opens() -> WindowSettings {
    WindowSettings {
        consecutive: Some(1),
        ..WindowSettings::default()
    }
}

fn pass(breaker: &dyn Breaker, now: Tick) -> Pass {
    breaker.ask(now, 0).expect("it lets this one through")
}

fn call(breaker: &dyn Breaker, outcome: Outcome, now: Tick) {
    breaker.record(pass(breaker, now), outcome, MS, now);
}

fn history(breaker: &dyn Breaker) -> Vec<Transition> {
    let mut all = Vec::new();
    breaker.transitions(0, &mut |t| all.push(t));
    all
}

/// Opens at time zero, and lets every probe fail until the penalty is over; the time at which it
/// turned half-open, and its probe.
fn half_open(breaker: &Window, random: u64) -> (Tick, Pass) {
    call(breaker, Outcome::Failure, Tick::ZERO);
    for ms in 0.. {
        let now = Tick::from_millis(ms);
        if let Ok(probe) = breaker.ask(now, random) {
            if breaker.state(now) == State::HalfOpen {
                return (now, probe);
            }
            breaker.record(probe, Outcome::Failure, MS, now);
        }
    }
    unreachable!("a penalty ends")
}

// What others got wrong.

#[test]
fn half_open_admits_not_everyone_but_exactly_its_probes() {
    for probes in [1, 3] {
        let breaker = window(WindowSettings {
            probes,
            ..one_failure_opens()
        });
        let (now, first) = half_open(&breaker, 0);
        let mut passes = vec![first];
        passes.extend((0..1_000).filter_map(|_| breaker.ask(now, 0).ok()));
        assert_eq!(passes.len(), probes as usize);
        assert!(passes.iter().all(Pass::is_probe));
        for (n, probe) in passes.into_iter().enumerate() {
            assert_eq!(breaker.state(now), State::HalfOpen, "before success {n}");
            breaker.record(probe, Outcome::Success, MS, now);
        }
        assert_eq!(breaker.state(now), State::Closed);
    }
}

#[test]
fn a_cancelled_probe_is_given_back() {
    let breaker = window(one_failure_opens());
    let (now, probe) = half_open(&breaker, 0);
    assert!(breaker.ask(now, 0).is_err());
    breaker.record(probe, Outcome::Ignored, MS, now);
    call(&breaker, Outcome::Success, now);
    assert_eq!(breaker.state(now), State::Closed);
}

#[test]
fn a_cancelled_probe_within_the_penalty_too() {
    let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
    let breaker = window(WindowSettings {
        penalty: Duration::from_secs(60),
        ..one_failure_opens()
    });
    call(&breaker, Outcome::Failure, Tick::ZERO);
    for ms in 0..200 {
        call_if_let(&throttle, Outcome::Failure, Tick::from_millis(ms));
    }
    for breaker in [&breaker as &dyn Breaker, &throttle] {
        assert!(breaker.ask(Tick::from_millis(200), 0).is_err());
        let now = Tick::from_millis(800);
        let probe = pass(breaker, now);
        assert!(breaker.ask(now, 0).is_err());
        breaker.record(probe, Outcome::Ignored, MS, now);
        assert!(pass(breaker, now).is_probe());
        assert!(breaker.ask(now, 0).is_err());
    }
}

#[test]
fn a_probe_that_is_never_heard_of_again_wedges_nothing() {
    for probes in [1, 3] {
        let breaker = window(WindowSettings {
            probes,
            ..one_failure_opens()
        });
        let (mut now, lost) = half_open(&breaker, 0);
        drop(lost);
        while breaker.ask(now, 0).is_ok() {} // lost as well
        for _ in 0..probes {
            now = now + MS * 500;
            call(&breaker, Outcome::Success, now);
        }
        assert_eq!(breaker.state(now), State::Closed);
    }
}

/// Another probe may follow one that is slow, but the slow one counts: else an origin slower than
/// `probe_every` could never recover.
#[test]
fn a_probe_slower_than_the_next_still_closes() {
    let breaker = window(one_failure_opens());
    let (now, slow) = half_open(&breaker, 0);
    let _next = pass(&breaker, now + MS * 500);
    breaker.record(slow, Outcome::Success, MS * 600, now + MS * 600);
    assert_eq!(breaker.state(now), State::Closed);
}

/// Its place has gone to the next one already.
#[test]
fn a_slow_probe_that_is_cancelled_makes_room_for_no_third() {
    let breaker = window(one_failure_opens());
    let (now, slow) = half_open(&breaker, 0);
    let now = now + MS * 500;
    let _next = pass(&breaker, now);
    breaker.record(slow, Outcome::Ignored, MS * 500, now);
    assert!(breaker.ask(now, 0).is_err());
}

#[test]
fn a_count_window_slides() {
    let breaker = window(WindowSettings {
        span: Span::Calls(100),
        min_calls: 100,
        consecutive: None,
        ..WindowSettings::default()
    });
    for _ in 0..1_000_000 {
        call(&breaker, Outcome::Success, Tick::ZERO);
    }
    let mut failures = 0;
    while breaker.state(Tick::ZERO) == State::Closed {
        call(&breaker, Outcome::Failure, Tick::ZERO);
        failures += 1;
    }
    assert!((50..=56).contains(&failures), "{failures}");
}

/// A caller's time limit cancels the call, and all that the breaker hears is that it was ignored.
#[test]
fn calls_that_an_outer_time_limit_cancels_are_failures() {
    let slow = Some(Slow {
        after: MS * 100,
        ratio: 0.5,
    });
    let settings = [
        WindowSettings::default(),
        WindowSettings {
            slow,
            consecutive: None,
            ..WindowSettings::default()
        },
    ];
    for (settings, cancelled_after) in settings.into_iter().zip([MS * 5_000, MS * 100]) {
        let breaker = window(settings);
        for _ in 0..100 {
            call(&breaker, Outcome::Ignored, Tick::ZERO);
        }
        assert_eq!(breaker.state(Tick::ZERO), State::Closed, "soon cancelled");
        for _ in 0..20 {
            if let Ok(pass) = breaker.ask(Tick::ZERO, 0) {
                breaker.record(pass, Outcome::Ignored, cancelled_after, Tick::ZERO);
            }
        }
        assert_eq!(breaker.state(Tick::ZERO), State::Open);
    }
    let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
    for ms in 0..100 {
        let now = Tick::from_millis(ms);
        if let Ok(pass) = throttle.ask(now, 0) {
            throttle.record(pass, Outcome::Ignored, Duration::from_secs(5), now);
        }
    }
    let _ = throttle.ask(Tick::from_millis(100), 0);
    assert_eq!(throttle.state(Tick::from_millis(100)), State::Open);
}

#[test]
fn a_late_result_of_an_earlier_state_decides_nothing() {
    let breaker = window(one_failure_opens());
    let late: Vec<_> = (0..4).map(|_| pass(&breaker, Tick::ZERO)).collect();
    let [while_open, while_half_open, failed, succeeded] = <[Pass; 4]>::try_from(late).unwrap();
    call(&breaker, Outcome::Failure, Tick::ZERO);
    breaker.record(while_open, Outcome::Success, MS, Tick::ZERO);
    assert_eq!(breaker.state(Tick::ZERO), State::Open);

    let mut now = Tick::ZERO;
    let within_penalty = loop {
        now = now + MS;
        if let Ok(probe) = breaker.ask(now, 0) {
            break probe;
        }
    };
    let probe = loop {
        now = now + MS;
        match breaker.ask(now, 0) {
            Ok(probe) if breaker.state(now) == State::HalfOpen => break probe,
            _ => {}
        }
    };
    breaker.record(while_half_open, Outcome::Failure, MS, now);
    breaker.record(within_penalty, Outcome::Success, MS, now);
    assert_eq!(breaker.state(now), State::HalfOpen);
    breaker.record(probe, Outcome::Success, MS, now);
    breaker.record(failed, Outcome::Failure, MS, now);
    breaker.record(succeeded, Outcome::Success, MS, now);
    assert_eq!(breaker.state(now), State::Closed);
    assert_eq!((breaker.counts().success, breaker.counts().failure), (0, 1));
}

/// Calls into an outage run into their time limit when it is over.
#[test]
fn a_late_failure_of_an_outage_does_not_count_after_it() {
    let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
    let at = Tick::from_millis;
    let late: Vec<_> = (0..20).map(|ms| pass(&throttle, at(ms))).collect();
    for ms in 20..300 {
        call_if_let(&throttle, Outcome::Failure, at(ms));
    }
    assert_eq!(throttle.state(at(300)), State::Open);
    call(&throttle, Outcome::Success, at(900));
    let before = throttle.counts().failure;
    for pass in late {
        throttle.record(pass, Outcome::Failure, MS * 1_000, at(1_010));
    }
    assert_eq!(throttle.counts().failure, before);
    let fresh = throttle.ask(at(1_011), u64::MAX).unwrap();
    throttle.record(fresh, Outcome::Failure, MS, at(1_012));
    assert_eq!(throttle.counts().failure, before + 1);
}

/// The throttle's own rejections, counted as failures, hold it shut (kratos).
#[test]
fn what_a_throttle_turned_away_is_no_failure() {
    let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
    let mut now = Tick::ZERO;
    for _ in 0..10_000 {
        now = now + MS;
        call_if_let(&throttle, Outcome::Failure, now);
    }
    let counts = throttle.counts();
    assert!(
        counts.rejected > 9_000 && counts.failure < 300,
        "{counts:?}"
    );
    assert_eq!(counts.rejected + counts.failure, 10_000);
    // One answer in a window's worth of rejections lets a good part through.
    let before = throttle.rejecting();
    now = now + MS * 500;
    call(&throttle, Outcome::Success, now);
    let _ = throttle.ask(now + MS * 50, 0);
    assert!(before > 0.98 && throttle.rejecting() < 0.9);
}

/// Draws from the middle, so that a share of up to a half lets the call through.
fn call_if_let(breaker: &dyn Breaker, outcome: Outcome, now: Tick) {
    let random = now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if let Ok(pass) = breaker.ask(now, random) {
        breaker.record(pass, outcome, MS, now);
    }
}

// What opens it.

#[test]
fn any_of_three_reasons_opens() {
    let slow = Some(Slow {
        after: MS * 100,
        ratio: 0.3,
    });
    let settings = WindowSettings {
        slow,
        consecutive: Some(7),
        ..WindowSettings::default()
    };
    let cause = |calls: &[(Outcome, Duration)]| {
        let breaker = window(settings);
        for (outcome, latency) in calls.iter().cycle().take(200) {
            if let Ok(pass) = breaker.ask(Tick::ZERO, 0) {
                breaker.record(pass, *outcome, *latency, Tick::ZERO);
            }
        }
        history(&breaker).first().map(|t| t.cause)
    };
    let (good, bad, late) = (
        (Outcome::Success, MS),
        (Outcome::Failure, MS),
        (Outcome::Success, MS * 100),
    );
    assert_eq!(cause(&[bad]), Some(Cause::Consecutive));
    assert_eq!(
        cause(&[(Outcome::Overloaded, MS)]),
        Some(Cause::Consecutive)
    );
    assert_eq!(cause(&[good, bad]), Some(Cause::FailureRatio));
    assert_eq!(cause(&[good, late, good]), Some(Cause::SlowRatio));
    assert_eq!(cause(&[good, bad, good]), None);
    assert_eq!(cause(&[good, good, good, late]), None);
}

#[test]
fn overload_is_no_failure_where_the_origin_sheds() {
    let breaker = window(WindowSettings {
        overload_fails: false,
        ..one_failure_opens()
    });
    call(&breaker, Outcome::Overloaded, Tick::ZERO);
    assert_eq!(breaker.state(Tick::ZERO), State::Closed);
}

#[test]
fn a_throttle_turns_nothing_away_below_its_floor() {
    for (every, rejects) in [(260, false), (100, true)] {
        let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
        for n in 0..1_000 {
            call_if_let(&throttle, Outcome::Failure, Tick::from_millis(n * every));
        }
        assert_eq!(throttle.counts().rejected > 0, rejects, "{every} ms");
    }
}

/// A half of the calls fails: exactly what K = 2 puts up with.
#[test]
fn a_throttle_turns_away_the_share_that_its_formula_says() {
    for (fails, of, share) in [(1, 2, 0.0), (3, 5, 0.2), (3, 4, 0.5), (9, 10, 0.8)] {
        let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
        // Recorded without being asked for, so that rejections change nothing.
        for n in 0..1_000 {
            let now = Tick::from_millis(n);
            let outcome = match n % of < fails {
                true => Outcome::Failure,
                false => Outcome::Success,
            };
            let pass = throttle.ask(now, u64::MAX).unwrap();
            throttle.record(pass, outcome, MS, now);
        }
        let _ = throttle.ask(Tick::from_millis(1_000), u64::MAX);
        assert!((throttle.rejecting() - share).abs() < 0.01, "{fails}/{of}");
    }
}

#[test]
fn silence_holds_a_throttle_for_ten_seconds_and_idleness_frees_it() {
    let open = || {
        let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
        for ms in 0..200 {
            call_if_let(&throttle, Outcome::Failure, Tick::from_millis(ms));
        }
        throttle
    };
    let throttle = open();
    for ms in 200..9_000 {
        // Whatever goes is not answered.
        let _ = throttle.ask(Tick::from_millis(ms), ms << 50);
        assert_eq!(throttle.state(Tick::from_millis(ms)), State::Open, "{ms}");
    }
    for ms in 9_000..11_000 {
        let _ = throttle.ask(Tick::from_millis(ms), ms << 50);
    }
    assert_eq!(throttle.state(Tick::from_millis(11_000)), State::Closed);

    let throttle = open();
    assert!(throttle.ask(Tick::from_millis(1_300), 0).is_ok());
    assert_eq!(history(&throttle).last().unwrap().cause, Cause::NoEvidence);
}

// Penalty and rejections.

#[test]
fn a_penalty_doubles_to_its_maximum_with_jitter_and_is_forgiven_by_time() {
    for (random, least) in [(0, 500), (u64::MAX, 999)] {
        let breaker = window(WindowSettings {
            max_penalty: Duration::from_secs(4),
            probe_every: MS,
            forgive: Duration::from_secs(10),
            ..one_failure_opens()
        });
        let (mut now, mut probe) = half_open(&breaker, random);
        assert!(now >= Tick::from_millis(least) && now <= Tick::from_millis(least + 2));
        for factor in [2, 4, 4, 4] {
            let opened = now;
            breaker.record(probe, Outcome::Failure, MS, now);
            (now, probe) = next_round(&breaker, now, random);
            let penalty = now.since(opened).as_millis() as u64;
            assert!(
                (least * factor..=least * factor + 5).contains(&penalty),
                "{penalty}"
            );
        }
        breaker.record(probe, Outcome::Success, MS, now);
        // Four doublings; three are forgiven.
        now = now + Duration::from_secs(49);
        call(&breaker, Outcome::Failure, now);
        let (then, _probe) = next_round(&breaker, now, random);
        let penalty = then.since(now).as_millis() as u64;
        assert!((least * 2..=least * 2 + 5).contains(&penalty), "{penalty}");
    }
}

fn next_round(breaker: &Window, mut now: Tick, random: u64) -> (Tick, Pass) {
    loop {
        now = now + MS;
        if let Ok(probe) = breaker.ask(now, random) {
            if breaker.state(now) == State::HalfOpen {
                return (now, probe);
            }
            breaker.record(probe, Outcome::Failure, MS, now);
        }
    }
}

/// A success within the penalty begins the round of probes, and counts in it.
#[test]
fn a_success_within_the_penalty_ends_it() {
    let breaker = window(WindowSettings {
        penalty: Duration::from_secs(60),
        probes: 3,
        ..one_failure_opens()
    });
    call(&breaker, Outcome::Failure, Tick::ZERO);
    assert!(breaker.ask(Tick::ZERO, 0).is_err());
    let now = Tick::from_millis(500);
    call(&breaker, Outcome::Success, now);
    assert_eq!(breaker.state(now), State::HalfOpen);
    let two = [pass(&breaker, now), pass(&breaker, now)];
    assert!(breaker.ask(now, 0).is_err());
    for probe in two {
        breaker.record(probe, Outcome::Success, MS, now);
    }
    assert_eq!(breaker.state(now), State::Closed);
    assert!(!pass(&breaker, now).is_probe());
}

/// What was before it closed is forgiven: the same failures must come together once more.
#[test]
fn it_closes_with_an_empty_window() {
    for (failure_ratio, consecutive) in [(Some(0.5), None), (None, Some(8))] {
        let breaker = window(WindowSettings {
            min_calls: 8,
            failure_ratio,
            consecutive,
            ..WindowSettings::default()
        });
        for now in [Tick::ZERO, Tick::from_millis(500)] {
            if now > Tick::ZERO {
                call(&breaker, Outcome::Success, now);
            }
            for n in 0..8 {
                assert_eq!(breaker.state(now), State::Closed, "before failure {n}");
                call(&breaker, Outcome::Failure, now);
            }
            assert_eq!(breaker.state(now), State::Open);
            assert!(breaker.ask(now, 0).is_err());
        }
    }
}

#[test]
fn a_rejection_says_why_for_whom_and_what_to_do() {
    for (scope, advice) in [
        (Scope::Host, Advice::Elsewhere),
        (Scope::Tenant, Advice::After(MS * 250)),
    ] {
        let breaker = window(WindowSettings {
            scope,
            ..one_failure_opens()
        });
        call(&breaker, Outcome::Failure, Tick::ZERO);
        let rejection = breaker.ask(Tick::ZERO, 0).unwrap_err();
        assert_eq!(rejection.reason, Reason::Breaker);
        assert_eq!((rejection.scope, rejection.advice), (scope, advice));
    }
}

/// In shadow a driver sends what is rejected, and has nothing to record for it.
#[test]
fn in_shadow_a_breaker_goes_through_the_same_states() {
    let run = |shadow: bool| {
        let breaker = window(WindowSettings::default());
        let mut served = 0;
        for ms in 0..5_000u64 {
            let now = Tick::from_millis(ms);
            let outcome = match (1_000..3_000).contains(&ms) {
                true => Outcome::Failure,
                false => Outcome::Success,
            };
            match breaker.ask(now, ms) {
                Ok(pass) => breaker.record(pass, outcome, MS, now),
                Err(_) if shadow => {}
                Err(_) => continue,
            }
            served += 1;
        }
        (history(&breaker), breaker.counts(), served)
    };
    let (enforced, shadow) = (run(false), run(true));
    assert_eq!((&enforced.0, enforced.1), (&shadow.0, shadow.1));
    assert!(enforced.1.rejected > 1_900);
    assert_eq!((enforced.2 + enforced.1.rejected, shadow.2), (5_000, 5_000));
}

#[test]
fn transitions_are_handed_over_once_and_a_gap_shows() {
    let breaker = window(one_failure_opens());
    let mut now = Tick::ZERO;
    for _ in 0..3 {
        call(&breaker, Outcome::Failure, now);
        now = now + MS * 500;
        let _ = breaker.ask(now, 0);
        now = now + MS * 500;
        call(&breaker, Outcome::Success, now);
    }
    let mut found = Vec::new();
    let seen = breaker.transitions(0, &mut |t| found.push(t.number));
    assert_eq!(found, (1..=seen).collect::<Vec<_>>());
    assert_eq!(breaker.transitions(seen, &mut |_| panic!("seen")), seen);
    for _ in 0..20 {
        call(&breaker, Outcome::Failure, now);
        let _ = breaker.ask(now, 0);
        now = now + MS * 500;
        call(&breaker, Outcome::Success, now);
    }
    found.clear();
    let last = breaker.transitions(seen, &mut |t| found.push(t.number));
    assert_eq!(found, (last - 15..=last).collect::<Vec<_>>());
    assert!(found[0] > seen + 1);
}

// Threads.

#[test]
fn threads_that_ask_at_once_get_one_probe_among_them() {
    for probes in [1, 3] {
        for _ in 0..100 {
            let breaker = window(WindowSettings {
                probes,
                shards: 4,
                ..one_failure_opens()
            });
            let (now, first) = half_open(&breaker, 0);
            breaker.record(first, Outcome::Ignored, MS, now);
            let ask = || (0..20).filter_map(|_| breaker.ask(now, 0).ok()).collect();
            let passes: Vec<Vec<Pass>> = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(ask));
                threads.map(|t| t.join().unwrap()).into()
            });
            assert_eq!(passes.iter().flatten().count(), probes as usize);
        }
    }
}
