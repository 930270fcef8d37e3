//! What to answer when a call has failed for good.

use std::time::Duration;

use crate::retry::Why;
use crate::{Call, Tick};

/// An answer in place of the origin's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A fixed answer from the configuration.
    Static,
    /// An earlier answer, past its time.
    Stale,
    /// The answer of another cluster, by its place among those configured. One attempt there, and
    /// no retries.
    Cluster(usize),
}

/// How a call failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why it was not tried again.
    pub why: Why,
    /// The server may have begun to work on it.
    pub may_have_run: bool,
    /// It may run twice ([`Retry::may_run_twice`](crate::retry::Retry::may_run_twice)).
    pub may_run_twice: bool,
    /// The caller is over its own share ([`Scope::Tenant`](crate::Scope::Tenant)).
    pub over_share: bool,
}

/// What there is to answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtHand {
    /// The age of the earlier answer beyond its time to live, where there is one.
    pub stale: Option<Duration>,
    /// How long another cluster usually takes, where it is known.
    pub typical: Option<Duration>,
}

/// What a route falls back on, in order.
///
/// ```
/// use seawall_policy::fallback::{AtHand, Failed, Fallback, Fallbacks};
/// use seawall_policy::{Call, Tick, retry::Why};
/// use std::time::Duration;
///
/// let fallbacks = Fallbacks {
///     order: [Fallback::Cluster(0), Fallback::Stale, Fallback::Static].into(),
///     stale_for: Duration::from_secs(60),
/// };
/// let call = Call { idempotent: true, deadline: Tick::from_millis(100), ..Call::default() };
/// let failed = Failed { why: Why::Budget, may_have_run: true, may_run_twice: true, over_share: false };
/// let at_hand = AtHand { stale: Some(Duration::from_secs(5)), typical: Some(Duration::from_millis(40)) };
/// let choose = |from, ms| fallbacks.choose(&call, &failed, &at_hand, from, Tick::from_millis(ms));
/// assert_eq!(choose(0, 10), Some((0, Fallback::Cluster(0))));
/// assert_eq!(choose(1, 80), Some((1, Fallback::Stale))); // that cluster failed as well
/// assert_eq!(choose(0, 80), Some((1, Fallback::Stale))); // no time for another cluster
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallbacks {
    /// What to try, first things first. Default nothing: the error is passed on.
    pub order: Box<[Fallback]>,
    /// How long past its time an earlier answer is still better than none. Default zero.
    pub stale_for: Duration,
}

impl Fallbacks {
    /// The first that will do, at `from` in the order or after it, and its place there. Where that
    /// one fails too, ask again from the next place.
    ///
    /// Nothing stands in for an answer that was given, for a caller that has gone, or for a reply
    /// that was passed on. A caller over its own share is sent to no other cluster, which would
    /// double the share; a call is sent there only if it may run again, and can finish in time.
    #[must_use]
    pub fn choose(
        &self,
        call: &Call,
        failed: &Failed,
        at_hand: &AtHand,
        from: usize,
        now: Tick,
    ) -> Option<(usize, Fallback)> {
        if matches!(failed.why, Why::Answered | Why::Cancelled | Why::PassedOn) {
            return None;
        }
        let again = !failed.may_have_run || failed.may_run_twice;
        let time = at_hand.typical.unwrap_or_default() < call.deadline.since(now);
        let will_do = |fallback: &Fallback| match fallback {
            Fallback::Static => true,
            Fallback::Stale => at_hand.stale.is_some_and(|age| age <= self.stale_for),
            Fallback::Cluster(_) => again && time && !failed.over_share,
        };
        let rest = self.order.iter().enumerate().skip(from);
        rest.map(|(place, fallback)| (place, *fallback))
            .find(|(_, fallback)| will_do(fallback))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Failed = Failed {
        why: Why::Attempts,
        may_have_run: true,
        may_run_twice: true,
        over_share: false,
    };

    fn choose(failed: Failed, stale_s: Option<u64>, left_ms: u64, from: usize) -> Option<Fallback> {
        let fallbacks = Fallbacks {
            order: [Fallback::Stale, Fallback::Cluster(1), Fallback::Static].into(),
            stale_for: Duration::from_secs(60),
        };
        let at_hand = AtHand {
            stale: stale_s.map(Duration::from_secs),
            typical: Some(Duration::from_millis(20)),
        };
        let now = Tick::from_millis(5_000);
        let call = Call {
            deadline: now + Duration::from_millis(left_ms),
            ..Call::default()
        };
        let chosen = fallbacks.choose(&call, &failed, &at_hand, from, now);
        chosen.map(|(_, fallback)| fallback)
    }

    #[test]
    fn in_order_what_will_do() {
        let (stale, cluster, fixed) = (Fallback::Stale, Fallback::Cluster(1), Fallback::Static);
        assert_eq!(choose(FAILED, Some(60), 100, 0), Some(stale));
        assert_eq!(choose(FAILED, Some(61), 100, 0), Some(cluster), "too old");
        assert_eq!(choose(FAILED, None, 100, 0), Some(cluster));
        assert_eq!(choose(FAILED, Some(1), 100, 1), Some(cluster));
        assert_eq!(choose(FAILED, None, 20, 0), Some(fixed), "no time");
        assert_eq!(choose(FAILED, Some(1), 100, 3), None);
        assert_eq!(choose(FAILED, Some(1), 100, usize::MAX), None);
    }

    #[test]
    fn another_cluster_only_for_what_may_run_again() {
        let once = Failed {
            may_run_twice: false,
            ..FAILED
        };
        assert_eq!(choose(once, None, 100, 0), Some(Fallback::Static));
        let not_run = Failed {
            may_have_run: false,
            ..once
        };
        assert_eq!(choose(not_run, None, 100, 0), Some(Fallback::Cluster(1)));
        let over_share = Failed {
            over_share: true,
            ..FAILED
        };
        assert_eq!(choose(over_share, None, 100, 0), Some(Fallback::Static));
    }

    #[test]
    fn nothing_where_there_is_nobody_to_answer() {
        for why in Why::ALL {
            let none = matches!(why, Why::Answered | Why::Cancelled | Why::PassedOn);
            let chosen = choose(Failed { why, ..FAILED }, Some(1), 100, 0);
            assert_eq!(chosen.is_none(), none, "{why:?}");
        }
        let nothing = Fallbacks::default();
        let chosen = nothing.choose(&Call::default(), &FAILED, &AtHand::default(), 0, Tick::ZERO);
        assert_eq!(chosen, None, "the error is passed on");
    }
}
