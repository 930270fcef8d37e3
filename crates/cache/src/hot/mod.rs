//! Hot keys: what everyone asks for is one server's burden, however many servers there are.
//!
//! Where a process keeps entries itself, a hot key is among them, and nobody asks Redis for it. What
//! is left is the process that keeps none, or too few: its reads of one key can be a hundred
//! thousand a second. So the reads that the first level did not answer are sampled ([`stream`]), the
//! heaviest keys of the sample found ([`keeper`]), and while a key is hot:
//!
//! - *its value is held here*, for [`HotSettings::life`] at most, bound by invalidations and lost
//!   channels as the first level's; however many ask, one in that time goes to Redis;
//! - *it has copies in Redis*, each process reading one of them, so that in a Cluster several servers
//!   share what is left. A copy is loaded under a lease of its own from the main entry, which
//!   thereby knows of copies; whoever invalidates that one is told, and invalidates them, too;
//! - *other processes are told*, and hold it before they have found it themselves.
//!
//! Who looks at the sample? Whoever reads when 100 ms have passed since another did: it takes some
//! 20 µs, and no task that has to be started, watched and ended. Nobody reads: nothing is hot.

mod detector;
mod keeper;
mod stream;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use seawall::Tick;
use seawall_sync::Snapshot;

pub use detector::HotSettings;
use detector::{Changes, Detector};
use stream::Stream;

use crate::local::Held;

/// From one look at the sample to the next.
const SWEEP: Duration = Duration::from_millis(100);
/// Others are told again that a key is hot, and forget it after two and a half such times: whoever
/// told them may have died.
const TELL: Duration = Duration::from_secs(4);
const TOLD: Duration = Duration::from_secs(10);
/// Keys that others have told of, at most.
const FOREIGN: usize = 64;

/// The hot keys of one cache in this process.
pub(crate) struct Hot<K, V> {
    settings: HotSettings,
    stream: Stream,
    keys: Snapshot<Vec<Arc<HotKey<K, V>>>>,
    detector: Mutex<Detector>,
    next_sweep: AtomicU64,
    /// The copies that this process reads are counted from here.
    offset: u16,
}

/// What is held, with the key it is of.
type Kept<K, V> = Option<(K, Held<V>)>;

/// One of them.
pub(crate) struct HotKey<K, V> {
    hash: u64,
    /// Known when it is read for the first time after it was found.
    bytes: OnceLock<Bytes>,
    held: Arc<Snapshot<Kept<K, V>>>,
    /// Found here, not only told of by others.
    own: bool,
    /// While others said so; [`Tick::ZERO`]: they have not.
    foreign_until: Tick,
    next_tell: AtomicU64,
}

/// What a read of a key finds.
pub(crate) enum Found<V> {
    /// It is not hot.
    Cold,
    /// It is hot, and what is held of it is not good.
    Hot,
    Held(Held<V>),
}

/// What others are to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tell {
    pub(crate) key: Bytes,
    pub(crate) hot: bool,
}

impl<K: Clone + Eq, V> Hot<K, V> {
    pub(crate) fn new(settings: HotSettings, now: Tick) -> Self {
        let settings = settings.in_range();
        let threads = std::thread::available_parallelism().map_or(4, usize::from);
        Self {
            stream: Stream::new(threads),
            keys: Snapshot::new(Vec::new()),
            detector: Mutex::new(Detector::new(&settings, now, fastrand::u64(..))),
            next_sweep: AtomicU64::new((now + SWEEP).0),
            offset: fastrand::u16(..),
            settings,
        }
    }

    /// A read of a key that the first level did not answer, and what to tell others.
    pub(crate) fn read(
        &self,
        hash: u64,
        bytes: &Bytes,
        key: &K,
        now: Tick,
        good: impl FnOnce(&Held<V>) -> bool,
    ) -> (Found<V>, Vec<Tell>) {
        self.stream.note(hash);
        let mut tell = self.sweep(now);
        let keys = self.keys.load();
        let Some(hot) = keys.iter().find(|hot| hot.hash == hash) else {
            return (Found::Cold, tell);
        };
        let bytes = hot.bytes.get_or_init(|| bytes.clone());
        let next = hot.next_tell.load(Relaxed);
        let then = (now + TELL).0;
        if hot.own
            && now.0 >= next
            && hot
                .next_tell
                .compare_exchange(next, then, Relaxed, Relaxed)
                .is_ok()
        {
            let key = bytes.clone();
            tell.push(Tell { key, hot: true });
        }
        let held = hot.held.load();
        match &**held {
            // Two keys may share a hash.
            Some((of, held)) if of == key && now < held.life.fresh && good(held) => {
                (Found::Held(held.clone()), tell)
            }
            _ => (Found::Hot, tell),
        }
    }

    /// Holds what was read of a key, if it is hot.
    pub(crate) fn hold(&self, hash: u64, key: &K, held: &Held<V>, now: Tick) {
        let keys = self.keys.load();
        if let Some(hot) = keys.iter().find(|hot| hot.hash == hash) {
            let mut held = held.clone();
            held.life.fresh = held.life.fresh.min(now + self.settings.life);
            hot.held.store(Some((key.clone(), held)));
        }
    }

