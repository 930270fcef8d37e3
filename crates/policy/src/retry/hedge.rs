//! A second copy for a call that takes unusually long.
//!
//! Sent when the first has lasted as long as all but a few calls last, a hedge costs a few calls
//! in a hundred and cuts the tail that one slow host makes. It is a retry that does not wait for
//! the failure, so it pays from the same budget, and when everything is slow (so that all calls
//! seem unusual) the budget is what keeps hedges from doubling the load.

use std::time::Duration;

use super::{Budget, Latencies, Withdrawal};
use crate::{Call, Tick};

/// Settings of [`Hedge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeSettings {
    /// Copies beside the first; 0 for none. Default 1.
    pub copies: u8,
    /// The shortest time before a copy, however quick calls are. Default 1 ms.
    pub least: Duration,
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self {
            copies: 1,
            least: Duration::from_millis(1),
        }
    }
}

/// Decides when a call that has no answer yet is sent once more.
///
/// The driver asks [`Hedge::due`] when it has sent a copy, and when that time comes without an
/// answer [`Hedge::send`]. The first answer wins; the other copies are cancelled and recorded as
/// [`Outcome::Ignored`](crate::Outcome::Ignored).
///
/// ```
/// use seawall_policy::retry::{Budget, BudgetSettings, Hedge, HedgeSettings, Latencies, LatencySettings};
/// use seawall_policy::{Call, Tick};
/// use std::time::Duration;
///
/// let hedge = Hedge::new(HedgeSettings::default());
/// let latencies = Latencies::new(&LatencySettings::default());
/// let call = Call { idempotent: true, deadline: Tick::from_millis(2_000), ..Call::default() };
/// let now = Tick::from_millis(1_000);
/// assert_eq!(hedge.due(&call, true, 1, &latencies, now), None); // nothing known yet
/// for ms in 0..1_000 {
///     latencies.record(Duration::from_millis(10), Tick::from_millis(ms));
/// }
/// let due = hedge.due(&call, true, 1, &latencies, now).unwrap();
/// assert!((9..=11).contains(&due.since(now).as_millis()));
/// let budget = Budget::new(&BudgetSettings::default());
/// assert!(hedge.send(&call, true, 1, &latencies, &budget, due).is_some());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hedge {
    settings: HedgeSettings,
}

impl Hedge {
    /// The rules with these settings.
    #[must_use]
    pub const fn new(settings: HedgeSettings) -> Self {
        Self { settings }
    }

    /// When the next copy is due, if any: `sent` copies are under way, the last since `now`.
    ///
    /// `may_run_twice` is [`Retry::may_run_twice`](super::Retry::may_run_twice).
    #[must_use]
    pub fn due(
        &self,
        call: &Call,
        may_run_twice: bool,
        sent: u8,
        latencies: &Latencies,
        now: Tick,
    ) -> Option<Tick> {
        let due = now + latencies.tail()?.max(self.settings.least);
        self.may(call, may_run_twice, sent, latencies, due)
            .then_some(due)
    }

    /// Whether to send it now, and paid by what.
    #[must_use]
    pub fn send(
        &self,
        call: &Call,
        may_run_twice: bool,
        sent: u8,
        latencies: &Latencies,
        budget: &Budget,
        now: Tick,
    ) -> Option<Withdrawal> {
        let may = self.may(call, may_run_twice, sent, latencies, now);
        may.then(|| budget.withdraw(now)).flatten()
    }

    /// A copy that begins at `begin` may be sent, and can be finished in time.
    fn may(
        &self,
        call: &Call,
        may_run_twice: bool,
        sent: u8,
        latencies: &Latencies,
        begin: Tick,
    ) -> bool {
        let typical = latencies.typical().unwrap_or_default();
        may_run_twice && sent <= self.settings.copies && typical < call.deadline.since(begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::{BudgetSettings, LatencySettings};

    const NOW: Tick = Tick::from_millis(10_000);

    /// Nineteen of twenty take 20 ms, the rest 200.
    fn latencies(shards: usize) -> Latencies {
        let latencies = Latencies::new(&LatencySettings {
            shards,
            ..Default::default()
        });
        for i in 0..2_000 {
            let ms = if i % 50 == 0 { 200 } else { 20 };
            latencies.record(Duration::from_millis(ms), Tick::from_millis(i * 5));
        }
        latencies
    }

    fn call(left_ms: u64) -> Call {
        Call {
            deadline: NOW + Duration::from_millis(left_ms),
            ..Call::default()
        }
    }

    #[test]
    fn only_what_may_run_twice_and_can_finish() {
        let (hedge, latencies) = (Hedge::new(HedgeSettings::default()), latencies(1));
        let due = |left, twice, sent| hedge.due(&call(left), twice, sent, &latencies, NOW);
        let wait = due(1_000, true, 1).unwrap().since(NOW).as_millis();
        assert!((19..=21).contains(&wait), "the 95th percentile: {wait} ms");
        assert_eq!(due(1_000, false, 1), None);
        assert_eq!(due(1_000, true, 2), None, "one copy and no more");
        assert_eq!(due(35, true, 1), None, "20 ms to wait, 20 to work, 35 left");
        let budget = Budget::new(&BudgetSettings::default());
        assert!(
            hedge
                .send(&call(15), true, 1, &latencies, &budget, NOW)
                .is_none()
        );
        assert!(
            hedge
                .send(&call(30), true, 1, &latencies, &budget, NOW)
                .is_some()
        );
        let none = Hedge::new(HedgeSettings {
            copies: 0,
            ..Default::default()
        });
        assert_eq!(none.due(&call(1_000), true, 1, &latencies, NOW), None);
    }

    #[test]
    fn hedges_stay_within_the_budget() {
        let (hedge, latencies) = (Hedge::new(HedgeSettings::default()), latencies(4));
        let budget = Budget::new(&BudgetSettings {
            floor: 0.0,
            ..Default::default()
        });
        let mut sent = 0;
        for _ in 0..1_000 {
            budget.deposit(NOW);
            sent += u32::from(
                hedge
                    .send(&call(500), true, 1, &latencies, &budget, NOW)
                    .is_some(),
            );
        }
        assert_eq!(sent, 100);
    }

    #[test]
    fn odd_latencies_and_times() {
        let settings = LatencySettings {
            tail: f64::NAN,
            window: Duration::ZERO,
            shards: 0,
        };
        let latencies = Latencies::new(&settings);
        for now in [Tick::ZERO, Tick::MAX, Tick(5), Tick::MAX] {
            for latency in [Duration::ZERO, Duration::MAX] {
                (0..30).for_each(|_| latencies.record(latency, now));
            }
        }
        let hedge = Hedge::new(HedgeSettings {
            copies: u8::MAX,
            least: Duration::MAX,
        });
        assert_eq!(
            hedge.due(&call(1), true, u8::MAX, &latencies, Tick::MAX),
            None
        );
        let quiet = Latencies::new(&LatencySettings::default());
        (0..19).for_each(|_| quiet.record(Duration::from_millis(1), NOW));
        assert_eq!(quiet.tail(), None, "too few to tell");
    }
}
