//! What a cache counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_sync::{Shard, Sharded};

macro_rules! events {
    ($($(#[$doc:meta])* $event:ident = $name:literal,)*) => {
        /// Something that a cache counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$doc])* $event,)*
        }

        impl Event {
            /// Every event; an array index is `self as usize`.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$event),*];

            /// Its name in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)*
                }
            }
        }
    };
}

events! {
    /// Answered in process, a key known to be absent included.
    LocalHit = "local_hit",
    /// Answered by Redis.
    RedisHit = "redis_hit",
    /// Answered by the reserve, while Redis fails.
    ReserveHit = "reserve_hit",
    /// Nothing fresh was found in process.
    LocalMiss = "local_miss",
    /// Nothing fresh was found in Redis.
    RedisMiss = "redis_miss",
    /// A loader was run.
    Load = "load",
    /// Of these, before the value had expired.
    EarlyLoad = "early_load",
    /// A loader failed, panicked or ran out of time.
    LoadError = "load_error",
    /// A caller waited for a load that another had begun in this process.
    Shared = "shared",
    /// A process waited for the lease of another.
    Wait = "wait",
    /// A stale value was served.
    Stale = "stale",
    /// What was loaded was not kept, for its lease was gone.
    LeaseLost = "lease_lost",
    /// Bytes in Redis that were no value.
    NotDecoded = "not_decoded",
    /// A value above `max_value`, not kept.
    TooLarge = "too_large",
    /// A value that its codec could not write, not kept in Redis.
    NotEncoded = "not_encoded",
    /// The guard turned a load away.
    Rejected = "rejected",
    /// A key was invalidated by this process.
    Invalidation = "invalidation",
    /// Everything in process was dropped, for messages may have been missed.
    Flush = "flush",
    /// The filter knew that there is no such key: neither Redis nor a loader was asked.
    FilterSaved = "filter_saved",
    /// The filter had let a key through that was then found absent.
    FilterWrong = "filter_wrong",
    /// Answered in process, for the key is hot.
    HotHit = "hot_hit",
    /// Redis failed to answer.
    RedisError = "redis_error",
}

/// Counts of one cache, or of several that share them: sharded, so that threads do not meet.
///
/// ```
/// use seawall_cache::{Event, Metrics};
///
/// let metrics = Metrics::default();
/// metrics.count(Event::Load);
/// assert_eq!(metrics.get(Event::Load), 1);
/// ```
#[derive(Debug)]
pub struct Metrics {
    counts: Sharded<[AtomicU64; Event::ALL.len()]>,
}

impl Default for Metrics {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(4, usize::from);
        Self {
            counts: Sharded::new(threads, || [const { AtomicU64::new(0) }; Event::ALL.len()]),
        }
    }
}

impl Metrics {
    /// One more.
    #[inline]
    pub fn count(&self, event: Event) {
        self.add(event, 1);
    }

    /// So many more.
    #[inline]
    pub fn add(&self, event: Event, count: u64) {
        self.counts.get(Shard::current())[event as usize].fetch_add(count, Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self, event: Event) -> u64 {
        self.counts
            .iter()
            .map(|counts| counts[event as usize].load(Relaxed))
            .sum()
    }
}
