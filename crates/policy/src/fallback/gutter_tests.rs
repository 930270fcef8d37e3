//! What a gutter does.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::sim::Rng;
use crate::{Outcome, Reason, Tick};

const LIMIT: u32 = 4;

fn gutter() -> Gutter {
    Gutter::new(&GutterSettings {
        limit: LIMIT,
        ..Default::default()
    })
}

/// Calls that end at once, one a millisecond, to a main pool that fails as `fails` says.
struct Traffic {
    gutter: Gutter,
    rng: Rng,
    ms: u64,
    entered: u32,
    to_main: u32,
}

impl Traffic {
    fn new() -> Self {
        Self {
            gutter: gutter(),
            rng: Rng::new(7),
            ms: 0,
            entered: 0,
            to_main: 0,
        }
    }

    fn run(&mut self, ms: u64, fails: f64) -> &mut Self {
        for _ in 0..ms {
            self.ms += 1;
            let (now, before) = (Tick::from_millis(self.ms), self.gutter.stage());
            let pass = self.gutter.pass(now, self.rng.bits()).unwrap();
            let outcome = match pass.way() {
                Way::Main if self.rng.unit() < fails => Outcome::Failure,
                _ => Outcome::Success,
            };
            self.to_main += u32::from(pass.way() == Way::Main);
            self.gutter.record(pass, outcome, now);
            let after = self.gutter.stage();
            self.entered += u32::from(before != Stage::Gutter && after == Stage::Gutter);
        }
        self
    }
}

#[test]
fn a_dead_main_pool_is_left_and_come_back_to() {
    let mut traffic = Traffic::new();
    traffic.run(3_000, 0.0).run(2_000, 1.0);
    assert_eq!(traffic.gutter.stage(), Stage::Gutter);
    traffic.to_main = 0;
    traffic.run(8_000, 1.0);
    assert!(
        (15..=17).contains(&traffic.to_main),
        "a probe every half second"
    );
    traffic.run(1_000, 0.0);
    assert_eq!(traffic.gutter.stage(), Stage::Main);
    assert_eq!(traffic.entered, 1);
}

#[test]
fn a_main_pool_that_serves_half_is_kept() {
    let mut traffic = Traffic::new();
    traffic.run(20_000, 0.6);
    assert_eq!(traffic.entered, 0);
}

#[test]
fn overload_and_cancelled_calls_are_no_failures() {
    let gutter = gutter();
    for outcome in [Outcome::Overloaded, Outcome::Ignored] {
        for i in 0..100 {
            let now = Tick::from_millis(i);
            let pass = gutter.pass(now, 0).unwrap();
            gutter.record(pass, outcome, now);
        }
        assert_eq!(gutter.stage(), Stage::Main);
    }
}

#[test]
fn too_few_calls_say_nothing() {
    let mut traffic = Traffic::new();
    traffic.run(19, 1.0);
    assert_eq!(traffic.entered, 0);
    traffic.run(1, 1.0);
    assert_eq!(traffic.entered, 1);
}

#[test]
fn the_share_grows_by_results() {
    let mut traffic = Traffic::new();
    traffic.run(500, 1.0);
    let mut stages = Vec::new();
    while traffic.gutter.stage() != Stage::Main {
        if stages.last() != Some(&traffic.gutter.stage()) {
            stages.push(traffic.gutter.stage());
        }
        traffic.run(1, 0.0);
    }
    let returning = [16, 8, 4, 2].map(Stage::Returning);
    assert_eq!(stages[0], Stage::Gutter);
    assert_eq!(stages[1..], returning);
    // What failed before does not count against it now.
    traffic.run(1, 1.0);
    assert_eq!(traffic.gutter.stage(), Stage::Main);
}

#[test]
fn a_main_pool_that_comes_and_goes_is_stayed_away_from() {
    for period in [200, 1_000, 7_000] {
        let mut traffic = Traffic::new();
        for _ in 0..600_000 / (2 * period) {
            traffic.run(period, 1.0).run(period, 0.0);
        }
        // Twice 1, 2, 4 … 60 seconds, then once a minute: ten minutes of it.
        assert!(
            traffic.entered <= 18,
            "{} in ten minutes, {period} ms",
            traffic.entered
        );
        traffic.run(62_000, 0.0);
        assert_eq!(
            traffic.gutter.stage(),
            Stage::Main,
            "and comes back in the end"
        );
    }
}

#[test]
fn a_late_result_decides_nothing() {
    let gutter = gutter();
    let now = Tick::from_millis(1);
    let late: Vec<_> = (0..100).map(|_| gutter.pass(now, 0).unwrap()).collect();
    gutter.enter(now);
    assert_eq!(gutter.stage(), Stage::Gutter);
    let probe = gutter.pass(now, 0).unwrap();
    for pass in late {
        gutter.record(pass, Outcome::Success, now);
    }
    assert_eq!(
        gutter.stage(),
        Stage::Gutter,
        "calls from before are no probes"
    );
    gutter.record(probe, Outcome::Success, now);
    for _ in 0..2 {
        let probe = gutter.pass(now, 0).unwrap();
        gutter.record(probe, Outcome::Success, now);
    }
    assert_eq!(gutter.stage(), Stage::Returning(16));
}

