//! A Bloom filter before absent keys: what never existed does not reach the database.
//!
//! Negative entries protect from a key that is asked for again; who asks for a new absent key each
//! time gets past them. A filter holds the keys that exist, about ten bits each, and denies nearly
//! all others.
//!
//! - *It never denies a key that is there.* Until it is first built, and whenever it cannot be
//!   trusted (Redis does not answer, was restarted, has evicted a part of it), the answer is
//!   [`Presence::Unknown`], which means ask the database.
//! - *A key is added before it is written*, not after: a writer that dies in between leaves a
//!   "maybe" too many, where the other order would leave a key that is denied until the next
//!   rebuild.
//! - *Deletes happen by rebuild.* A counting filter takes four times the bits and denies keys that
//!   exist when a delete is counted twice. A new generation is built from a scan beside the old,
//!   inserts go to both, and it takes over at once when it is whole.
//! - *Fixed seeds*, or processes would not see each other's bits. Who can choose keys can then
//!   choose such as pass; each costs the database what a miss without a filter costs, and the load's
//!   own bound still stands.

mod bits;
mod local;
mod rebuild;
#[cfg(feature = "redis")]
mod shared;
mod size;

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures_util::Stream;
use parking_lot::Mutex;
use seawall_sync::{Shard, Sharded};

use crate::Key;
pub(crate) use bits::hash;
use local::Local;
pub use rebuild::{Built, FilterError, Rebuild};
#[cfg(feature = "redis")]
use shared::Shared;
pub use size::{Fill, FilterSize, Overfull};

/// A filter's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// The key does not exist: not in what the filter was built from, and never added.
    Never,
    /// It may exist.
    Maybe,
    /// There is no filter to ask: not built yet, or not to be trusted at the moment.
    Unknown,
}

/// What a filter has answered, and how often it was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FilterCounts {
    /// Answers of [`Presence::Never`]: loads that were saved.
    pub never: u64,
    /// Answers of [`Presence::Maybe`].
    pub maybe: u64,
    /// Answers of [`Presence::Unknown`].
    pub unknown: u64,
    /// "Maybe" of keys that a load then found absent: the filter's error, and keys deleted since it
    /// was built.
    pub wrong: u64,
}

impl FilterCounts {
    /// The share of absent keys that passed as "maybe", as measured in service; `None` until a key
    /// was absent.
    #[must_use]
    pub fn error(&self) -> Option<f64> {
        let absent = self.never + self.wrong;
        (absent > 0).then(|| self.wrong as f64 / absent as f64)
    }
}

const NEVER: usize = 0;
const MAYBE: usize = 1;
const UNKNOWN: usize = 2;
const WRONG: usize = 3;

enum Kind {
    Local(Local),
    #[cfg(feature = "redis")]
    Shared(Box<Shared>),
}

struct Inner {
    kind: Kind,
    size: FilterSize,
    counts: Sharded<[AtomicU64; 4]>,
    /// Keys added since the fill was last looked at.
    added: AtomicU64,
    overfull: Mutex<Option<Overfull>>,
}

/// Tells keys that do not exist from those that may; clones are the same filter.
///
/// In process an answer takes about as long as a clock is read; shared through Redis, one command
/// of one round trip, on a single string.
///
/// ```
/// use seawall_cache::{Filter, FilterSize, Presence, Rebuild};
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
/// # .block_on(async {
///
/// let filter = Filter::local(FilterSize::new(1_000, 0.01));
/// assert_eq!(filter.ask(&"user 7").await, Presence::Unknown);
///
/// let users = (0..500).map(|user| Ok::<_, std::io::Error>(format!("user {user}")));
/// let built = filter.rebuild(|| futures_util::stream::iter(users), Rebuild::default()).await?;
/// assert_eq!((built.keys, built.fill.overfull()), (500, None));
/// assert_eq!(filter.ask(&"user 7").await, Presence::Maybe);
/// assert_eq!(filter.ask(&"user 7000").await, Presence::Never);
///
/// filter.add(&"user 7000").await?; // before it is written
/// assert_eq!(filter.ask(&"user 7000").await, Presence::Maybe);
/// # Ok::<(), seawall_cache::FilterError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Filter(Arc<Inner>);

