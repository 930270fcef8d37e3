//! The gradient of latency against its long-term average.

use std::time::Duration;

use super::evidence::{Range, Samples, half_taken, loss, may_grow, sound};
use super::{Limit, Step, Window};
use crate::stats::DecayingEwma;

/// Settings of [`Gradient2`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient2Settings {
    /// Places to start with. Default 20.
    pub initial: u32,
    /// Least places, at least 1. Default 1.
    pub min: u32,
    /// Most places, at least `min`. Default 1,000.
    pub max: u32,
    /// How many times the long-term latency is still no queueing, 1 to 10. Default 1.5.
    pub tolerance: f64,
    /// Places to grow by while nothing queues, 1 to 1,000. Default 4.
    pub headroom: f64,
    /// The share of the new estimate in the next limit, 0.01 to 1. Default 0.2.
    pub smoothing: f64,
    /// Time constant of the long-term latency, at least a window. Default 30 s, which is a mean
    /// over 600 windows of 100 ms.
    pub long: Duration,
    /// Successes that make a latency sample, at least 1. Default 10.
    pub min_samples: u32,
    /// The share of failures and refusals, 0 to 1, above which the gradient is at its least.
    /// Default 0.1.
    pub tolerated_loss: f64,
    /// A window's length, at least 1 ms. Default 100 ms.
    pub window: Duration,
}

impl Default for Gradient2Settings {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 1,
            max: 1_000,
            tolerance: 1.5,
            headroom: 4.0,
            smoothing: 0.2,
            long: Duration::from_secs(30),
            min_samples: 10,
            tolerated_loss: 0.1,
            window: Duration::from_millis(100),
        }
    }
}

/// The least gradient: no outlier may halve the limit more than once.
const LEAST: f64 = 0.5;

/// L' = (1 − s)·L + s·(L·g + headroom), with g = clamp(tolerance · long / short, ½, 1).
///
/// Source: `Gradient2Limit` of Netflix concurrency-limits. `short` is the latency of the window,
/// `long` its exponential average; where `long` is over twice `short` it is cut by a tenth a
/// window, so that it comes down after an overload; below half of the limit taken nothing moves.
///
/// It differs from its source in that it grows only where the limit binds, and that a window full
/// of failures shrinks it. What is left as it is: an overload of many `long` lifts the average, and
/// the limit opens again (failsafe-go issue 127 tells of one).
///
/// ```
/// use seawall_policy::limit::{Gradient2, Gradient2Settings, Limit, Window};
/// use seawall_policy::Tick;
///
/// let mut limit = Gradient2::new(Gradient2Settings::default());
/// let window = |ms: u64, mean: f64| Window {
///     start: Tick::from_millis(ms - 100), end: Tick::from_millis(ms), limit: 20, inflight: 20,
///     succeeded: 100, latency_sum: 100.0 * mean, bound: true, ..Window::default()
/// };
/// assert_eq!(limit.update(&window(100, 0.020)).limit, 20); // 0.8 · 20 + 0.2 · 24 = 20.8
/// assert_eq!(limit.update(&window(200, 0.020)).limit, 21);
/// assert_eq!(limit.update(&window(300, 0.200)).limit, 20); // g is about 0.6
/// ```
#[derive(Clone, Debug)]
pub struct Gradient2 {
    settings: Gradient2Settings,
    range: Range,
    limit: f64,
    samples: Samples,
    long: DecayingEwma,
}

impl Gradient2 {
    /// Starts at `settings.initial`.
    #[must_use]
    pub fn new(settings: Gradient2Settings) -> Self {
        let range = Range::new(settings.min, settings.max);
        let default = Gradient2Settings::default();
        let window = settings.window.max(Duration::from_millis(1));
        let long = settings.long.max(window);
        Self {
            range,
            limit: range.clamp(f64::from(settings.initial)),
            samples: Samples::new(settings.min_samples),
            long: DecayingEwma::new(long),
            settings: Gradient2Settings {
                tolerance: sound(settings.tolerance, 1.0, 10.0, default.tolerance),
                headroom: sound(settings.headroom, 1.0, 1_000.0, default.headroom),
                smoothing: sound(settings.smoothing, 0.01, 1.0, default.smoothing),
                long,
                tolerated_loss: sound(settings.tolerated_loss, 0.0, 1.0, default.tolerated_loss),
                window,
                ..settings
            },
        }
    }

