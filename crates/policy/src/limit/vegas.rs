//! The queue at the origin, estimated from latency.

use std::time::Duration;

use super::evidence::{Range, Samples, half_taken, loss, may_grow, sound};
use super::{Limit, Step, Window};
use crate::stats::WindowedMin;

/// Settings of [`Vegas`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VegasSettings {
    /// Places to start with. Default 20.
    pub initial: u32,
    /// Least places, at least 1. Default 1.
    pub min: u32,
    /// Most places, at least `min`. Default 1,000.
    pub max: u32,
    /// α: below this many · log₁₀ of the limit queued, grow; 1 to 100. Default 3.
    pub alpha: f64,
    /// β: above this many · log₁₀ of the limit queued, shrink; `alpha` to 1,000. Default 6.
    pub beta: f64,
    /// How long the least latency is remembered, at least a window. Default 30 s. Shorter follows
    /// an origin that became slower for good; longer withstands a longer overload.
    pub memory: Duration,
    /// Successes that make a latency sample, at least 1. Default 10.
    pub min_samples: u32,
    /// The share of failures and refusals, 0 to 1, above which to shrink. Default 0.1.
    pub tolerated_loss: f64,
    /// A window's length, at least 1 ms. Default 100 ms.
    pub window: Duration,
}

impl Default for VegasSettings {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 1,
            max: 1_000,
            alpha: 3.0,
            beta: 6.0,
            memory: Duration::from_secs(30),
            min_samples: 10,
            tolerated_loss: 0.1,
            window: Duration::from_millis(100),
        }
    }
}

/// Keeps the queue at the origin between α and β: q = L · (1 − base / latency).
///
/// Source: `VegasLimit` of Netflix concurrency-limits, after TCP Vegas (Brakmo, Peterson 1995).
/// With u = max(1, log₁₀ L): q ≤ u grows by β·u, q < α·u by u, q > β·u shrinks by u, and so does a
/// loss; below half of the limit taken nothing moves.
///
/// It differs from its source in what the base is: the least window mean of the last
/// [`memory`](VegasSettings::memory), instead of a least call that is replaced by whatever latency
/// a probe at a random time happens to see, be it in the middle of an overload. An overload longer
/// than the memory still lifts the base; so does every limit that lives by one.
///
/// ```
/// use seawall_policy::limit::{Limit, Vegas, VegasSettings, Window};
/// use seawall_policy::Tick;
///
/// let mut limit = Vegas::new(VegasSettings::default());
/// let window = |ms: u64, mean: f64| Window {
///     start: Tick::from_millis(ms - 100), end: Tick::from_millis(ms), limit: 20, inflight: 20,
///     succeeded: 100, latency_sum: 100.0 * mean, bound: true, ..Window::default()
/// };
/// assert_eq!(limit.update(&window(100, 0.020)).limit, 20); // learns the base
/// assert_eq!(limit.update(&window(200, 0.020)).limit, 27); // nothing queues: + 6 · log₁₀ 20
/// assert_eq!(limit.update(&window(300, 0.040)).limit, 26); // half of them queue: − log₁₀ 27
/// ```
#[derive(Clone, Debug)]
pub struct Vegas {
    settings: VegasSettings,
    range: Range,
    limit: f64,
    samples: Samples,
    least: WindowedMin,
    base: Option<f64>,
}

impl Vegas {
    /// Starts at `settings.initial`.
    #[must_use]
    pub fn new(settings: VegasSettings) -> Self {
        let range = Range::new(settings.min, settings.max);
        let default = VegasSettings::default();
        let window = settings.window.max(Duration::from_millis(1));
        let alpha = sound(settings.alpha, 1.0, 100.0, default.alpha);
        let memory = settings.memory.max(window);
        Self {
            range,
            limit: range.clamp(f64::from(settings.initial)),
            samples: Samples::new(settings.min_samples),
            least: WindowedMin::new(memory, 30),
            base: None,
            settings: VegasSettings {
                alpha,
                beta: sound(settings.beta, alpha, 1_000.0, default.beta.max(alpha)),
                memory,
                tolerated_loss: sound(settings.tolerated_loss, 0.0, 1.0, default.tolerated_loss),
                window,
                ..settings
            },
        }
    }

