//! Additive increase, multiplicative decrease.

use std::time::Duration;

use super::evidence::{Range, loss, may_grow, sound};
use super::{Limit, Step, Window};

/// Settings of [`Aimd`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AimdSettings {
    /// Places to start with. Default 20.
    pub initial: u32,
    /// Least places, at least 1. Default 1.
    pub min: u32,
    /// Most places, at least `min`. Default 1,000.
    pub max: u32,
    /// What a decrease multiplies the limit by, 0.5 to 0.99. Default 0.9.
    pub backoff: f64,
    /// A mean latency above this is a loss. Default 5 s.
    pub timeout: Duration,
    /// The share of failures and refusals, 0 to 1, above which a window is a loss. Default 0.1: a
    /// service that always fails a few calls in a hundred has a bug, not an overload.
    pub tolerated_loss: f64,
    /// A window's length, at least 1 ms. Default 100 ms.
    pub window: Duration,
}

impl Default for AimdSettings {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 1,
            max: 1_000,
            backoff: 0.9,
            timeout: Duration::from_secs(5),
            tolerated_loss: 0.1,
            window: Duration::from_millis(100),
        }
    }
}

/// One place more each window that binds and loses nothing, a tenth fewer each window with losses.
///
/// Source: `AIMDLimit` of Netflix concurrency-limits, per window instead of per call. It knows
/// overload only by losses, so it fills an origin's queue until calls fail: for origins that
/// refuse early (429, 503), or as a baseline to compare others with.
///
/// It differs from its source in that it does not grow while the limit is not what binds, that
/// the limit keeps its fraction (an integer limit of 9 with backoff 0.9 falls by 11 %, of 1 by
/// nothing), and that a loss is a share, not a single failure.
///
/// ```
/// use seawall_policy::limit::{Aimd, AimdSettings, Limit, Window};
///
/// let mut limit = Aimd::new(AimdSettings::default());
/// let full = Window { limit: 20, inflight: 20, succeeded: 100, bound: true, ..Window::default() };
/// assert_eq!(limit.update(&full).limit, 21);
/// assert_eq!(limit.update(&Window { overloaded: 50, ..full }).limit, 18); // 21 · 0.9 = 18.9
/// ```
#[derive(Clone, Debug)]
pub struct Aimd {
    settings: AimdSettings,
    range: Range,
    limit: f64,
}

impl Aimd {
    /// Starts at `settings.initial`.
    #[must_use]
    pub fn new(settings: AimdSettings) -> Self {
        let range = Range::new(settings.min, settings.max);
        let default = AimdSettings::default();
        Self {
            range,
            limit: range.clamp(f64::from(settings.initial)),
            settings: AimdSettings {
                backoff: sound(settings.backoff, 0.5, 0.99, default.backoff),
                tolerated_loss: sound(settings.tolerated_loss, 0.0, 1.0, default.tolerated_loss),
                window: settings.window.max(Duration::from_millis(1)),
                ..settings
            },
        }
    }
}

impl Limit for Aimd {
    fn start(&self) -> Step {
        Step {
            limit: self.limit as u32,
            after: self.settings.window,
        }
    }

    fn update(&mut self, window: &Window) -> Step {
        let slow = window
            .mean_latency()
            .is_some_and(|mean| mean > self.settings.timeout.as_secs_f64());
        if slow || loss(window) > self.settings.tolerated_loss {
            self.limit = self.range.clamp(self.limit * self.settings.backoff);
        } else if may_grow(window, self.limit) {
            self.limit = self.range.clamp(self.limit + 1.0);
        }
        self.start()
    }

    fn name(&self) -> &'static str {
        "aimd"
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
            backoff in -1.0..2.0_f64, history in laws::history(),
        ) {
            let settings = AimdSettings { min, max: min + more, initial, backoff, ..AimdSettings::default() };
            laws::hold(|| Aimd::new(settings), min.max(1), (min + more).max(1), &history)?;
        }
    }

    #[test]
    fn falls_on_losses_and_on_slowness_only() {
        let full = laws::full(20, 100, 0.02);
        let after = |window: &Window| Aimd::new(AimdSettings::default()).update(window).limit;
        assert_eq!(after(&full), 21);
        assert_eq!(
            after(&Window { failed: 11, ..full }),
            21,
            "a tenth is tolerated"
        );
        assert_eq!(after(&Window { failed: 12, ..full }), 18);
        assert_eq!(
            after(&Window {
                latency_sum: 600.0,
                ..full
            }),
            18
        );
        assert_eq!(
            after(&Window {
                succeeded: 0,
                failed: 3,
                ..full
            }),
            18,
            "failures alone"
        );
        assert_eq!(
            after(&Window {
                succeeded: 0,
                ..full
            }),
            20,
            "a hang is no reason to grow"
        );
    }
}
