//! One entry: what it answers, and what that leaves behind.

use std::time::Duration;

use bytes::Bytes;
use seawall_policy::Tick;

use crate::store::{COPY, Fetch, Fetched, Fill, Put, Stored, Token};

/// The state of one key, as every process sees it: the value that is kept, the lease of who loads
/// it, the fences of who writes it.
///
/// It knows no clock: times come in. The default is an entry that does not exist; one that has
/// nothing left ([`Entry::is_void`]) equals it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    kept: Option<Kept>,
    lease: Option<Held>,
    /// Someone waits for who holds the lease.
    waited: bool,
    /// Writes under way.
    fences: Vec<Held>,
    /// Since the first of these fences another write has come or gone, so that nobody can tell whose
    /// value the database has in the end.
    overlapped: bool,
    /// Copies of a hot key that readers know of, and until when one may live: longer than what it was
    /// made from, which an invalidation removes before they are.
    copies: u16,
    copies_until: Tick,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kept {
    value: Option<Bytes>,
    until: Tick,
    /// The last part of its life, in which it is stale.
    stale: Duration,
    load: Duration,
    invalidated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    token: Token,
    until: Tick,
}

impl Entry {
    /// A reader's question. Asked again with the same token, it grants the same lease anew.
    pub(crate) fn fetch(&mut self, now: Tick, ask: &Fetch) -> Fetched {
        self.expire(now);
        if ask.copies > 0 {
            self.copies = self.copies.max(ask.copies);
            self.copies_until = self.copies_until.max(now + ask.lease.saturating_add(COPY));
        }
        let stored = self.kept.as_ref().map(|kept| kept.seen(now));
        if !self.fences.is_empty() {
            return Fetched::Fenced(stored);
        }
        let fresh = self.kept.as_ref().is_some_and(|kept| kept.is_fresh(now));
        let early = stored.as_ref().is_some_and(|stored| due(stored, ask.early));
        let other = self.lease.filter(|lease| lease.token != ask.token);
        match (stored, other) {
            (Some(stored), None) if fresh && !early => Fetched::Hit(stored),
            (Some(stored), Some(_)) if fresh => Fetched::Hit(stored),
            (stored, Some(lease)) => {
                self.waited = true;
                Fetched::Busy {
                    stored,
                    left: lease.until.since(now),
                }
            }
            (stored, None) => {
                self.lease = Some(Held {
                    token: ask.token,
                    until: now + ask.lease,
                });
                Fetched::Granted(stored)
            }
        }
    }

    /// Keeps what was loaded, if it was loaded under the lease that is still held. `None`: refused;
    /// else whether someone waits and is to be told.
    pub(crate) fn fill(&mut self, now: Tick, fill: &Fill<'_>) -> Option<bool> {
        self.expire(now);
        self.lease.filter(|lease| lease.token == fill.token)?;
        self.lease = None;
        self.kept = Kept::new(now, &fill.put());
        Some(self.tell())
    }

    /// Gives a lease back without a value. Whether someone waits and is to be told.
    pub(crate) fn release(&mut self, now: Tick, token: Token) -> bool {
        self.expire(now);
        if self.lease.is_none_or(|lease| lease.token != token) {
            return false;
        }
        self.lease = None;
        self.tell()
    }

    /// A write has replaced the value: the lease is taken away, also where there is no value, and
    /// what is kept stays for its stale window at most, marked; or goes. How many copies there are.
    pub(crate) fn invalidate(&mut self, now: Tick, keep_stale: bool) -> u16 {
        self.expire(now);
        self.mark(now, keep_stale);
        self.copies
    }

    /// A write begins. Until [`Entry::unfence`], or for as long as `length`, nothing that is loaded
    /// is kept; what is kept already counts as invalidated, since the writer may die before it can
    /// say so. How many copies there are.
    pub(crate) fn fence(&mut self, now: Tick, token: Token, length: Duration) -> u16 {
        self.expire(now);
        self.fences.retain(|fence| fence.token != token);
        self.mark(now, true);
        self.fences.push(Held {
            token,
            until: now + length,
        });
        self.copies
    }

