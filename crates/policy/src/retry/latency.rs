//! What an upstream's latency has been of late, for those that must know before they send.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_sync::{Shard, Sharded};

use crate::Tick;
use crate::stats::{QuantileSketch, Resolution, SlidingQuantile};

/// A twentieth is fine enough to decide when to send a second copy, and keeps a sketch at 162 bins.
const RESOLUTION: Resolution = Resolution {
    error: 0.05,
    min: 1e-5,
    max: 100.0,
};
const SLICES: usize = 8;
/// Fewer samples than this say nothing.
const ENOUGH: u64 = 20;
const UNKNOWN: u64 = u64::MAX;

/// Settings of [`Latencies`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencySettings {
    /// The quantile that [`Latencies::tail`] tells, 0.5 to 0.999. Default 0.95, from "The Tail at
    /// Scale" (Dean and Barroso, 2013).
    pub tail: f64,
    /// How far back it looks, 100 ms to an hour. Default 10 s.
    pub window: Duration,
    /// Threads that will share it; 1 in a simulation. Default 1.
    pub shards: usize,
}

impl Default for LatencySettings {
    fn default() -> Self {
        Self {
            tail: 0.95,
            window: Duration::from_secs(10),
            shards: 1,
        }
    }
}

/// An upstream's typical latency (the median) and its tail, shared by all threads that call it.
///
/// The tail looks back over the window, since it takes many samples. What is typical is that of the
/// newest eighths of it that hold twenty samples: an overload that is over would otherwise keep
/// retries from being begun for as long as it is remembered.
///
/// Recording takes the thread's own lock and a logarithm; reading is one load. Both figures are
/// worked out anew twenty times a window, by whoever records just then, from some hundred bins a
/// thread. Within 5 %, from 10 µs to 100 s; none before twenty samples.
///
/// Record every attempt's time from its start to its first answer. One that was cancelled because
/// a later copy won counts with the time it had lasted: without it the tail would shrink by every
/// hedge that helps, and hedges would come sooner and sooner.
///
/// ```
/// use seawall_policy::{Tick, retry::{Latencies, LatencySettings}};
/// use std::time::Duration;
///
/// let latencies = Latencies::new(&LatencySettings::default());
/// for ms in 1..=1_000 {
///     latencies.record(Duration::from_millis(ms % 100), Tick::from_millis(ms * 2));
/// }
/// let tail = latencies.tail().unwrap().as_millis();
/// assert!((90..=100).contains(&tail));
/// ```
#[derive(Debug)]
pub struct Latencies {
    shards: Sharded<Mutex<SlidingQuantile>>,
    quantile: f64,
    every: Duration,
    due: AtomicU64,
    typical: AtomicU64,
    tail: AtomicU64,
}

impl Latencies {
    /// Nothing known yet.
    #[must_use]
    pub fn new(settings: &LatencySettings) -> Self {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(3_600));
        let window = settings.window.clamp(least, most);
        let tail = if settings.tail.is_nan() {
            LatencySettings::default().tail
        } else {
            settings.tail.clamp(0.5, 0.999)
        };
        Self {
            shards: Sharded::new(settings.shards, || {
                Mutex::new(SlidingQuantile::new(window, SLICES, RESOLUTION))
            }),
            quantile: tail,
            every: window / 20,
            due: AtomicU64::new(0),
            typical: AtomicU64::new(UNKNOWN),
            tail: AtomicU64::new(UNKNOWN),
        }
    }

    /// Takes in how long an attempt took.
    #[inline]
    pub fn record(&self, latency: Duration, now: Tick) {
        let own = self.shards.get(Shard::current());
        own.lock().record(now, latency.as_secs_f64());
        let due = self.due.load(Relaxed);
        if now.0 >= due {
            self.review(due, now);
        }
    }

    /// The median of late, where enough is known.
    #[inline]
    #[must_use]
    pub fn typical(&self) -> Option<Duration> {
        known(&self.typical)
    }

    /// The tail's quantile of late, where enough is known.
    #[inline]
    #[must_use]
    pub fn tail(&self) -> Option<Duration> {
        known(&self.tail)
    }

    #[cold]
    fn review(&self, due: u64, now: Tick) {
        let next = (now + self.every).0;
        if self
            .due
            .compare_exchange(due, next, Relaxed, Relaxed)
            .is_err()
        {
            return;
        }
        let (mut whole, mut newest) = (
            QuantileSketch::new(RESOLUTION),
            QuantileSketch::new(RESOLUTION),
        );
        for shard in self.shards.iter() {
            let shard = shard.lock();
            let merged = whole.merge(&shard.sketch(now));
            let merged = merged.and(newest.merge(&shard.newest(now, ENOUGH)));
            debug_assert!(merged.is_ok(), "one resolution");
        }
        self.typical.store(read(&newest, 0.5), Relaxed);
        self.tail.store(read(&whole, self.quantile), Relaxed);
    }
}

fn read(sketch: &QuantileSketch, quantile: f64) -> u64 {
    match sketch.quantile(quantile) {
        Some(seconds) if sketch.count() >= ENOUGH => (seconds * 1e9) as u64,
        _ => UNKNOWN,
    }
}

fn known(nanos: &AtomicU64) -> Option<Duration> {
    match nanos.load(Relaxed) {
        UNKNOWN => None,
        nanos => Some(Duration::from_nanos(nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typical_forgets_an_overload_within_two_seconds_and_the_tail_does_not() {
        let latencies = Latencies::new(&LatencySettings::default());
        let calls = |from: u64, until: u64, latency| {
            for ms in (from..until).step_by(10) {
                latencies.record(Duration::from_millis(latency), Tick::from_millis(ms));
            }
            (latencies.typical().unwrap(), latencies.tail().unwrap())
        };
        let near = |got: Duration, ms: f64| (got.as_secs_f64() * 1e3 / ms - 1.0).abs() <= 0.06;
        let (typical, tail) = calls(0, 20_000, 600);
        assert!(
            near(typical, 600.0) && near(tail, 600.0),
            "{typical:?} {tail:?}"
        );
        let (typical, tail) = calls(20_000, 22_000, 5);
        assert!(
            near(typical, 5.0) && near(tail, 600.0),
            "{typical:?} {tail:?}"
        );
    }

    #[test]
    fn who_hardly_calls_looks_back_over_the_window() {
        let latencies = Latencies::new(&LatencySettings::default());
        for second in 0..40 {
            let at = Tick::from_millis(second * 400);
            latencies.record(Duration::from_millis(5), at);
        }
        assert!(latencies.typical().is_some());
    }
}
