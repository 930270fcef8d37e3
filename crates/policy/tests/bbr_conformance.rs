//! The BBR limit against the formula of its source, and a test per mended defect.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use seawall_policy::Tick;
use seawall_policy::limit::{Bbr, BbrSettings, Limit, Window};

const BUCKET_NS: u64 = 100_000_000;

/// A driver that keeps the limit full and counts time.
struct Drive {
    limit: Bbr,
    now: Tick,
    places: u32,
}

/// What a window of [`Drive`] holds beside time and places.
fn load(succeeded: u32, latency: f64, cpu: Option<f64>) -> Window {
    Window {
        succeeded,
        latency_sum: f64::from(succeeded) * latency,
        latency_min: latency,
        cpu,
        bound: true,
        ..Window::default()
    }
}

impl Drive {
    fn new(settings: BbrSettings) -> Self {
        let limit = Bbr::new(settings);
        let places = limit.start().limit;
        Self {
            limit,
            now: Tick::ZERO,
            places,
        }
    }

    /// One window of `length` with every place taken.
    fn window(&mut self, length: Duration, what: Window) -> u32 {
        let start = self.now;
        self.now = start + length;
        self.places = self
            .limit
            .update(&Window {
                start,
                end: self.now,
                limit: self.places,
                inflight: self.places,
                mean_inflight: f64::from(self.places),
                ..what
            })
            .limit;
        self.places
    }

    /// Windows of 100 ms for `seconds`.
    fn run(&mut self, seconds: f64, what: Window) -> u32 {
        for _ in 0..(seconds * 10.0).round() as u32 {
            self.window(Duration::from_millis(100), what);
        }
        self.places
    }

    /// An origin of `slots` slots × 20 ms, saturated by whatever the limit lets in.
    fn saturate(&mut self, seconds: f64, slots: f64, cpu: Option<f64>) -> u32 {
        for _ in 0..(seconds * 10.0).round() as u32 {
            let places = f64::from(self.places);
            let rate = places.min(slots) / 0.020;
            let passed = (rate / 10.0).round() as u32;
            self.window(Duration::from_millis(100), load(passed, places / rate, cpu));
        }
        self.places
    }
}

/// The formula, from every window ever seen: sums per bucket, the greatest count, the least mean.
fn naive(seen: &[(u64, f64, u32, f64)], now: u64, buckets: u64) -> Option<f64> {
    let last = (now - 1) / BUCKET_NS;
    let mut by_bucket: BTreeMap<u64, (f64, f64, f64)> = BTreeMap::new();
    for &(end, seconds, succeeded, latency) in seen {
        let bucket = (end - 1) / BUCKET_NS;
        if succeeded > 0 && bucket + buckets > last {
            let n = f64::from(succeeded);
            let sums = by_bucket.entry(bucket).or_default();
            sums.0 += n * 0.1 / seconds.max(0.1);
            sums.1 += n;
            sums.2 += n * latency;
        }
    }
    let max_pass = by_bucket.values().map(|b| b.0).reduce(f64::max)?;
    let min_rt = by_bucket.values().map(|b| b.2 / b.1).reduce(f64::min)?;
    Some(max_pass * min_rt * 10.0)
}

