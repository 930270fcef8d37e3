//! What fits in flight by Little's law, behind a gate.
//!
//! A pure function of windows stands where aegis decides per request: what a request pays is the
//! same for every limit, and the sums of a window are all the formula needs.

use std::time::Duration;

use super::evidence::{Range, latency, loss, may_grow, sound};
use super::{Limit, Step, Window};
use crate::Tick;
use crate::stats::{Bucket, DecayingEwma, RollingWindow, Span, WindowedMin};

/// Settings of [`Bbr`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BbrSettings {
    /// Places to start with, and the limit under overload while little is known. Default 20.
    pub initial: u32,
    /// Least places, at least 1. Default 1.
    pub min: u32,
    /// Most places, at least `min`. Default 10,000.
    pub max: u32,
    /// How far the history reaches, a bucket to 10,000 buckets. Default 10 s; 5 s is common.
    pub history: Duration,
    /// A bucket's width and the length of a window, 1 ms to 10 s. Default 100 ms.
    pub bucket: Duration,
    /// CPU use that counts as overload, 0 to 1. Default 0.8.
    pub cpu_threshold: f64,
    /// How long the formula stays in force after the last rejection under overload. Default 1 s.
    pub cool_off: Duration,
    /// Latency over the least of the history that counts as queueing, 1.1 to 100. Default 2.
    pub queueing: f64,
    /// Successes in the history from which on the formula is believed, at least 1. Default 100.
    pub min_samples: u32,
}

impl Default for BbrSettings {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 1,
            max: 10_000,
            history: Duration::from_secs(10),
            bucket: Duration::from_millis(100),
            cpu_threshold: 0.8,
            cool_off: Duration::from_secs(1),
            queueing: 2.0,
            min_samples: 100,
        }
    }
}

impl BbrSettings {
    fn sound(self) -> Self {
        let default = Self::default();
        let bucket = self
            .bucket
            .clamp(Duration::from_millis(1), Duration::from_secs(10));
        Self {
            bucket,
            history: self.history.clamp(bucket, bucket * 10_000),
            cpu_threshold: sound(self.cpu_threshold, 0.0, 1.0, default.cpu_threshold),
            queueing: sound(self.queueing, 1.1, 100.0, default.queueing),
            min_samples: self.min_samples.max(1),
            ..self
        }
    }
}

/// A share of lost calls that counts as overload.
const LOSS: f64 = 0.1;