    /// Whether it is hot.
    pub(crate) fn is(&self, hash: u64) -> bool {
        self.keys.load().iter().any(|hot| hot.hash == hash)
    }

    /// The copy that this process reads of a key, from 1; 0: there are none.
    pub(crate) fn copy(&self, hash: u64) -> u16 {
        match self.settings.copies {
            0 => 0,
            copies => 1 + (hash as u16).wrapping_add(self.offset) % copies,
        }
    }

    /// How many copies there are.
    pub(crate) fn copies(&self) -> u16 {
        self.settings.copies
    }

    /// Another process has told of a key.
    pub(crate) fn told(&self, hash: u64, key: &Bytes, is_hot: bool, now: Tick) {
        let known = self.keys.load().iter().any(|hot| hot.hash == hash);
        if !known && !is_hot {
            return;
        }
        let until = if is_hot { now + TOLD } else { Tick::ZERO };
        self.keys.update(|old| {
            let mut keys: Vec<_> = old
                .iter()
                .map(|hot| match hot.hash == hash {
                    true => Arc::new(hot.with(hot.own, until)),
                    false => hot.clone(),
                })
                .filter(|hot| hot.is_hot(now))
                .collect();
            if is_hot && !known && keys.iter().filter(|hot| !hot.own).count() < FOREIGN {
                let hot = HotKey::new(hash, false, until);
                let _ = hot.bytes.set(key.clone());
                keys.push(Arc::new(hot));
            }
            keys
        });
    }

    /// The keys that are hot, as far as they were read since.
    pub(crate) fn keys(&self, now: Tick) -> Vec<Bytes> {
        self.sweep(now);
        let keys = self.keys.load();
        keys.iter()
            .filter_map(|hot| hot.bytes.get().cloned())
            .collect()
    }

    /// The keys that are hot, as [`keys`](Self::keys), with the reads a second of each: 0 of those
    /// that only others have found.
    pub(crate) fn rates(&self, now: Tick) -> Vec<(Bytes, f64)> {
        self.sweep(now);
        let rates = self.detector.lock().rates();
        let keys = self.keys.load();
        keys.iter()
            .filter_map(|hot| {
                let rate = rates.get(&hot.hash).copied().unwrap_or(0.0);
                Some((hot.bytes.get()?.clone(), rate))
            })
            .collect()
    }

    /// Looks at the sample, if it is time and nobody else does.
    fn sweep(&self, now: Tick) -> Vec<Tell> {
        let due = self.next_sweep.load(Relaxed);
        let next = (now + SWEEP).0;
        if now.0 < due
            || self
                .next_sweep
                .compare_exchange(due, next, Relaxed, Relaxed)
                .is_err()
        {
            return Vec::new();
        }
        let Some(mut detector) = self.detector.try_lock() else {
            return Vec::new();
        };
        let changes = detector.take(now, &self.stream.take());
        let expired = self.keys.load().iter().any(|hot| !hot.is_hot(now));
        if changes == Changes::default() && !expired {
            return Vec::new();
        }
        self.change(&changes, now)
    }

    fn change(&self, changes: &Changes, now: Tick) -> Vec<Tell> {
        let mut tell = Vec::new();
        self.keys.update(|old| {
            let mut keys = Vec::new();
            for hot in old {
                let (found, let_go) = (
                    changes.found.contains(&hot.hash),
                    changes.let_go.contains(&hot.hash),
                );
                let hot = match found || let_go {
                    true => Arc::new(hot.with(found, hot.foreign_until)),
                    false => hot.clone(),
                };
                if let_go && let Some(key) = hot.bytes.get().cloned() {
                    tell.push(Tell { key, hot: false });
                }
                if hot.is_hot(now) {
                    keys.push(hot);
                }
            }
            let new = changes
                .found
                .iter()
                .filter(|hash| old.iter().all(|hot| hot.hash != **hash));
            keys.extend(new.map(|&hash| Arc::new(HotKey::new(hash, true, Tick::ZERO))));
            keys
        });
        tell
    }
}

impl<K, V> HotKey<K, V> {
    fn new(hash: u64, own: bool, foreign_until: Tick) -> Self {
        Self {
            hash,
            bytes: OnceLock::new(),
            held: Arc::new(Snapshot::new(None)),
            own,
            foreign_until,
            next_tell: AtomicU64::new(0),
        }
    }

    fn with(&self, own: bool, foreign_until: Tick) -> Self {
        Self {
            hash: self.hash,
            bytes: self.bytes.clone(),
            held: self.held.clone(),
            own,
            foreign_until,
            next_tell: AtomicU64::new(self.next_tell.load(Relaxed)),
        }
    }

    fn is_hot(&self, now: Tick) -> bool {
        self.own || now < self.foreign_until
    }
}

#[cfg(test)]
mod tests;
