//! The places under the limit.
//!
//! One shared counter would cost every call two contended additions (about 30 ns each on two
//! threads). So each shard keeps a few spare places at hand, and goes to the shared counter only
//! to fetch or return several. How many it keeps follows the room under the limit: near the limit
//! or with a small one it is none, and the count is exact when it matters. Who finds no place
//! takes back what the shards have to spare before it waits, under the gate's lock.
//!
//! No wake-up is lost: who gives a place back does so while holding its shard, and only then looks
//! whether somebody waits; who waits says so first, and then looks into every shard, holding it.

use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};

use seawall_sync::{CachePadded, Sharded};

use super::tally::{AtomicU32, Held, Tally};

/// The most spare places of a shard.
const KEEP_MAX: u32 = 32;

#[derive(Debug)]
struct Settings {
    limit: AtomicU32,
    keep: AtomicU32,
}

#[derive(Debug)]
pub(super) struct Places {
    settings: CachePadded<Settings>,
    /// Places in use or at hand in a shard.
    taken: CachePadded<AtomicU32>,
}

impl Places {
    pub(super) fn new(limit: u32, shards: usize) -> Self {
        let places = Self {
            settings: CachePadded::new(Settings {
                limit: AtomicU32::new(0),
                keep: AtomicU32::new(0),
            }),
            taken: CachePadded::new(AtomicU32::new(0)),
        };
        places.set_limit(limit, shards);
        places
    }

    pub(super) fn limit(&self) -> u32 {
        self.settings.limit.load(Relaxed)
    }

    /// Sets the limit, at least 1. Calls beyond a lowered one keep their places to their end.
    pub(super) fn set_limit(&self, limit: u32, shards: usize) {
        self.settings.limit.store(limit.max(1), Relaxed);
        let keep = limit / (8 * shards.max(1) as u32);
        self.settings.keep.store(keep.min(KEEP_MAX), Relaxed);
    }

    /// Places in use. Not exact while others come and go.
    pub(super) fn inflight(&self, shards: &Sharded<Tally>) -> u32 {
        let spare: u32 = shards.iter().map(Tally::spare).sum();
        self.taken.load(SeqCst).saturating_sub(spare)
    }

    /// Takes places if they are at hand, without looking into the other shards.
    #[inline]
    pub(super) fn take(&self, cost: u32, shard: &mut Held<'_>) -> bool {
        let spare = shard.spare();
        if spare >= cost {
            shard.set_spare(spare - cost);
            return true;
        }
        self.fetch(cost, shard)
    }

    fn fetch(&self, cost: u32, shard: &mut Held<'_>) -> bool {
        let (limit, keep) = (self.limit(), self.settings.keep.load(Relaxed));
        // With room for several more of such, bring some along.
        let roomy = keep > 0 && self.taken.load(Relaxed) + cost + 2 * keep < limit;
        let extra = if roomy { keep } else { 0 };
        let before = self.taken.fetch_add(cost + extra, SeqCst);
        if before + cost + extra <= limit {
            shard.set_spare(shard.spare() + extra);
            return true;
        }
        self.taken.fetch_sub(cost + extra, SeqCst);
        false
    }

    /// As [`Places::take`], after taking back what the shards have to spare. A call that costs
    /// more than the whole limit goes when it is alone. Slow; for who holds the gate's lock and no
    /// shard's.
    pub(super) fn take_slowly(&self, cost: u32, shards: &Sharded<Tally>) -> bool {
        for shard in shards.iter() {
            let mut held = shard.lock();
            let spare = held.spare();
            held.set_spare(0);
            self.taken.fetch_sub(spare, SeqCst);
        }
        let before = self.taken.fetch_add(cost, SeqCst);
        if before + cost <= self.limit() || before == 0 {
            return true;
        }
        self.taken.fetch_sub(cost, SeqCst);
        false
    }

    /// Takes places whether there are any or not (shadow mode).
    pub(super) fn take_anyway(&self, cost: u32) {
        self.taken.fetch_add(cost, SeqCst);
    }

    #[inline]
    pub(super) fn give(&self, cost: u32, shard: &mut Held<'_>) {
        let spare = shard.spare();
        if spare + cost <= 2 * self.settings.keep.load(Relaxed) {
            shard.set_spare(spare + cost);
        } else {
            self.taken.fetch_sub(cost, SeqCst);
        }
    }
}
