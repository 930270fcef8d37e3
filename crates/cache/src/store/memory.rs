//! Shared entries in the process: for several caches in one process, and for tests.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use seawall::clock::Clock;
use seawall_policy::Tick;

use super::{Fetch, Fetched, Fill, Notice, Put, Token, Written};
use crate::lease::Entry;

const SHARDS: usize = 16;
/// Entries under a fence that an eviction passes over before it takes one all the same.
const PASSED_OVER: usize = 16;

type Slot = (u16, Bytes);
type Hear = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Entries that several caches of one process share, at most so many; who came first goes first.
///
/// Its notices are heard before the operation that they tell of returns. See
/// [`Builder::memory`](crate::Builder::memory).
pub struct Memory {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    clock: Clock,
    epoch: AtomicU64,
    hears: Mutex<Arc<[(u64, Hear)]>>,
    next: AtomicU64,
}

struct Shard {
    entries: HashMap<Slot, Entry>,
    /// What is in `entries`, in the order in which it came.
    order: VecDeque<Slot>,
    limit: usize,
}

/// Ends with its drop.
#[must_use = "a subscription ends with its drop"]
pub(crate) struct Subscription {
    memory: Weak<Memory>,
    id: u64,
}

impl Memory {
    /// Of so many entries, rounded up to a multiple of 16.
    #[must_use]
    pub fn new(clock: Clock, limit: usize) -> Arc<Self> {
        let limit = limit.div_ceil(SHARDS).max(1);
        Arc::new(Self {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    entries: HashMap::new(),
                    order: VecDeque::new(),
                    limit,
                })
            }),
            hasher: RandomState::new(),
            clock,
            epoch: AtomicU64::new(0),
            hears: Mutex::new(Arc::new([])),
            next: AtomicU64::new(0),
        })
    }

    /// Calls `hear` with every notice, on the thread of who causes it; it must not block.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        hear: impl Fn(&Notice) + Send + Sync + 'static,
    ) -> Subscription {
        let id = self.next.fetch_add(1, SeqCst);
        let mut hears = self.hears.lock();
        *hears = hears
            .iter()
            .cloned()
            .chain([(id, Arc::new(hear) as Hear)])
            .collect();
        Subscription {
            memory: Arc::downgrade(self),
            id,
        }
    }

    /// Tells every subscriber.
    pub(crate) fn publish(&self, notice: &Notice) {
        let hears = self.hears.lock().clone();
        for (_, hear) in &*hears {
            hear(notice);
        }
    }

    pub(crate) fn fetch(&self, copy: u16, key: &Bytes, ask: &Fetch) -> Fetched {
        self.with(copy, key, |entry, now| entry.fetch(now, ask))
    }

    pub(crate) fn fill(&self, copy: u16, key: &Bytes, fill: &Fill<'_>) -> bool {
        let taken = self.with(copy, key, |entry, now| entry.fill(now, fill));
        if taken == Some(true) {
            self.publish(&Notice::Filled(key.clone()));
        }
        taken.is_some()
    }

    pub(crate) fn release(&self, copy: u16, key: &Bytes, token: Token) {
        if self.with(copy, key, |entry, now| entry.release(now, token)) {
            self.publish(&Notice::Released(key.clone()));
        }
    }

    pub(crate) fn invalidate(&self, copy: u16, key: &Bytes, keep_stale: bool) -> u16 {
        let copies = self.with(copy, key, |entry, now| entry.invalidate(now, keep_stale));
        self.publish(&Notice::Invalidated(key.clone()));
        copies
    }

    pub(crate) fn fence(&self, copy: u16, key: &Bytes, token: Token, length: Duration) -> u16 {
        let copies = self.with(copy, key, |entry, now| entry.fence(now, token, length));
        self.publish(&Notice::Invalidated(key.clone()));
        copies
    }

    pub(crate) fn unfence(
        &self,
        copy: u16,
        key: &Bytes,
        token: Token,
        put: Option<&Put<'_>>,
    ) -> Written {
        let (copies, kept) = self.with(copy, key, |entry, now| entry.unfence(now, token, put));
        self.publish(&Notice::Invalidated(key.clone()));
        Written { copies, kept }
    }

    pub(crate) fn put(&self, copy: u16, key: &Bytes, put: &Put<'_>) -> Written {
        let (copies, kept) = self.with(copy, key, |entry, now| entry.put(now, put));
        self.publish(&Notice::Invalidated(key.clone()));
        Written { copies, kept }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// Voids everything.
    pub(crate) fn raise_epoch(&self) -> u64 {
        let epoch = self.epoch.fetch_add(1, SeqCst) + 1;
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.entries.clear();
            shard.order.clear();
        }
        self.publish(&Notice::Epoch(epoch));
        epoch
    }

    fn with<T>(&self, copy: u16, key: &Bytes, act: impl FnOnce(&mut Entry, Tick) -> T) -> T {
        let slot = (copy, key.clone());
        let shard = self.hasher.hash_one(&slot) as usize % SHARDS;
        let mut shard = self.shards[shard].lock();
        // Under the lock, so that an entry never sees time go back.
        let now = self.clock.now();
        if let Some(entry) = shard.entries.get_mut(&slot) {
            return act(entry, now);
        }
        let mut entry = Entry::default();
        let answer = act(&mut entry, now);
        if !entry.is_void() {
            shard.keep(slot, entry, now);
        }
        answer
    }
}

