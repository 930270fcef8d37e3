//! What the cache counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a request of a route with a cache, and what else happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    /// Answered by what is kept, fresh.
    Hit,
    /// Answered by what is kept, stale, while another is fetched.
    Stale,
    /// Answered by what is kept, stale, since the upstream fails or cannot be asked.
    StaleIfError,
    /// Answered by what the upstream has confirmed.
    Revalidated,
    /// Answered by what another's call has brought.
    Collapsed,
    /// Fetched.
    Miss,
    /// Not answered: `only-if-cached`, and nothing was.
    NotCached,
    /// Gone by: another method, a body, an upgrade.
    Method,
    /// Gone by: a part of what is not there, or nothing is to be kept.
    Request,
    /// Gone by: it steers services by headers that are in no key.
    Unkeyed,
    /// Waited for another's call, which brought nothing to be shared.
    Released,
    /// Kept.
    Stored,
    /// Not kept: it is longer than `max_size`.
    TooLarge,
    /// Not kept: what it says of itself, or who asked.
    Unfit,
    /// Not kept: purged meanwhile.
    Void,
    /// Put out of date by a write.
    Invalidated,
}

impl Event {
    /// Those that a request ends in, by their names in metrics and the access log.
    pub(crate) const RESULTS: [(Self, &'static str); 11] = [
        (Self::Hit, "hit"),
        (Self::Stale, "stale"),
        (Self::StaleIfError, "stale-if-error"),
        (Self::Revalidated, "revalidated"),
        (Self::Collapsed, "collapsed"),
        (Self::Miss, "miss"),
        (Self::NotCached, "not-cached"),
        (Self::Method, "bypass-method"),
        (Self::Request, "bypass-request"),
        (Self::Unkeyed, "bypass-unkeyed"),
        (Self::Released, "released"),
    ];
    /// What becomes of what was fetched.
    pub(crate) const FILLS: [(Self, &'static str); 5] = [
        (Self::Stored, "stored"),
        (Self::TooLarge, "too-large"),
        (Self::Unfit, "unfit"),
        (Self::Void, "void"),
        (Self::Invalidated, "invalidated"),
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        let mut all = Self::RESULTS.iter().chain(&Self::FILLS);
        all.find(|(event, _)| *event == self)
            .map_or("", |(_, name)| name)
    }
}

/// The counters of one core.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    events: [AtomicU64; 16],
    /// Bytes of bodies answered by what is kept.
    pub(crate) bytes: AtomicU64,
}

impl Counts {
    pub(crate) fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn of(&self, event: Event) -> &AtomicU64 {
        &self.events[event as usize]
    }

    pub(crate) fn served(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_place_and_a_name() {
        let all = || Event::RESULTS.iter().chain(&Event::FILLS);
        let counts = Counts::default();
        for (event, name) in all() {
            counts.count(*event);
            assert_eq!(counts.of(*event).load(Relaxed), 1, "{name}");
            assert_eq!(event.name(), *name);
        }
        assert_eq!(all().count(), counts.events.len());
    }
}