    /// The gradient that this latency means, having become part of the long-term one.
    fn gradient(&mut self, window: &Window, short: f64) -> f64 {
        self.long.record(window.end, short);
        let long = self.long.value().unwrap_or(short);
        if long > 2.0 * short {
            self.long.scale(0.9);
        }
        (self.settings.tolerance * long / short).clamp(LEAST, 1.0)
    }
}

impl Limit for Gradient2 {
    fn start(&self) -> Step {
        Step {
            limit: self.limit as u32,
            after: self.settings.window,
        }
    }

    fn update(&mut self, window: &Window) -> Step {
        let sample = self.samples.take(window);
        let measured = sample.map(|short| self.gradient(window, short));
        let lossy = loss(window) > self.settings.tolerated_loss;
        let Some(gradient) = (if lossy { Some(LEAST) } else { measured }) else {
            return self.start();
        };
        // No headroom while the origin fails: at a small limit it would outweigh the gradient.
        let headroom = if lossy { 0.0 } else { self.settings.headroom };
        let smoothing = self.settings.smoothing;
        let next = self.limit * (1.0 - smoothing) + (self.limit * gradient + headroom) * smoothing;
        if (next > self.limit && may_grow(window, self.limit))
            || (next < self.limit && (lossy || half_taken(window, self.limit)))
        {
            self.limit = self.range.clamp(next);
        }
        self.start()
    }

    fn name(&self) -> &'static str {
        "gradient2"
    }

    fn base_latency(&self) -> Option<f64> {
        self.long.value()
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
            tolerance in -1.0..9.0_f64, smoothing in -1.0..2.0_f64, history in laws::history(),
        ) {
            let settings = Gradient2Settings { min, max: min + more, initial, tolerance, smoothing, ..Gradient2Settings::default() };
            laws::hold(|| Gradient2::new(settings), min.max(1), (min + more).max(1), &history)?;
        }

        #[test]
        fn is_the_formula(long in 0.001..1.0_f64, short in 0.001..1.0_f64, initial in 10_u32..500) {
            let mut limit = Gradient2::new(Gradient2Settings { initial, ..Gradient2Settings::default() });
            // A window in which nothing binds teaches the average and moves nothing.
            let idle = Window { bound: false, inflight: 0, mean_inflight: 0.0, ..laws::full(initial, 1_000, long) };
            prop_assert_eq!(limit.update(&laws::at(idle, 1)).limit, initial);
            limit.update(&laws::at(laws::full(initial, 10, short), 2));
            let keep = (-0.1_f64 / 30.0).exp();
            let average = (1.0 * keep * long + short) / (keep + 1.0);
            let gradient = (1.5 * average / short).clamp(0.5, 1.0);
            let l = f64::from(initial);
            let want = (0.8 * l + 0.2 * (l * gradient + 4.0)).min(1_000.0);
            prop_assert!((limit.limit - want).abs() < 1e-6, "{} {}", limit.limit, want);
        }
    }

    #[test]
    fn failures_without_a_sample_shrink_it() {
        let mut limit = Gradient2::new(Gradient2Settings::default());
        let dead = Window {
            succeeded: 0,
            latency_sum: 0.0,
            failed: 9,
            ..laws::full(20, 0, 0.0)
        };
        assert_eq!(limit.update(&laws::at(dead, 1)).limit, 18);
        let quiet = Window { failed: 0, ..dead };
        assert_eq!(limit.update(&laws::at(quiet, 2)).limit, 18);
    }

    #[test]
    fn the_average_comes_down_after_an_overload() {
        let mut limit = Gradient2::new(Gradient2Settings::default());
        let mut step = |i, latency| {
            limit.update(&laws::at(laws::full(20, 100, latency), i));
            limit.base_latency().unwrap()
        };
        (1..100).for_each(|i| assert!(step(i, 1.0) > 0.9));
        (100..130).for_each(|i| assert!(step(i, 0.02) > 0.0));
        assert!(step(130, 0.02) < 0.06);
    }
}
