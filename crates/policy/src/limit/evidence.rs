//! What a window is evidence of: the rules that the classical limits share.
//!
//! - A limit grows only where it binds: someone had to wait or was turned away, and at least half
//!   of the places were taken. Otherwise nothing was learned about a higher one, and a limit that
//!   drifts upward in quiet hours protects nothing when the burst comes.
//! - It does not grow on a window without a success: an origin that hangs makes every limit bind.
//! - Ignored calls are not looked at.
//! - A few failures are no overload (every service has bugs), many are.

use super::Window;

/// Least and greatest limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    min: f64,
    max: f64,
}

impl Range {
    /// `min` is at least 1, `max` at least `min`.
    pub(super) fn new(min: u32, max: u32) -> Self {
        let min = f64::from(min.max(1));
        let max = f64::from(max).max(min);
        Self { min, max }
    }

    /// The nearest limit in range; the least one for what is no number.
    pub(super) fn clamp(self, limit: f64) -> f64 {
        limit.max(self.min).min(self.max)
    }
}

/// `value` where it is a number in `least..=greatest`, the nearer end where it is another number,
/// `default` where it is none.
pub(super) fn sound(value: f64, least: f64, greatest: f64, default: f64) -> f64 {
    if value.is_nan() {
        default
    } else {
        value.clamp(least, greatest)
    }
}

/// At least half of `limit` was taken, at the end or on average.
pub(super) fn half_taken(window: &Window, limit: f64) -> bool {
    let taken = f64::from(window.inflight).max(window.mean_inflight);
    taken >= limit / 2.0
}

/// The limit is what holds traffic back, and the origin answers: it may grow.
pub(super) fn may_grow(window: &Window, limit: f64) -> bool {
    window.bound && window.succeeded > 0 && half_taken(window, limit)
}

/// The share of calls that failed or were refused by the origin; 0 where none ended.
pub(super) fn loss(window: &Window) -> f64 {
    let lost = f64::from(window.failed) + f64::from(window.overloaded);
    let ended = lost + f64::from(window.succeeded);
    if ended > 0.0 { lost / ended } else { 0.0 }
}

/// The window's mean latency and its weight, where it holds a sound sample.
pub(super) fn latency(window: &Window) -> Option<(f64, f64)> {
    let mean = window.mean_latency()?;
    (mean.is_finite() && mean > 0.0).then(|| (mean, f64::from(window.succeeded)))
}

/// Gathers successes over as many windows as it takes to have enough for a mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples {
    enough: f64,
    count: f64,
    sum: f64,
}

impl Samples {
    /// `enough` successes (at least 1) make a sample.
    pub(super) fn new(enough: u32) -> Self {
        Self {
            enough: f64::from(enough.max(1)),
            count: 0.0,
            sum: 0.0,
        }
    }

    /// Takes the window in; the mean latency in seconds once there are enough.
    pub(super) fn take(&mut self, window: &Window) -> Option<f64> {
        let (mean, count) = latency(window)?;
        self.sum += mean * count;
        self.count += count;
        if self.count < self.enough {
            return None;
        }
        let sample = self.sum / self.count;
        (self.sum, self.count) = (0.0, 0.0);
        sample.is_finite().then_some(sample)
    }
}
