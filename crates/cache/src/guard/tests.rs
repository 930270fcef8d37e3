//! What a guard lets through.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};

fn call(criticality: Criticality) -> Call {
    Call {
        criticality,
        ..Call::default()
    }
}

fn paused<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked for, by whom, and whoever waits: no second sees more loads than stated.
    #[test]
    fn no_second_sees_more_loads_than_the_rate(
        rate in 2.0..200.0_f64,
        burst in 0.0..1.0_f64,
        asks in prop::collection::vec((0..4_usize, 0..60_u64), 1..300),
    ) {
        let begun = paused(async move {
            let settings = GuardSettings { rate, burst, ..GuardSettings::default() };
            let clock = Clock::runtime();
            let guard = Guard::with_clock(settings, clock.clone());
            let begun = Arc::new(Mutex::new(Vec::new()));
            let mut loads = tokio::task::JoinSet::new();
            for (rank, pause) in asks {
                // A third of the time many at the same moment.
                let pause = Duration::from_millis(pause.saturating_sub(20));
                tokio::time::sleep(pause).await;
                let (guard, clock, begun) = (guard.clone(), clock.clone(), begun.clone());
                loads.spawn(async move {
                    if guard.enter_for(&call(Criticality::ALL[rank])).await.is_ok() {
                        begun.lock().push(clock.now());
                    }
                });
            }
            loads.join_all().await;
            begun.lock().clone()
        });
        let second = Duration::from_secs(1);
        for (n, first) in begun.iter().enumerate() {
            let within = begun[n..].iter().filter(|at| at.since(*first) < second).count();
            prop_assert!(within as f64 <= rate, "{within} of {rate}");
        }
    }

    #[test]
    fn no_settings_are_too_wild(rate in prop::num::f64::ANY, burst in prop::num::f64::ANY) {
        let settings = GuardSettings { rate, burst, ..GuardSettings::default() };
        let bucket = settings.bucket();
        prop_assert!(bucket.rate > 0.0 && bucket.burst >= 1);
    }
}

#[test]
fn the_top_waits_for_a_token_and_the_bottom_is_turned_away_with_the_time_to_come_back_at() {
    paused(async {
        let settings = GuardSettings {
            rate: 100.0,
            ..GuardSettings::default()
        };
        let clock = Clock::runtime();
        let guard = Guard::with_clock(settings, clock.clone());
        for _ in 0..10 {
            guard
                .enter_for(&call(CriticalPlus))
                .await
                .expect("a burst")
                .finish(Outcome::Success);
        }
        for criticality in [Critical, SheddablePlus, Sheddable] {
            let rejection = guard
                .enter_for(&call(criticality))
                .await
                .expect_err("empty");
            assert_eq!(rejection.reason, Reason::Admission);
            assert!(
                matches!(rejection.advice, Advice::After(after) if after > Duration::from_millis(11))
            );
        }
        assert_eq!(clock.now(), Tick::ZERO);
        guard
            .enter_for(&call(CriticalPlus))
            .await
            .expect("a wait")
            .finish(Outcome::Success);
        assert!(clock.now() >= Tick::from_millis(11));
        let top = guard.totals().by_criticality[CriticalPlus as usize];
        assert_eq!((top.admitted, top.waited, top.over_rate), (11, 1, 0));
        assert_eq!(guard.totals().rejected(), 3);
    });
}

#[test]
fn nobody_waits_beyond_a_deadline() {
    paused(async {
        let settings = GuardSettings {
            rate: 2.0,
            wait: Duration::from_secs(10),
            ..GuardSettings::default()
        };
        let clock = Clock::runtime();
        let guard = Guard::with_clock(settings, clock.clone());
        let until = |ms| Call {
            deadline: Tick::from_millis(ms),
            ..call(CriticalPlus)
        };
        assert!(guard.enter_for(&until(1)).await.is_ok());
        // The next token is there in a second.
        let rejection = guard.enter_for(&until(900)).await.expect_err("no time");
        assert_eq!(rejection.advice, Advice::After(Duration::from_secs(1)));
        let rejection = guard
            .enter_for(&until(0))
            .await
            .expect_err("no time at all");
        assert_eq!(rejection.reason, Reason::Deadline);
        assert!(guard.enter_for(&until(1_100)).await.is_ok());
    });
}

#[test]
fn a_place_is_the_databases_and_given_back_whatever_happens() {
    use seawall_policy::limit::Fixed;

    paused(async {
        let clock = Clock::manual();
        let gate = GateSettings {
            limit: Box::new(Fixed::new(1)),
            max_wait: Some(Duration::ZERO),
            ..GateSettings::default()
        };
        let admission = Admission::new(gate, clock.clone());
        let guard = Guard::with_admission(GuardSettings::default(), admission.clone());
        let pass = guard.enter_for(&call(Critical)).await.expect("the place");
        let second = tokio::spawn({
            let guard = guard.clone();
            async move { guard.enter_for(&call(Critical)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(1));
        admission.tick();
        assert!(second.await.expect("no panic").is_err());
        drop(pass);
        assert!(guard.enter_for(&call(Critical)).await.is_ok());
        assert_eq!(
            guard.totals().by_criticality[Critical as usize].over_limit,
            1
        );
    });
}
