//! Lines for whoever keeps the gateway: what fails, and when calls begin to be turned away.
//!
//! What happens a thousand times a second is one line a second, with how many were held back; the
//! counters have them all. Nothing is made into text before its line is due.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_policy::{Reason, Tick};

use crate::fleet::Endpoint;
use crate::origin::Origin;
use crate::pool::DialError;

/// The least time between two lines of a kind.
const EVERY: Duration = Duration::from_secs(1);

/// How often a gate is looked at, and after how many looks without a rejection it is calm: 5 s.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
pub(crate) const CALM: u32 = 10;

/// One kind of line.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    /// No line before this, in nanoseconds.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl Notice {
    /// How many were held back since the last line, if it is time for another; counts this one as
    /// held back if not.
    pub(crate) fn due(&self, now: Tick) -> Option<u64> {
        let next = self.next.load(Relaxed);
        let mine = now.0 >= next
            && self
                .next
                .compare_exchange(next, (now + EVERY).0, Relaxed, Relaxed)
                .is_ok();
        if !mine {
            self.held_back.fetch_add(1, Relaxed);
        }
        mine.then(|| self.held_back.swap(0, Relaxed))
    }
}

/// What is told of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    unreachable: Notice,
    last_unreachable: Mutex<Option<Unreachable>>,
    broke: Notice,
    slow: Notice,
}

/// The last time that there was no connection.
#[derive(Clone, Debug)]
pub(crate) struct Unreachable {
    pub(crate) at: Tick,
    pub(crate) host: String,
    pub(crate) why: String,
}

/// As lines call a host; empty where none is to blame alone.
fn name(host: Option<&Endpoint>) -> &str {
    host.map_or("", |host| &host.name)
}

impl Origin {
    /// It has no host yet.
    #[cold]
    pub(crate) fn tell_no_host(&self, now: Tick) {
        if let Some(held_back) = self.notices.unreachable.due(now) {
            let upstream = self.name.as_str();
            tracing::warn!(upstream, held_back, "no host of the upstream is known");
        }
    }

    /// There is no connection to it.
    #[cold]
    pub(crate) fn tell_unreachable(&self, host: Option<&Endpoint>, error: &DialError, now: Tick) {
        if let Some(held_back) = self.notices.unreachable.due(now) {
            let (upstream, host) = (self.name.as_str(), name(host));
            tracing::warn!(upstream, host, %error, held_back, "the upstream is not reached");
            *self.notices.last_unreachable.lock() = Some(Unreachable {
                at: now,
                host: host.to_owned(),
                why: error.to_string(),
            });
        }
    }

    /// When, where and why there was no connection last, to the second.
    pub(crate) fn last_unreachable(&self) -> Option<Unreachable> {
        self.notices.last_unreachable.lock().clone()
    }

    /// It broke off.
    #[cold]
    pub(crate) fn tell_broke(&self, host: Option<&Endpoint>, what: &'static str, now: Tick) {
        if let Some(held_back) = self.notices.broke.due(now) {
            let (upstream, host) = (self.name.as_str(), name(host));
            tracing::warn!(upstream, host, held_back, "the upstream broke off {what}");
        }
    }

    /// It did not answer in time.
    #[cold]
    pub(crate) fn tell_slow(&self, host: Option<&Endpoint>, what: &'static str, now: Tick) {
        if let Some(held_back) = self.notices.slow.due(now) {
            let (upstream, host) = (self.name.as_str(), name(host));
            tracing::warn!(
                upstream,
                host,
                held_back,
                "the upstream took longer than {what}"
            );
        }
    }
}

/// Whether a gate turns calls away, told when it changes.
#[derive(Debug, Default)]
pub(crate) struct Shedding {
    seen: u64,
    /// What `seen` was when it began.
    began_at: Option<u64>,
    calm: u32,
}

/// What has changed.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Begins,
    Ends { turned_away: u64 },
}

impl Shedding {
    /// Looks at an upstream's gate. To be called every [`LOOK`].
    pub(crate) fn look(&mut self, origin: &Origin) {
        let gate = origin.admission.snapshot();
        let upstream = origin.name.as_str();
        match self.update(
            Reason::ALL
                .into_iter()
                // Whose time is up on arrival is turned away at any load.
                .filter(|reason| *reason != Reason::Deadline)
                .flat_map(|reason| gate.totals.rejected[reason as usize])
                .sum(),
        ) {
            Some(Change::Begins) => {
                let (limit, queued) = (gate.limit, gate.queued);
                tracing::info!(
                    upstream,
                    limit,
                    queued,
                    "more arrives than the upstream can do: calls are turned away"
                );
            }
            Some(Change::Ends { turned_away }) => {
                tracing::info!(upstream, turned_away, "no call is turned away any more");
            }
            None => {}
        }
    }

    fn update(&mut self, rejected: u64) -> Option<Change> {
        let more = rejected > self.seen;
        let before = std::mem::replace(&mut self.seen, rejected);
        match self.began_at {
            None if more => {
                self.began_at = Some(before);
                self.calm = 0;
                Some(Change::Begins)
            }
            Some(_) if more => {
                self.calm = 0;
                None
            }
            Some(began_at) => {
                self.calm += 1;
                (self.calm >= CALM).then(|| {
                    self.began_at = None;
                    Change::Ends {
                        turned_away: rejected - began_at,
                    }
                })
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_with_the_count_of_the_others() {
        let notice = Notice::default();
        let at = Tick::from_millis;
        assert_eq!(notice.due(at(5)), Some(0));
        for ms in [5, 6, 1_004] {
            assert_eq!(notice.due(at(ms)), None, "{ms}");
        }
        assert_eq!(notice.due(at(1_005)), Some(3));
        assert_eq!(notice.due(at(9_000)), Some(0));
    }

    #[test]
    fn shedding_begins_once_and_ends_once() {
        let mut shedding = Shedding::default();
        assert_eq!(shedding.update(0), None);
        assert_eq!(shedding.update(3), Some(Change::Begins));
        // Pauses shorter than the calm are none.
        for rejected in [9, 9, 9, 10] {
            assert_eq!(shedding.update(rejected), None);
        }
        for _ in 1..CALM {
            assert_eq!(shedding.update(10), None);
        }
        assert_eq!(shedding.update(10), Some(Change::Ends { turned_away: 10 }));
        assert_eq!(shedding.update(10), None);
        assert_eq!(shedding.update(11), Some(Change::Begins));
    }
}