/// maxPass · minRt · bucketsPerSecond, in force while the origin is overloaded.
///
/// aegis (go-kratos/aegis `ratelimit/bbr`, after Alibaba Sentinel and kratos issue 59) holds that
/// an origin can work on `maxPass · minRt · bucketsPerSecond` calls at once: the most that passed
/// in a bucket of 100 ms times the least mean latency of a bucket, over 5 or 10 s. It enforces
/// this only while the CPU is at 80 % or more, and for a second after. The idea is sound and the
/// formula is kept to the letter; what is mended, each with a test in `tests/bbr_conformance.rs`:
///
/// | aegis | here |
/// |---|---|
/// | the cool-off counts from the first rejection of an overload, so it is over before the overload is | from the last window that rejected under overload |
/// | a service that has served nothing yet rejects its third concurrent call: no history counts as 1 call per bucket and 1 ms | the formula is believed from [`min_samples`](BbrSettings::min_samples) successes in the history on; before, overload brings the limit back to `initial` |
/// | whole milliseconds, whole buckets a second (none, for buckets over a second), whole calls | real numbers, rounded up once, at the end |
/// | latency and passes of failed calls count, so fast errors shrink and slow ones widen it | successes only |
/// | at least two calls are always let in | [`min`](BbrSettings::min), 1 by default |
/// | a service that waits for something other than the CPU is never protected | overload has signals other than the CPU, see below |
/// | no limit at all while the gate is open | one that doubles in each window it binds in: the first window of a burst is bounded too, and a cold start is a slow start |
///
/// **What counts as overload.** Any of: the CPU at its threshold, where a reading exists; calls
/// queueing, which is a latency of late of [`queueing`](BbrSettings::queueing) times the least of the
/// history (both smoothed) with more in flight than the formula holds possible; a tenth of the calls refused or failed. The last two
/// need no CPU reading, and are what protects a service that waits on a database or has no cgroup.
///
/// **After the cool-off** the limit does not jump to "none" but doubles, window by window, and only
/// while it binds, until it no longer does or a signal returns. Within the cool-off it stays at
/// the formula: CPU use hovers about its threshold once the limit works (kratos issue 59).
///
/// **What is left as it is.** `minRt` is what was seen of late: an overload without an unqueued
/// bucket in the whole history lifts it, and the limit with it. And a bucket of 100 ms overrates an
/// origin that answers a few calls a second. The adaptive limit has neither trait.
///
/// The first bucket after a cold start or a whole history of silence teaches nothing: the short
/// calls end first, and their latency would be the least for as long as the history reaches.
///
/// A window is a bucket, counted where it ends, so the bucket that is still filling is out by
/// construction. A window that comes late counts as its mean rate.
///
/// ```
/// use seawall_policy::limit::{Bbr, BbrSettings, Limit, Window};
/// use seawall_policy::Tick;
///
/// let mut limit = Bbr::new(BbrSettings::default());
/// // 120 calls of 20 ms in 100 ms keep 24 places busy.
/// let window = |ms: u64, cpu: f64| Window {
///     start: Tick::from_millis(ms - 100), end: Tick::from_millis(ms), limit: 24, inflight: 24,
///     succeeded: 120, latency_sum: 2.4, bound: true, cpu: Some(cpu), ..Window::default()
/// };
/// assert_eq!(limit.update(&window(100, 0.95)).limit, 20); // nothing is known yet
/// assert_eq!(limit.update(&window(200, 0.95)).limit, 24);
/// assert_eq!(limit.update(&window(300, 0.50)).limit, 24); // cooling off
/// assert_eq!(limit.update(&window(1_500, 0.50)).limit, 48); // no overload, but it binds
/// ```
#[derive(Clone, Debug)]
pub struct Bbr {
    settings: BbrSettings,
    range: Range,
    limit: f64,
    /// Successes a bucket.
    passes: RollingWindow,
    /// Their latencies, in seconds.
    latencies: RollingWindow,
    /// The latency of the last window or two, and of the last second or so.
    recent: DecayingEwma,
    smooth: DecayingEwma,
    /// The least `smooth` of the history. Not `minRt`: the least mean of a hundred buckets is far
    /// below the mean where latencies vary, and calls would seem to queue all the time.
    calm: WindowedMin,
    /// When a call last succeeded.
    last_success: Option<Tick>,
    /// When a window last rejected under overload.
    last_drop: Option<Tick>,
    min_rt: Option<f64>,
}

impl Bbr {
    /// Starts at `settings.initial`.
    #[must_use]
    pub fn new(settings: BbrSettings) -> Self {
        let settings = settings.sound();
        let range = Range::new(settings.min, settings.max);
        let buckets = settings.history.div_duration_f64(settings.bucket).ceil() as usize;
        Self {
            range,
            limit: range.clamp(f64::from(settings.initial)),
            passes: RollingWindow::new(settings.bucket, buckets),
            latencies: RollingWindow::new(settings.bucket, buckets),
            recent: DecayingEwma::new(settings.bucket),
            smooth: DecayingEwma::new(settings.bucket * 10),
            calm: WindowedMin::new(settings.history, buckets.min(100)),
            last_success: None,
            last_drop: None,
            min_rt: None,
            settings,
        }
    }

    /// The instant whose bucket a window that ends at `end` belongs to.
    fn within(end: Tick) -> Tick {
        end - Duration::from_nanos(1)
    }

    fn learn(&mut self, window: &Window) {
        let at = Self::within(window.end);
        if let Some((mean, count)) = latency(window) {
            let last = self.last_success.replace(window.end);
            if last.is_some_and(|last| window.end.since(last) < self.settings.history) {
                self.record(window, mean, count);
            }
        }
        let means = self.latencies.buckets(at, Span::WithPresent);
        self.min_rt = means.filter_map(Bucket::mean).reduce(f64::min);
    }

