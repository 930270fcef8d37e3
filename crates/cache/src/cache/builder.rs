//! Setting up a cache.

use std::sync::Arc;
use std::time::Duration;

use seawall::clock::Clock;
use seawall_sync::Flight;

use super::read::{Bound, Loader, bound};
use super::{Cache, Shared};
use crate::Key;
use crate::local::{Coarse, Local, Weigher};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// A [`Cache`] to be: see [`Cache::builder`].
pub struct Builder<K, V> {
    name: Arc<str>,
    settings: Settings,
    clock: Clock,
    metrics: Arc<Metrics>,
    weigher: Option<Weigher<K, V>>,
    loader: Option<Box<Bound<K, V>>>,
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

    /// The cache.
    #[must_use]
    pub fn build(self) -> Cache<K, V> {
        let settings = self.settings.in_range();
        let longest = settings.ttl.max(settings.negative) + settings.stale;
        let weigher = self.weigher.map(Arc::new);
        let weighs = weigher.clone().map(|weigher| -> Weigher<K, V> {
            Box::new(move |key: &K, value: &V| weigher(key, value))
        });
        Cache {
            shared: Arc::new(Shared {
                coarse: Coarse::new(&self.clock),
                local: Local::new(settings.capacity, longest, weighs),
                flights: Flight::new().detached(),
                name: self.name,
                settings,
                clock: self.clock,
                metrics: self.metrics,
                loader: self.loader,
            }),
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