proptest! {
    #[test]
    fn equals_the_formula_over_any_history(
        windows in prop::collection::vec(
            (prop_oneof![6 => Just(100_u64), 3 => 100_u64..140, 1 => 5_u64..100, 1 => 100_u64..20_000],
             prop_oneof![1 => Just(0_u32), 6 => 1_u32..3_000], 0.0001..3.0_f64, 0_u32..50),
            1..250,
        ),
        five in any::<bool>(),
    ) {
        let history = Duration::from_secs(if five { 5 } else { 10 });
        let mut drive = Drive::new(BbrSettings { history, min_samples: 1, max: u32::MAX, ..BbrSettings::default() });
        let (mut seen, mut last) = (Vec::new(), None::<Tick>);
        for (ms, succeeded, latency, failed) in windows {
            let length = Duration::from_millis(ms);
            let before = drive.places;
            let got = drive.window(length, Window { failed, ..load(succeeded, latency, Some(0.9)) });
            // The first bucket after silence is left out: the short calls end first.
            let warm = last.is_some_and(|last| drive.now.since(last) < history);
            if succeeded > 0 && warm {
                seen.push((drive.now.0, length.as_secs_f64(), succeeded, latency));
            }
            last = if succeeded > 0 { Some(drive.now) } else { last };
            let Some(want) = naive(&seen, drive.now.0, if five { 50 } else { 100 }) else {
                continue;
            };
            // Where nothing succeeded the limit may fall to the formula, never rise to it.
            let held = succeeded == 0 && got == before && want >= f64::from(got);
            let near = (f64::from(got) - want.ceil().max(1.0)).abs() <= 1e-9 * want;
            let edge = (want - want.round()).abs() < 1e-6 * want && (f64::from(got) - want).abs() <= 1.0;
            prop_assert!(held || near || edge, "{got} for {want}");
        }
    }

    #[test]
    fn rejects_where_the_source_does(
        passes in prop::collection::vec(20_u32..2_000, 10..99),
        latency in 0.005..0.5_f64,
    ) {
        // The source lets a call in while `inflight <= maxInFlight`, so one more may be there than
        // the formula says. Rounding up differs from it only where the formula is a whole number.
        let mut drive = Drive::new(BbrSettings { max: u32::MAX, ..BbrSettings::default() });
        drive.run(0.1, load(1, latency, Some(0.9))); // the first bucket teaches nothing
        for &n in &passes {
            drive.run(0.1, load(n, latency, Some(0.9)));
        }
        prop_assume!(passes.iter().sum::<u32>() >= 100);
        let formula = f64::from(*passes.iter().max().unwrap()) * latency * 10.0;
        prop_assert!(f64::from(drive.places) < formula + 1.0);
        prop_assert!(f64::from(drive.places) >= formula - 1e-6 * formula);
    }
}

#[test]
fn the_cool_off_counts_from_the_last_rejection() {
    let mut drive = Drive::new(BbrSettings::default());
    assert_eq!(drive.run(5.0, load(120, 0.020, Some(0.95))), 24);
    // Five seconds after the first rejection, half a second after the last.
    assert_eq!(drive.run(0.5, load(120, 0.020, Some(0.60))), 24);
    // Another moment of overload begins the second anew.
    assert_eq!(drive.run(0.1, load(120, 0.020, Some(0.95))), 24);
    assert_eq!(drive.run(1.0, load(120, 0.020, Some(0.60))), 24);
    assert_eq!(drive.run(0.1, load(120, 0.020, Some(0.60))), 48);
}

#[test]
fn overload_without_a_rejection_needs_no_cool_off() {
    let mut drive = Drive::new(BbrSettings::default());
    let calm = Window {
        bound: false,
        ..load(120, 0.020, Some(0.95))
    };
    assert_eq!(drive.run(1.0, calm), 20);
    assert_eq!(drive.run(0.1, load(120, 0.020, Some(0.60))), 40);
}

#[test]
fn a_cold_service_under_load_admits_its_third_call_and_more() {
    for cpu in [None, Some(0.5), Some(1.0)] {
        let mut drive = Drive::new(BbrSettings::default());
        assert!(drive.places >= 3, "before anything was served");
        for succeeded in [0, 1, 0, 2] {
            let places = drive.run(0.1, load(succeeded, 0.020, cpu));
            assert!(places >= 20, "{places} with CPU at {cpu:?}");
        }
    }
}

#[test]
fn the_short_calls_that_end_first_are_not_taken_for_the_origin() {
    let mut drive = Drive::new(BbrSettings::default());
    drive.run(0.1, load(100, 0.001, Some(0.9)));
    assert_eq!(drive.run(0.1, load(120, 0.020, Some(0.9))), 24);
    // Nor does it grow before it could tell whether calls queue.
    let mut drive = Drive::new(BbrSettings::default());
    assert_eq!(drive.run(0.1, load(100, 0.001, None)), 20);
    assert_eq!(drive.run(0.1, load(100, 0.020, None)), 40);
}

#[test]
fn an_idle_history_is_a_cold_one() {
    let mut drive = Drive::new(BbrSettings::default());
    assert_eq!(drive.run(2.0, load(40, 0.010, Some(0.9))), 4);
    drive.window(Duration::from_secs(3_600), load(1, 0.010, Some(0.9)));
    assert_eq!(
        drive.places, 20,
        "one call in an hour says nothing about capacity"
    );
}

