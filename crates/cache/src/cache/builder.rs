//! Setting up a cache.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use seawall::clock::Clock;
use seawall_sync::Flight;

use super::read::{Bound, Loader, bound};
use super::remote::{Parts, Remote};
use super::{Cache, Shared};
use crate::Key;
use crate::codec::Codec;
use crate::coherence::Coherence;
use crate::filter::Filter;
use crate::guard::{Guard, Health};
use crate::hot::{Hot, HotSettings};
use crate::local::{Coarse, Local, Weigher, Writes};
use crate::metrics::{Event, Metrics};
#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::settings::Settings;
use crate::store::Memory;
#[cfg(feature = "redis")]
use crate::store::RedisStore;
use crate::store::{Notice, Store, Subscription};

/// A [`Cache`] to be: see [`Cache::builder`].
pub struct Builder<K, V> {
    name: Arc<str>,
    settings: Settings,
    clock: Clock,
    metrics: Arc<Metrics>,
    weigher: Option<Weigher<K, V>>,
    loader: Option<Box<Bound<K, V>>>,
    guard: Option<Guard>,
    filter: Option<Filter>,
    hot: Option<HotSettings>,
    second: Option<Second<V>>,
}

/// The second level, before the clock is known.
struct Second<V> {
    codec: Box<dyn Codec<V>>,
    place: Place,
}

enum Place {
    Memory(Arc<Memory>),
    #[cfg(feature = "redis")]
    Redis(Box<Redis>),
}

impl<K: Key, V: Send + Sync + 'static> Builder<K, V> {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            settings: Settings::default(),
            clock: Clock::system(),
            metrics: Arc::default(),
            weigher: None,
            loader: None,
            guard: None,
            filter: None,
            hot: None,
            second: None,
        }
    }

    /// How long, how many, how large. See [`Settings`] for what is set where nothing is said.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How long a value is fresh for, at most: the setting that differs from cache to cache.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// The clock that entries age by in process; the system's unless said otherwise. Time limits go
    /// by tokio's timers, whatever this says.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Counts to share with other caches.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// What an entry weighs, in bytes say: `capacity` then bounds the sum, and `max_value` each.
    #[must_use]
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// Makes it a read-through cache: what [`Cache::load`] loads with.
    #[must_use]
    pub fn loader(mut self, loader: impl Loader<K, V>) -> Self {
        self.loader = Some(bound(loader));
        self
    }

    /// What every load passes: the rate that the database may see, and what it bears. To be shared
    /// by all caches of a database. None unless said otherwise: then a key is loaded once at a time,
    /// and nothing bounds how many keys are.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Asks `filter` before anything is loaded, and adds what is written. It has to be built, and
    /// rebuilt now and then: [`Filter::rebuild`]. None unless said otherwise.
    ///
    /// A key that is written past the cache, with an [`invalidate`](Cache::invalidate) to follow, is
    /// added by that: between the two the filter may deny it. Other writes add it first.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Finds the keys that everyone asks for, and relieves Redis of them: for a cache that keeps
    /// little or nothing in process, and shares its entries. Off unless said otherwise.
    #[must_use]
    pub fn hot(mut self, settings: HotSettings) -> Self {
        self.hot = Some(settings);
        self
    }

    /// Shares entries with other processes by way of Redis, as what `codec` makes of them.
    ///
    /// ```no_run
    /// use seawall_cache::redis::Redis;
    /// use seawall_cache::{Cache, Json};
    ///
    /// let redis = Redis::single("redis://127.0.0.1:6379/0")?;
    /// let users = Cache::<u64, String>::builder("users")
    ///     .redis(redis, Json::default())
    ///     .build();
    /// # Ok::<(), seawall_cache::redis::Fault>(())
    /// ```
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis(mut self, redis: Redis, codec: impl Codec<V>) -> Self {
        self.second = Some(Second {
            codec: Box::new(codec),
            place: Place::Redis(Box::new(redis)),
        });
        self
    }

    /// Shares entries with other caches of this process as if they were in processes of their own:
    /// leases, notices and all, without a Redis. For tests of what several instances do.
    ///
    /// ```
    /// use seawall::clock::Clock;
    /// use seawall_cache::{Cache, Json, Memory};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let shared = Memory::new(Clock::system(), 1_000);
    /// let instance = || {
    ///     let users = Cache::<u64, String>::builder("users");
    ///     users.memory(shared.clone(), Json::default()).build()
    /// };
    /// let (one, other) = (instance(), instance());
    /// one.put(&7, "ann".into()).await?;
    /// let never = || async { Err::<Option<String>, _>("is in memory") };
    /// assert_eq!(*other.get_or_load(&7, never).await?.unwrap(), "ann");
    /// # Ok::<(), seawall_cache::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn memory(mut self, memory: Arc<Memory>, codec: impl Codec<V>) -> Self {
        self.second = Some(Second {
            codec: Box::new(codec),
            place: Place::Memory(memory),
        });
        self
    }

    /// The cache.
    #[must_use]
    pub fn build(self) -> Cache<K, V> {
        let settings = self.settings.in_range();
        let (coherence, remote, subscription) = match self.second {
            None => (Coherence::local(), None, None),
            Some(second) => {
                let (parts, subscription) = second.parts(&self.name, &settings, &self.clock);
                let coherence = parts.coherence.clone();
                let remote = Remote::new(parts, self.metrics.clone());
                (coherence, Some(Arc::new(remote)), subscription)
            }
        };
        let now = self.clock.now();
        let shared = Arc::new(Shared {
            coarse: Coarse::new(&self.clock),
            local: Local::new(&settings, self.weigher, coherence.clone()),
            writes: Writes::default(),
            flights: Flight::new().detached(),
            name: self.name,
            settings,
            clock: self.clock,
            metrics: self.metrics,
            loader: self.loader,
            guard: self.guard,
            filter: self.filter,
            hot: self
                .hot
                .filter(|_| remote.is_some())
                .map(|hot| Hot::new(hot, now)),
            remote,
            hearing: OnceLock::new(),
        });
        let hears = Arc::downgrade(&shared);
        let hearing = coherence.hear(move |notice| {
            if let Some(shared) = hears.upgrade() {
                shared.hear(notice);
            }
        });
        let _ = shared.hearing.set((hearing, subscription));
        Cache { shared }
    }
}

