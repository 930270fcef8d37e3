//! Values that one side writes and any number read, by one atomic load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seawall_policy::Tick;

/// A number that may be unknown.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

impl Default for Gauge {
    /// Unknown.
    fn default() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl Gauge {
    /// The value last set; `None` where none is known.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Relaxed))).filter(|v| !v.is_nan())
    }

    /// Sets it; NaN or `None` makes it unknown.
    #[inline]
    pub fn set(&self, value: impl Into<Option<f64>>) {
        self.0.store(
            value.into().unwrap_or(f64::NAN).to_bits(),
            Ordering::Relaxed,
        );
    }
}

/// A delay that jumps up with the longest seen and fades exponentially, fit for queueing and scheduling delays, where the long ones are what matters.
///
/// Any number of threads record, without a lock: value and time share one word, the value as `f32`
/// seconds (exact to 1 part in 16 million), the time as milliseconds modulo 2³² (49 days; a value
/// that old reads as faded).
///
/// ```
/// use seawall::signals::PeakGauge;
/// use seawall_policy::Tick;
/// use std::time::Duration;
///
/// let delay = PeakGauge::new(Duration::from_secs(1));
/// delay.record(Duration::from_millis(40), Tick::from_millis(0));
/// delay.record(Duration::from_millis(1), Tick::from_millis(1));
/// assert!(delay.get(Tick::from_millis(1)) > Duration::from_millis(39)); // the peak stays
/// assert!(delay.get(Tick::from_millis(5_000)) < Duration::from_millis(1)); // and fades
/// ```
#[derive(Debug)]
pub struct PeakGauge {
    word: AtomicU64,
    tau: f64,
}

impl PeakGauge {
    /// Fades to 1/e in `tau`, at least 1 ms.
    #[must_use]
    pub fn new(tau: Duration) -> Self {
        Self {
            word: AtomicU64::new(0),
            tau: tau.as_secs_f64().max(1e-3),
        }
    }

    /// Records one delay.
    pub fn record(&self, delay: Duration, now: Tick) {
        let seconds = delay.as_secs_f64();
        // A closure that always answers makes this infallible.
        let _ = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let value = seconds.max(self.fade(word, now));
                Some(u64::from((value as f32).to_bits()) << 32 | u64::from(millis(now)))
            });
    }

    /// The delay, faded up to `now`.
    #[must_use]
    pub fn get(&self, now: Tick) -> Duration {
        Duration::from_secs_f64(self.fade(self.word.load(Ordering::Relaxed), now))
    }

    fn fade(&self, word: u64, now: Tick) -> f64 {
        let value = f64::from(f32::from_bits((word >> 32) as u32));
        // Readers' clocks may be a little behind a recorder's: that is no time at all.
        let passed = millis(now).wrapping_sub(word as u32) as i32;
        let kept = (-f64::from(passed.max(0)) / 1e3 / self.tau).exp();
        value * kept
    }
}

fn millis(now: Tick) -> u32 {
    (now.0 / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_until_set() {
        let gauge = Gauge::default();
        assert_eq!(gauge.get(), None);
        gauge.set(0.5);
        assert_eq!(gauge.get(), Some(0.5));
        gauge.set(None);
        assert_eq!(gauge.get(), None);
    }

    #[test]
    fn the_peak_stays_whatever_comes_after_and_fades_by_time_alone() {
        let (once, often) = (
            PeakGauge::new(Duration::from_secs(1)),
            PeakGauge::new(Duration::from_secs(1)),
        );
        for gauge in [&once, &often] {
            gauge.record(Duration::from_millis(100), Tick::ZERO);
        }
        for ms in 1..1_000 {
            often.record(Duration::ZERO, Tick::from_millis(ms));
        }
        let (once, often) = (
            once.get(Tick::from_millis(1_000)),
            often.get(Tick::from_millis(1_000)),
        );
        assert!(
            once.abs_diff(often) < Duration::from_micros(50),
            "{once:?} {often:?}"
        );
        assert!(
            once.abs_diff(Duration::from_micros(36_788)) < Duration::from_micros(10),
            "{once:?}"
        );
    }

    #[test]
    fn a_clock_a_little_behind_reads_the_whole() {
        let gauge = PeakGauge::new(Duration::from_secs(1));
        gauge.record(Duration::from_millis(10), Tick::from_millis(500));
        assert!(gauge.get(Tick::from_millis(400)) > Duration::from_micros(9_999));
    }
}