#[test]
fn nothing_is_truncated() {
    // 3,010 passes of 0.35 ms a bucket: 10.535 places. Whole milliseconds would make 30.
    let mut drive = Drive::new(BbrSettings::default());
    assert_eq!(drive.run(1.0, load(3_010, 0.000_35, Some(0.9))), 11);
    // Buckets wider than a second are no whole number a second: 0.5.
    let mut drive = Drive::new(BbrSettings {
        bucket: Duration::from_secs(2),
        ..BbrSettings::default()
    });
    let window = load(2_000, 0.020, Some(0.9));
    for _ in 0..3 {
        drive.window(Duration::from_secs(2), window);
    }
    assert_eq!(drive.places, 20);
    // A third of a second: 3.03 buckets a second, not 3.
    let mut drive = Drive::new(BbrSettings {
        bucket: Duration::from_millis(330),
        ..BbrSettings::default()
    });
    for _ in 0..3 {
        drive.window(Duration::from_millis(330), load(3_300, 0.010, Some(0.9)));
    }
    assert_eq!(drive.places, 100);
}

#[test]
fn failed_calls_count_neither_as_passes_nor_as_latency() {
    let mut drive = Drive::new(BbrSettings::default());
    let good = load(120, 0.020, Some(0.9));
    drive.run(1.0, good);
    // Counts of failures are all that a window has of them: no latency of theirs can get in.
    let failing = Window {
        failed: 5_000,
        overloaded: 3_000,
        ..good
    };
    assert_eq!(drive.run(5.0, failing), 24);
    let dead = Window {
        failed: 5_000,
        ..load(0, 0.0, Some(0.9))
    };
    assert_eq!(drive.run(5.0, dead), 24);
}

#[test]
fn a_serial_origin_gets_one_place() {
    let mut drive = Drive::new(BbrSettings::default());
    assert_eq!(
        drive.run(0.9, load(10, 0.010, Some(0.9))),
        20,
        "90 calls are no history"
    );
    // Ten a bucket of 10 ms each, one after the other.
    assert_eq!(drive.run(9.0, load(10, 0.010, Some(0.9))), 1);
}

#[test]
fn protects_without_a_cpu_reading_and_where_the_cpu_is_idle() {
    for cpu in [None, Some(0.1)] {
        // Begins with what the origin holds, grows until calls queue, and comes back.
        let mut drive = Drive::new(BbrSettings::default());
        let mut over = 0;
        for _ in 0..100 {
            let places = drive.saturate(0.1, 20.0, cpu);
            assert!(places <= 80, "{places} places for 20 slots");
            over += u32::from(places > 40);
        }
        assert!(over <= 20, "over twice the slots in {over} of 100 windows");
        // The origin slows to a third: what it can hold is the same, and nobody runs away.
        assert!(drive.saturate(5.0, 20.0 * 0.3, cpu) <= 80);
    }
}

#[test]
fn refusals_by_the_origin_are_overload() {
    let mut drive = Drive::new(BbrSettings::default());
    let refused = Window {
        overloaded: 20,
        ..load(120, 0.020, None)
    };
    assert_eq!(drive.run(1.0, refused), 24);
    let one = Window {
        overloaded: 1,
        ..load(120, 0.020, None)
    };
    assert_eq!(drive.run(1.0, one), 24, "cooling off");
    assert!(
        drive.run(0.2, one) > 24,
        "one refusal in a hundred is somebody's quota"
    );
}

#[test]
fn an_origin_that_hangs_does_not_open_the_limit() {
    for cpu in [None, Some(0.0)] {
        let mut drive = Drive::new(BbrSettings::default());
        assert_eq!(drive.run(60.0, load(0, 0.0, cpu)), 20);
    }
}

#[test]
fn a_burst_is_admitted_within_a_second_where_the_origin_copes() {
    // 500 slots, a tenth in use, then all of them: no signal, so the limit doubles as it binds.
    let mut drive = Drive::new(BbrSettings::default());
    assert!(drive.saturate(0.6, 500.0, Some(0.3)) >= 500);
}