impl Shard {
    fn keep(&mut self, slot: Slot, entry: Entry, now: Tick) {
        let mut passed_over = 0;
        while self.entries.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(entry) = self.entries.get_mut(&oldest) {
                entry.expire(now);
                if entry.is_fenced() && passed_over < PASSED_OVER {
                    passed_over += 1;
                    self.order.push_back(oldest);
                    continue;
                }
                self.entries.remove(&oldest);
            }
        }
        self.order.push_back(slot.clone());
        self.entries.insert(slot, entry);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: usize = self.shards.iter().map(|s| s.lock().entries.len()).sum();
        f.debug_struct("Memory")
            .field("entries", &entries)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.upgrade() {
            let mut hears = memory.hears.lock();
            *hears = hears
                .iter()
                .filter(|(id, _)| *id != self.id)
                .cloned()
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn put(memory: &Memory, key: u64) {
        let value = Put {
            value: None,
            fresh: HOUR,
            stale: HOUR,
            load: HOUR,
        };
        memory.put(0, &key.to_string().into(), &value);
    }

    #[test]
    fn it_is_bounded_and_a_fence_outlives_what_is_kept() {
        let memory = Memory::new(Clock::manual(), 160);
        let fenced = Bytes::from_static(b"fenced");
        memory.fence(0, &fenced, Token(1), HOUR);
        for key in 0..10_000 {
            put(&memory, key);
        }
        let entries: usize = memory.shards.iter().map(|s| s.lock().entries.len()).sum();
        let order: usize = memory.shards.iter().map(|s| s.lock().order.len()).sum();
        assert_eq!((entries, order), (160, 160));
        let ask = Fetch {
            token: Token(2),
            lease: HOUR,
            early: 0.0,
            copies: 0,
        };
        assert_eq!(memory.fetch(0, &fenced, &ask), Fetched::Fenced(None));
        memory.raise_epoch();
        assert_eq!(memory.fetch(0, &fenced, &ask), Fetched::Granted(None));
    }

    #[test]
    fn a_dropped_subscription_hears_nothing() {
        let memory = Memory::new(Clock::manual(), 1);
        let heard = Arc::new(Mutex::new(0));
        let hears = heard.clone();
        let subscription = memory.subscribe(move |_| *hears.lock() += 1);
        put(&memory, 1);
        drop(subscription);
        put(&memory, 1);
        assert_eq!(*heard.lock(), 1);
    }
}