impl<K: Key, V: Send + Sync + 'static> Shared<K, V> {
    /// Takes in what was done to an entry, here or elsewhere.
    fn hear(&self, notice: &Notice) {
        match notice {
            Notice::Invalidated(bytes) => {
                self.local.generations().pass(bytes);
            }
            Notice::Epoch(epoch) => {
                if let Some(remote) = &self.remote {
                    remote.adopt_epoch(*epoch);
                }
                self.local.void();
            }
            Notice::Lost => {
                self.metrics.count(Event::Flush);
                // Before what reads from now on can be kept.
                if let Some(remote) = &self.remote {
                    remote.doubt_epoch();
                }
                self.local.void();
            }
            Notice::Hot(bytes, is_hot) => {
                if let Some(hot) = &self.hot {
                    let hash = crate::filter::hash(bytes);
                    hot.told(hash, bytes, *is_hot, self.clock.now());
                }
            }
            Notice::Filled(_) | Notice::Released(_) => {}
        }
    }
}

/// What a process that hears nothing may serve for, at most.
#[cfg(feature = "redis")]
const BOUND: Duration = Duration::from_secs(2);
/// Entries of the reserve.
const RESERVE: u64 = 1_000;

impl<V: Send + Sync + 'static> Second<V> {
    fn parts(
        self,
        name: &str,
        settings: &Settings,
        clock: &Clock,
    ) -> (Parts<V>, Option<Subscription>) {
        let (store, coherence, sharded, subscription) = self.place.open(name, clock);
        let parts = Parts {
            store,
            coherence,
            codec: self.codec,
            health: Health::new(sharded, clock.clone()),
            clock: clock.clone(),
            reserve: RESERVE,
            stale: settings.stale,
            lease: settings.lease,
        };
        (parts, subscription)
    }
}

#[cfg_attr(not(feature = "redis"), allow(unused_variables, reason = "for Redis"))]
impl Place {
    fn open(self, name: &str, clock: &Clock) -> (Store, Coherence, bool, Option<Subscription>) {
        match self {
            Self::Memory(memory) => {
                let coherence = Coherence::local();
                let hub = coherence.clone();
                let subscription = memory.subscribe(move |notice| hub.tell(notice));
                (Store::memory(memory), coherence, false, Some(subscription))
            }
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let name = format!("seawall:{name}");
                let coherence = Coherence::start(
                    &redis,
                    crate::store::channel(&name).as_bytes(),
                    BOUND,
                    clock.clone(),
                );
                let sharded = redis.is_cluster();
                (
                    Store::redis(RedisStore::new(*redis, &name)),
                    coherence,
                    sharded,
                    None,
                )
            }
        }
    }
}

impl<K, V> std::fmt::Debug for Builder<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
