//! Which keys are in flight, or have a result that is kept.
//!
//! Sharded, with a lock a shard; whatever belongs to others (futures, values, keys, wakers) is dropped
//! and polled when no lock is held. A waiter joins and leaves under its shard's lock, so nobody joins
//! work whose last waiter has just left.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use super::Outcome;
use super::lock::Mutex;
use super::work::{Boxed, Place, Work, catch};

/// Whether a value is worth keeping.
pub(super) type Which<V> = fn(&V) -> bool;

/// How long which results are kept, and the clock that says so.
pub(super) struct Keep<V> {
    pub(super) time: Duration,
    pub(super) which: Which<V>,
    pub(super) clock: fn() -> Instant,
}

pub(super) struct Table<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    /// Of a shard.
    capacity: usize,
    keep: Option<Keep<V>>,
    hasher: RandomState,
}

struct Shard<K, V> {
    slots: HashTable<Slot<K, V>>,
    /// In the order in which they came, which is that in which they expire.
    kept: VecDeque<Kept<V>>,
}

struct Slot<K, V> {
    hash: u64,
    key: K,
    work: Arc<Work<V>>,
}

struct Kept<V> {
    hash: u64,
    expires: Instant,
    work: Arc<Work<V>>,
}

/// What a caller has joined.
pub(super) struct Entry<V> {
    pub(super) hash: u64,
    pub(super) work: Arc<Work<V>>,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self {
            hash: self.hash,
            work: self.work.clone(),
        }
    }
}

impl<K: Hash + Eq, V: Clone + Send + 'static> Table<K, V> {
    /// For at most about `capacity` keys: shards are filled unevenly.
    pub(super) fn new(shards: usize, capacity: usize, keep: Option<Keep<V>>) -> Self {
        // Few keys are not worth splitting.
        let shards = shards.min(capacity / 64).max(1).next_power_of_two();
        let shard = || Shard {
            slots: HashTable::new(),
            kept: VecDeque::new(),
        };
        Self {
            shards: (0..shards).map(|_| Mutex::new(shard())).collect(),
            capacity: capacity.div_ceil(shards).max(1),
            keep,
            hasher: RandomState::new(),
        }
    }

    /// Joins the work of `key`, or begins what `make` makes. When every place is taken by keys in
    /// flight, the work runs without being in the table: coalescing is what is given up, since an
    /// error would turn a saving into a failure.
    pub(super) fn join(&self, key: K, make: impl FnOnce() -> Work<V>) -> (Entry<V>, bool) {
        let hash = self.hasher.hash_one(&key);
        let now = self.keep.as_ref().map(|keep| (keep.clock)());
        // Dropped after the lock is released.
        let mut gone = Vec::new();
        let mut shard = self.shard(hash).lock();
        if let Some(now) = now {
            shard.expire(now, &mut gone);
        }
        if let Some(slot) = shard
            .slots
            .find(hash, |slot| slot.hash == hash && slot.key == key)
        {
            let work = slot.work.clone();
            work.enter();
            drop(shard);
            return (Entry { hash, work }, false);
        }
        let work = Arc::new(make());
        if shard.make_room(self.capacity, &mut gone) {
            let slot = Slot {
                hash,
                key,
                work: work.clone(),
            };
            shard.slots.insert_unique(hash, slot, |slot| slot.hash);
        }
        drop(shard);
        (Entry { hash, work }, true)
    }

    /// The work has ended: from now on its key is free, or its result is kept.
    pub(super) fn end(&self, entry: &Entry<V>, outcome: Outcome<V>) {
        let keep = self.keep.as_ref().filter(|keep| {
            let value = outcome.as_ref().ok();
            value.is_some_and(|value| catch(|| (keep.which)(value)).unwrap_or(false))
        });
        let expires = keep.map(|keep| (keep.clock)() + keep.time);
        let mut gone = None;
        {
            let mut shard = self.shard(entry.hash).lock();
            match expires {
                Some(expires) => shard.keep(entry, expires),
                None => gone = shard.remove(entry.hash, &entry.work),
            }
        }
        entry.work.publish(outcome);
        drop(gone);
    }

    /// A waiter leaves. Work without waiters is dropped.
    pub(super) fn leave(&self, entry: &Entry<V>, place: Place) {
        let mut shard = self.shard(entry.hash).lock();
        let (future, waker): (Option<Boxed<V>>, Option<Waker>) = entry.work.leave(place);
        let slot = future
            .is_some()
            .then(|| shard.remove(entry.hash, &entry.work));
        drop(shard);
        drop((future, slot, waker));
    }

    /// Forgets a result that is kept, or lets the next caller begin anew.
    pub(super) fn forget<Q>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).lock();
        let found = shard
            .slots
            .find_entry(hash, |slot| slot.hash == hash && slot.key.borrow() == key);
        let slot = found.ok().map(|slot| slot.remove().0);
        // A scan of what the shard keeps: forgetting is rare, and results must not stay.
        let kept = slot.as_ref().and_then(|slot| {
            let mut kept = shard.kept.iter();
            let at = kept.position(|kept| Arc::ptr_eq(&kept.work, &slot.work))?;
            shard.kept.remove(at)
        });
        drop(shard);
        drop(kept);
        slot.is_some()
    }

    /// Keys in flight or kept; expired ones count until their shard is used again.
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().slots.len())
            .sum()
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard<K, V>> {
        // The table inside picks its places by the low bits and tags them with the high ones.
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)]
    }
}

impl<K, V> Shard<K, V> {
    fn expire(&mut self, now: Instant, gone: &mut Vec<Slot<K, V>>) {
        while self.kept.front().is_some_and(|kept| kept.expires <= now) {
            self.drop_oldest(gone);
        }
    }

    /// Room for one more, at the cost of the result kept for longest.
    fn make_room(&mut self, capacity: usize, gone: &mut Vec<Slot<K, V>>) -> bool {
        while self.slots.len() >= capacity {
            if self.kept.is_empty() {
                return false;
            }
            self.drop_oldest(gone);
        }
        true
    }

    fn drop_oldest(&mut self, gone: &mut Vec<Slot<K, V>>) {
        if let Some(kept) = self.kept.pop_front() {
            gone.extend(self.remove(kept.hash, &kept.work));
        }
    }

    fn keep(&mut self, entry: &Entry<V>, expires: Instant) {
        let found = self
            .slots
            .find(entry.hash, |slot| Arc::ptr_eq(&slot.work, &entry.work));
        // Not when it was forgotten meanwhile.
        if found.is_some() {
            self.kept.push_back(Kept {
                hash: entry.hash,
                expires,
                work: entry.work.clone(),
            });
        }
    }

    fn remove(&mut self, hash: u64, work: &Arc<Work<V>>) -> Option<Slot<K, V>> {
        let found = self
            .slots
            .find_entry(hash, |slot| Arc::ptr_eq(&slot.work, work));
        found.ok().map(|slot| slot.remove().0)
    }
}
