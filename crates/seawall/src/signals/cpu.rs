//! From CPU time to CPU use.

use std::time::Duration;

use seawall_policy::Tick;

/// How fast the average follows. After a step, `1 − e^(−t/τ)` of it shows: with a sample every
/// 100 ms, 96 % within 500 ms, while a single odd sample moves it by half.
const TAU: Duration = Duration::from_millis(150);

/// Turns readings of CPU time into an exponentially weighted share of the CPUs allowed, 0 to 1.
///
/// The weight is that of the time between two readings, so a reading that comes late (the very
/// thing that happens when the CPU is short) counts for as much as it spans.
///
/// ```
/// use seawall::signals::CpuFilter;
/// use seawall_policy::Tick;
/// use std::time::Duration;
///
/// let mut filter = CpuFilter::default();
/// assert_eq!(filter.update(Tick::from_millis(0), Duration::ZERO, 2.0), None);
/// let half = filter.update(Tick::from_millis(100), Duration::from_millis(100), 2.0);
/// assert_eq!(half, Some(0.5)); // 100 ms of the 200 ms that two CPUs have
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuFilter {
    last: Option<(Tick, Duration)>,
    average: Option<f64>,
}

impl CpuFilter {
    /// Takes a reading: `used` CPU time in all at `now`, of `cpus` CPUs allowed.
    ///
    /// Returns the average, `None` before the second reading. A reading that goes backwards (the
    /// process was moved to another group), comes at the same time, or of no CPUs starts anew and
    /// leaves the average as it is.
    pub fn update(&mut self, now: Tick, used: Duration, cpus: f64) -> Option<f64> {
        let last = self.last.replace((now, used));
        if let Some((then, before)) = last
            && let Some(used) = used.checked_sub(before)
            && now > then
            && cpus > 0.0
        {
            let passed = now.since(then).as_secs_f64();
            let share = (used.as_secs_f64() / (passed * cpus)).clamp(0.0, 1.0);
            let weight = 1.0 - (-passed / TAU.as_secs_f64()).exp();
            self.average = Some(
                self.average
                    .map_or(share, |average| average + weight * (share - average)),
            );
        }
        self.average
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds a load that is `share` of `cpus` for `millis`, a reading every 100 ms.
    struct Feed {
        filter: CpuFilter,
        now: u64,
        used: Duration,
    }

    impl Feed {
        fn run(&mut self, share: f64, millis: u64) -> f64 {
            let mut average = f64::NAN;
            for _ in 0..millis / 100 {
                self.now += 100;
                self.used += Duration::from_millis(100).mul_f64(share * 2.0);
                average = self
                    .filter
                    .update(Tick::from_millis(self.now), self.used, 2.0)
                    .unwrap_or(f64::NAN);
            }
            average
        }
    }

    #[test]
    fn a_step_shows_within_half_a_second() {
        let mut feed = Feed {
            filter: CpuFilter::default(),
            now: 0,
            used: Duration::ZERO,
        };
        assert!((feed.run(0.1, 2_000) - 0.1).abs() < 1e-9);
        let up = feed.run(1.0, 500);
        assert!(up > 0.95, "{up}");
        feed.run(1.0, 2_000);
        let down = feed.run(0.0, 500);
        assert!(down < 0.05, "{down}");
    }

    #[test]
    fn a_late_reading_counts_for_all_it_spans() {
        let mut filter = CpuFilter::default();
        filter.update(Tick::from_millis(0), Duration::ZERO, 1.0);
        filter.update(Tick::from_millis(100), Duration::ZERO, 1.0);
        let late = filter.update(Tick::from_millis(1_100), Duration::from_millis(1_000), 1.0);
        assert!(late.is_some_and(|a| a > 0.99), "{late:?}");
    }

    #[test]
    fn backwards_or_at_once_changes_nothing() {
        let mut filter = CpuFilter::default();
        filter.update(Tick::from_millis(0), Duration::from_secs(5), 1.0);
        let before = filter.update(Tick::from_millis(100), Duration::from_millis(5_050), 1.0);
        assert_eq!(
            filter.update(Tick::from_millis(200), Duration::ZERO, 1.0),
            before
        );
        assert_eq!(
            filter.update(Tick::from_millis(200), Duration::from_secs(9), 1.0),
            before
        );
        assert_eq!(
            filter.update(Tick::from_millis(100), Duration::from_secs(9), 1.0),
            before
        );
        assert_eq!(
            filter.update(Tick::from_millis(300), Duration::from_secs(10), 0.0),
            before
        );
    }

    proptest! {
        #[test]
        fn always_a_share(readings: Vec<(u64, u64, f64)>) {
            let mut filter = CpuFilter::default();
            for (now, used, cpus) in readings {
                if let Some(average) = filter.update(Tick(now), Duration::from_nanos(used), cpus) {
                    prop_assert!((0.0..=1.0).contains(&average));
                }
            }
        }
    }
}