#[test]
fn late_failures_do_not_count_against_a_pool_that_has_come_back() {
    let mut traffic = Traffic::new();
    let late: Vec<_> = (0..100)
        .map(|_| traffic.gutter.pass(Tick(1), 0).unwrap())
        .collect();
    traffic.run(100, 1.0).run(1_000, 0.0);
    assert_eq!(traffic.gutter.stage(), Stage::Main);
    traffic.run(10_000, 0.0);
    let now = Tick::from_millis(traffic.ms + 5_000);
    let fresh = traffic.gutter.pass(now, 0).unwrap();
    for pass in late.into_iter().chain([fresh]) {
        traffic.gutter.record(pass, Outcome::Failure, now);
    }
    assert_eq!(traffic.gutter.stage(), Stage::Main);
}

#[test]
fn three_probes_in_a_row_begin_the_return() {
    use Outcome::{Failure, Success};
    let gutter = gutter();
    gutter.enter(Tick::ZERO);
    for (i, outcome) in [Success, Success, Failure, Success, Success]
        .into_iter()
        .enumerate()
    {
        let now = Tick::from_millis(500 * i as u64);
        let probe = gutter.pass(now, 0).unwrap();
        assert_eq!(probe.way(), Way::Main);
        gutter.record(probe, outcome, now);
        assert_eq!(gutter.stage(), Stage::Gutter);
    }
    let now = Tick::from_millis(2_500);
    let third = gutter.pass(now, 0).unwrap();
    gutter.record(third, Success, now);
    assert_eq!(gutter.stage(), Stage::Returning(16));
}

#[test]
fn one_probe_at_a_time_and_a_cancelled_one_blocks_nothing() {
    let gutter = gutter();
    let at = Tick::from_millis;
    gutter.enter(at(0));
    let probe = gutter.pass(at(0), 0).unwrap();
    assert_eq!(probe.way(), Way::Main);
    for ms in 0..4 {
        assert_eq!(gutter.pass(at(ms), 0).unwrap().way(), Way::Gutter);
    }
    let full = gutter.pass(at(499), 0).unwrap_err();
    assert_eq!(full.reason, Reason::Gutter);
    gutter.record(probe, Outcome::Ignored, at(499));
    assert_eq!(gutter.pass(at(500), 0).unwrap().way(), Way::Main);
    // That one never ends.
    assert_eq!(gutter.pass(at(1_000), 0).unwrap().way(), Way::Main);
}

#[test]
fn threads_share_no_place() {
    let gutter = Gutter::new(&GutterSettings {
        limit: LIMIT,
        shards: 4,
        ..Default::default()
    });
    gutter.enter(Tick::ZERO);
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            scope.spawn(|| {
                for i in 0..5_000 {
                    let now = Tick::from_millis(i);
                    let held: Vec<_> = (0..3).filter_map(|_| gutter.pass(now, i).ok()).collect();
                    let taken = held.iter().filter(|pass| pass.way() == Way::Gutter).count() as u32;
                    assert!(inside.fetch_add(taken, SeqCst) + taken <= LIMIT);
                    inside.fetch_sub(taken, SeqCst);
                    for pass in held {
                        gutter.record(pass, Outcome::Failure, now);
                    }
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert_eq!(gutter.in_flight(), 0);
    assert_eq!(gutter.stage(), Stage::Gutter);
}

#[test]
fn odd_settings_and_times() {
    for (failures, window) in [(f64::NAN, Duration::ZERO), (-1.0, Duration::MAX)] {
        let gutter = Gutter::new(&GutterSettings {
            limit: 0,
            failures,
            calls: 0,
            window,
            probe: Duration::MAX,
            shards: 0,
        });
        for now in [Tick::MAX, Tick::ZERO, Tick::MAX, Tick(9)] {
            for random in [0, u64::MAX] {
                if let Ok(pass) = gutter.pass(now, random) {
                    gutter.record(pass, Outcome::Failure, now);
                }
            }
        }
        assert_eq!(gutter.in_flight(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn never_over_its_limit_and_left_by_itself(
        steps in prop::collection::vec(
            (0_u64..300, any::<u64>(), prop::option::of(any::<prop::sample::Index>()), 0_u8..4),
            1..400,
        ),
    ) {
        let gutter = gutter();
        let (mut ms, mut open) = (0, Vec::new());
        for (dt, random, end, outcome) in steps {
            ms += dt;
            let now = Tick::from_millis(ms);
            // Mostly failures, so that it is entered and left time and again.
            let outcome = [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Ignored]
                [usize::from(outcome)];
            match gutter.pass(now, random) {
                Ok(pass) => open.push(pass),
                Err(rejection) => {
                    prop_assert_eq!(rejection.reason, Reason::Gutter);
                    prop_assert_eq!(gutter.in_flight(), LIMIT);
                }
            }
            if let Some(end) = end && !open.is_empty() {
                let pass = open.swap_remove(end.index(open.len()));
                gutter.record(pass, outcome, now);
            }
            let inside = open.iter().filter(|pass| pass.way() == Way::Gutter).count();
            prop_assert_eq!(gutter.in_flight() as usize, inside);
            prop_assert!(gutter.in_flight() <= LIMIT);
        }
        for pass in open {
            gutter.record(pass, Outcome::Ignored, Tick::from_millis(ms));
        }
        prop_assert_eq!(gutter.in_flight(), 0);
        let rng = Rng::new(ms);
        let mut traffic = Traffic { gutter, rng, ms, entered: 0, to_main: 0 };
        traffic.run(64_000, 0.0);
        prop_assert_eq!(traffic.gutter.stage(), Stage::Main);
    }
}