    /// A write ends, with the value that it wrote, or none. The value is kept if the fence has stood
    /// all the while and no other write came between; else this is an invalidation, as it is without
    /// one. How many copies there are, and whether the value is kept.
    pub(crate) fn unfence(
        &mut self,
        now: Tick,
        token: Token,
        put: Option<&Put<'_>>,
    ) -> (u16, bool) {
        self.expire(now);
        let before = self.fences.len();
        self.fences.retain(|fence| fence.token != token);
        let stood = self.fences.len() < before;
        let alone = stood && self.fences.is_empty() && !self.overlapped;
        self.mark(now, true);
        let kept = put.filter(|_| alone);
        if let Some(put) = kept {
            self.kept = Kept::new(now, put);
        }
        (self.copies, kept.is_some())
    }

    /// Keeps a value whatever was there. While a write is under way it is an invalidation. How many
    /// copies there are, and whether the value is kept.
    pub(crate) fn put(&mut self, now: Tick, put: &Put<'_>) -> (u16, bool) {
        self.expire(now);
        self.mark(now, true);
        let kept = self.fences.is_empty();
        if kept {
            self.kept = Kept::new(now, put);
        }
        (self.copies, kept)
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_void(&self) -> bool {
        let nothing = self.kept.is_none() && self.lease.is_none() && self.fences.is_empty();
        nothing && self.copies == 0
    }

    /// What is kept.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn peek(&self, now: Tick) -> Option<Stored> {
        let kept = self.kept.as_ref().filter(|kept| kept.until > now);
        kept.map(|kept| kept.seen(now))
    }

    /// Whether a write is under way.
    pub(crate) fn is_fenced(&self) -> bool {
        !self.fences.is_empty()
    }

    /// Drops what has run out.
    pub(crate) fn expire(&mut self, now: Tick) {
        self.kept = self.kept.take().filter(|kept| kept.until > now);
        self.lease = self.lease.filter(|lease| lease.until > now);
        self.fences.retain(|fence| fence.until > now);
        if self.lease.is_none() {
            self.waited = false;
        }
        if self.fences.is_empty() {
            self.overlapped = false;
        }
        if self.copies_until <= now {
            (self.copies, self.copies_until) = (0, Tick::ZERO);
        }
    }

    fn mark(&mut self, now: Tick, keep_stale: bool) {
        self.overlapped = !self.fences.is_empty();
        self.lease = None;
        self.waited = false;
        self.kept = self.kept.take().filter(|_| keep_stale).and_then(|kept| {
            let until = kept.until.min(now + kept.stale);
            (until > now).then_some(Kept {
                until,
                invalidated: true,
                ..kept
            })
        });
    }

    fn tell(&mut self) -> bool {
        std::mem::take(&mut self.waited)
    }
}

impl Kept {
    fn new(now: Tick, put: &Put<'_>) -> Option<Self> {
        let until = now + put.fresh + put.stale;
        (until > now).then(|| Self {
            value: put.value.map(Bytes::copy_from_slice),
            until,
            stale: put.stale,
            load: put.load,
            invalidated: false,
        })
    }

    fn is_fresh(&self, now: Tick) -> bool {
        !self.invalidated && self.fresh(now) > Duration::ZERO
    }

    fn fresh(&self, now: Tick) -> Duration {
        self.until.since(now).saturating_sub(self.stale)
    }

    fn seen(&self, now: Tick) -> Stored {
        Stored {
            value: self.value.clone(),
            fresh: if self.invalidated {
                Duration::ZERO
            } else {
                self.fresh(now)
            },
            load: self.load,
            invalidated: self.invalidated,
        }
    }
}

/// XFetch: whether a fresh value is so near its end that a reader with this draw renews it.
fn due(stored: &Stored, early: f64) -> bool {
    (stored.fresh.as_micros() as f64) < stored.load.as_micros() as f64 * early
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_invalidates_knows_of_copies_for_as_long_as_one_may_live() {
        let lease = Duration::from_secs(10);
        let ask = Fetch {
            token: Token(1),
            lease,
            early: 0.0,
            copies: 2,
        };
        let mut entry = Entry::default();
        entry.fetch(Tick::ZERO, &ask);
        // The first has removed all else, and is about to invalidate the copies.
        assert_eq!(entry.invalidate(Tick::ZERO, false), 2);
        assert_eq!(entry.invalidate(Tick::ZERO, false), 2);
        let end = Tick::ZERO + lease + COPY;
        assert_eq!(entry.clone().invalidate(Tick(end.0 - 1), false), 2);
        assert_eq!(entry.invalidate(end, false), 0);
        assert!(entry.is_void() && entry == Entry::default());
    }
}