    /// The base before this sample, which is from then on part of it.
    fn learn(&mut self, window: &Window, latency: f64) -> Option<f64> {
        let known = self.least.get(window.end);
        self.least.record(window.end, latency);
        self.base = self.least.get(window.end);
        known.and(self.base)
    }

    /// By how much to move, from the queue that a latency over a base means.
    fn steer(&self, base: f64, latency: f64) -> f64 {
        let VegasSettings { alpha, beta, .. } = self.settings;
        let unit = self.unit();
        let queue = self.limit * (1.0 - base / latency);
        if queue <= unit {
            beta * unit
        } else if queue < alpha * unit {
            unit
        } else if queue > beta * unit {
            -unit
        } else {
            0.0
        }
    }

    fn unit(&self) -> f64 {
        self.limit.log10().max(1.0)
    }
}

impl Limit for Vegas {
    fn start(&self) -> Step {
        Step {
            limit: self.limit as u32,
            after: self.settings.window,
        }
    }

    fn update(&mut self, window: &Window) -> Step {
        let sample = self.samples.take(window);
        let known = sample.and_then(|latency| Some((self.learn(window, latency)?, latency)));
        let lossy = loss(window) > self.settings.tolerated_loss;
        let by = match known {
            _ if lossy => -self.unit(),
            Some((base, latency)) => self.steer(base, latency),
            None => 0.0,
        };
        if (by < 0.0 && (lossy || half_taken(window, self.limit)))
            || (by > 0.0 && may_grow(window, self.limit))
        {
            self.limit = self.range.clamp(self.limit + by);
        }
        self.start()
    }

    fn name(&self) -> &'static str {
        "vegas"
    }

    fn base_latency(&self) -> Option<f64> {
        self.base
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
            alpha in -1.0..9.0_f64, history in laws::history(),
        ) {
            let settings = VegasSettings { min, max: min + more, initial, alpha, ..VegasSettings::default() };
            laws::hold(|| Vegas::new(settings), min.max(1), (min + more).max(1), &history)?;
        }
    }

    /// An origin of `slots` slots × 20 ms that is always full: latency by Little's law.
    fn settle(mut limit: Vegas, slots: f64, seconds: u64) -> u32 {
        let mut now = limit.start().limit;
        for i in 1..=seconds * 10 {
            let rate = slots.min(f64::from(now)) / 0.020;
            let latency = f64::from(now) / rate;
            let window = laws::full(now, (rate / 10.0) as u32, latency);
            now = limit.update(&laws::at(window, i)).limit;
        }
        now
    }

    #[test]
    fn settles_with_a_short_queue_at_a_saturated_origin() {
        for slots in [15.0, 50.0, 200.0] {
            // Begun above the slots, a base would be learned that has the queue in it.
            let settings = VegasSettings {
                initial: 10,
                ..VegasSettings::default()
            };
            let limit = f64::from(settle(Vegas::new(settings), slots, 20));
            let queue = limit - slots;
            let unit = limit.log10().max(1.0);
            assert!(
                queue >= 0.0 && queue <= 8.0 * unit,
                "{slots} slots: {limit}"
            );
        }
    }

    #[test]
    fn few_calls_are_gathered_into_a_sample() {
        let mut limit = Vegas::new(VegasSettings::default());
        let grown = (1..=40).map(|i| limit.update(&laws::at(laws::full(20, 2, 0.02), i)).limit);
        // Ten successes take five windows; the first sample is the base.
        assert_eq!(grown.take_while(|&l| l == 20).count(), 9);
    }
}