    fn record(&mut self, window: &Window, mean: f64, count: f64) {
        let (at, end) = (Self::within(window.end), window.end);
        let width = self.settings.bucket.as_secs_f64();
        let passes = count * width / window.seconds().max(width);
        self.passes.record(at, passes);
        let samples = Bucket {
            count: u64::from(window.succeeded),
            sum: window.latency_sum,
            ..Bucket::of(mean)
        };
        self.latencies.merge(at, &samples);
        self.recent.record_weighted(end, mean, count);
        self.smooth.record_weighted(end, mean, count);
        if let Some(smooth) = self.smooth.value() {
            self.calm.record(end, smooth);
        }
    }

    /// maxPass · minRt · bucketsPerSecond, once the history is long enough to believe it.
    fn capacity(&self, window: &Window) -> Option<f64> {
        let at = Self::within(window.end);
        let known = self.latencies.total(at, Span::WithPresent).count;
        if known < u64::from(self.settings.min_samples) {
            return None;
        }
        let passes = self.passes.buckets(at, Span::WithPresent);
        let max_pass = passes.map(|bucket| bucket.sum).reduce(f64::max)?;
        Some(max_pass * self.min_rt? / self.settings.bucket.as_secs_f64())
    }

    fn overloaded(&self, window: &Window, capacity: Option<f64>) -> bool {
        let by_cpu = window
            .cpu
            .is_some_and(|cpu| cpu >= self.settings.cpu_threshold);
        by_cpu || loss(window) >= LOSS || self.queueing(window, capacity).unwrap_or(false)
    }

    fn queueing(&self, window: &Window, capacity: Option<f64>) -> Option<bool> {
        let calm = self.calm.get(window.end)?;
        let slow = self.recent.value()? >= self.settings.queueing * calm;
        let taken = f64::from(window.inflight).max(window.mean_inflight);
        Some(slow && taken > capacity?)
    }

    fn cooling(&self, now: Tick) -> bool {
        self.last_drop
            .is_some_and(|drop| now.since(drop) <= self.settings.cool_off)
    }
}

impl Limit for Bbr {
    fn start(&self) -> Step {
        Step {
            limit: self.limit as u32,
            after: self.settings.bucket,
        }
    }

    fn update(&mut self, window: &Window) -> Step {
        self.learn(window);
        let capacity = self.capacity(window);
        let overloaded = self.overloaded(window, capacity);
        if overloaded && window.bound {
            self.last_drop = Some(window.end);
        }
        let target = if overloaded || self.cooling(window.end) {
            // A place for a billionth of a call would be one for an error of rounding.
            capacity.map_or(f64::from(self.settings.initial), |calls| {
                (calls * (1.0 - 1e-9)).ceil()
            })
        } else {
            // Grows where it binds, by the condition below, once queueing could be told.
            let known = self.calm.get(window.end).is_some();
            self.limit * if known { 2.0 } else { 1.0 }
        };
        if target < self.limit || may_grow(window, self.limit) {
            self.limit = self.range.clamp(target);
        }
        self.start()
    }

    fn name(&self) -> &'static str {
        "bbr"
    }

    fn base_latency(&self) -> Option<f64> {
        self.min_rt
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_the_laws(
            min in 0_u32..30, more in 0_u32..300, initial in 0_u32..500,
            min_samples in 0_u32..500, history in laws::history(),
        ) {
            let settings = BbrSettings { min, max: min.saturating_add(more), initial, min_samples, ..BbrSettings::default() };
            laws::hold(|| Bbr::new(settings), min.max(1), (min + more).max(1), &history)?;
        }
    }

    #[test]
    fn odd_settings_are_made_sound() {
        for x in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            for span in [Duration::ZERO, Duration::MAX] {
                let settings = BbrSettings {
                    history: span,
                    bucket: span,
                    cool_off: span,
                    cpu_threshold: x,
                    queueing: x,
                    ..BbrSettings::default()
                };
                let mut limit = Bbr::new(settings);
                assert_eq!(limit.start().limit, 20);
                assert!(limit.update(&laws::at(laws::full(20, 100, 0.02), 1)).limit >= 1);
            }
        }
    }
}