impl Filter {
    /// In this process alone: keys that other processes write have to be added here, too. Takes its
    /// memory, 1.2 MB a million keys at 1 %, when it is built.
    #[must_use]
    pub fn local(size: FilterSize) -> Self {
        Self::new(Kind::Local(Local::new()), size)
    }

    /// Shared by all processes that name it so, in Redis, whose keys begin with `name`.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn shared(redis: &crate::redis::Redis, name: &str, size: FilterSize) -> Self {
        Self::new(
            Kind::Shared(Box::new(Shared::new(redis.clone(), name))),
            size,
        )
    }

    fn new(kind: Kind, size: FilterSize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            kind,
            size,
            counts: Sharded::new(threads, Default::default),
            added: AtomicU64::new(0),
            overfull: Mutex::new(None),
        }))
    }

    /// Whether a key may exist. Cancel-safe.
    pub async fn ask<K: Key>(&self, key: &K) -> Presence {
        self.ask_hash(hash_of(key)).await
    }

    /// As [`ask`](Self::ask), of several, in one pipeline. Cancel-safe.
    pub async fn ask_many<K: Key>(&self, keys: &[K]) -> Vec<Presence> {
        let hashes: Vec<_> = keys.iter().map(hash_of).collect();
        let answers = self.ask_hashes(&hashes).await;
        answers
            .into_iter()
            .map(|answer| self.count(answer))
            .collect()
    }

    /// Adds a key that is about to be written; from its return on, nobody is told that it is absent.
    ///
    /// # Errors
    /// Redis failed, and others may deny the key. It is kept, and added when Redis is back and this
    /// process asks or adds again. A caller who cannot bear that does not write, or writes and says
    /// so. Cancelled, it may or may not have been added.
    pub async fn add<K: Key>(&self, key: &K) -> Result<(), FilterError> {
        self.add_hash(hash_of(key)).await
    }

    /// A load has found nothing where the filter's answer was this one; an answer that was wrong is
    /// counted.
    pub fn found_absent(&self, answer: Presence) {
        if answer == Presence::Maybe {
            self.counted(WRONG);
        }
    }

    /// Builds a new generation from a scan of all keys that exist, beside the one at work, which it
    /// then replaces at once. Keys added meanwhile are in both; deleted keys are forgotten.
    ///
    /// `scan` is called once inserts go to the new generation, and is to give each key that exists
    /// then: a scan that was begun earlier would miss what was written since. One that gives a key
    /// twice, or keys that have been deleted, does no harm. Shared, this process holds a filter's worth of
    /// memory until it is written, 128 KiB at a time.
    ///
    /// # Errors
    /// The old generation stays at work, as it does if this is cancelled or its process dies: start
    /// again from the beginning. Redis removes what was begun within ten minutes, or the next
    /// rebuild does.
    pub async fn rebuild<K: Key, E: Into<Box<dyn Error + Send + Sync>>, S>(
        &self,
        scan: impl FnOnce() -> S,
        how: Rebuild,
    ) -> Result<Built, FilterError>
    where
        S: Stream<Item = Result<K, E>>,
    {
        let size = self.0.size;
        let built = match &self.0.kind {
            Kind::Local(local) => local.rebuild(size, scan, how).await?,
            #[cfg(feature = "redis")]
            Kind::Shared(shared) => shared.rebuild(size, scan, how).await?,
        };
        self.note(built.fill);
        Ok(built)
    }

    /// How full it is, counted now; `None` where there is none. A shared one's bits are counted in
    /// Redis, some 20 µs for each million.
    pub async fn fill(&self) -> Option<Fill> {
        let fill = match &self.0.kind {
            Kind::Local(local) => local.fill(),
            #[cfg(feature = "redis")]
            Kind::Shared(shared) => shared.fill().await,
        };
        fill.inspect(|&fill| self.note(fill))
    }

    /// The warning of the last look at its fill: it holds more than it was made for. Looked at when
    /// it is built, and when keys were added by this process for a hundredth of its size.
    #[must_use]
    pub fn overfull(&self) -> Option<Overfull> {
        *self.0.overfull.lock()
    }

    /// What it has answered in this process.
    #[must_use]
    pub fn counts(&self) -> FilterCounts {
        let sum = |index: usize| {
            let shards = self.0.counts.iter();
            shards.map(|shard| shard[index].load(Relaxed)).sum()
        };
        FilterCounts {
            never: sum(NEVER),
            maybe: sum(MAYBE),
            unknown: sum(UNKNOWN),
            wrong: sum(WRONG),
        }
    }

    pub(crate) async fn ask_bytes(&self, key: &[u8]) -> Presence {
        self.ask_hash(hash(key)).await
    }

    pub(crate) async fn add_bytes(&self, key: &[u8]) -> Result<(), FilterError> {
        self.add_hash(hash(key)).await
    }

    #[inline]
    async fn ask_hash(&self, hash: u64) -> Presence {
        let answer = match &self.0.kind {
            Kind::Local(local) => local.contains(hash),
            #[cfg(feature = "redis")]
            Kind::Shared(shared) => boxed(shared.contains(hash)).await,
        };
        self.count(answer)
    }

    async fn add_hash(&self, hash: u64) -> Result<(), FilterError> {
        match &self.0.kind {
            Kind::Local(local) => local.insert(hash),
            #[cfg(feature = "redis")]
            Kind::Shared(shared) => boxed(shared.insert(hash)).await?,
        }
        let look = (self.0.size.keys() / 100).max(1);
        if self.0.added.fetch_add(1, Relaxed) + 1 >= look {
            self.0.added.store(0, Relaxed);
            self.fill().await;
        }
        Ok(())
    }

    async fn ask_hashes(&self, hashes: &[u64]) -> Vec<Option<bool>> {
        match &self.0.kind {
            Kind::Local(local) => hashes.iter().map(|&hash| local.contains(hash)).collect(),
            #[cfg(feature = "redis")]
            Kind::Shared(shared) => shared.contains_many(hashes).await,
        }
    }

    fn note(&self, fill: Fill) {
        let overfull = fill.overfull();
        let before = std::mem::replace(&mut *self.0.overfull.lock(), overfull);
        if let (Some(overfull), None) = (overfull, before) {
            tracing::warn!(%overfull, "the filter is too small");
        }
    }

    fn count(&self, answer: Option<bool>) -> Presence {
        let (answer, index) = match answer {
            Some(true) => (Presence::Maybe, MAYBE),
            Some(false) => (Presence::Never, NEVER),
            None => (Presence::Unknown, UNKNOWN),
        };
        self.counted(index);
        answer
    }

    fn counted(&self, index: usize) {
        self.0.counts.get(Shard::current())[index].fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("size", &self.0.size)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// A round trip to Redis has room for an allocation, and who awaits this does not carry all of it.
#[cfg(feature = "redis")]
fn boxed<'a, T>(
    call: impl Future<Output = T> + Send + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(call)
}

/// Of the bytes that a key writes, into memory that the thread has already.
fn hash_of(key: &impl Key) -> u64 {
    thread_local!(static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    BYTES.with(|kept| {
        let mut bytes = kept.take();
        bytes.clear();
        key.write(&mut bytes);
        let hash = hash(&bytes);
        // One long key does not fill every thread for ever.
        if bytes.capacity() <= 4_096 {
            kept.set(bytes);
        }
        hash
    })
}
