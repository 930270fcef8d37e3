//! Reading: what is held, or else what is being loaded.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::FutureExt as _;
use seawall::{Call, Tick};

use super::answer::{Answer, Read, Source};
use super::flying::{FlightKey, Landed};
use super::load::{Load, Loading, erase, limited};
use super::{Cache, Shared};
use crate::Key;
use crate::error::{Error, cause};
use crate::expiry;
use crate::local::{Held, Life};
use crate::metrics::Event;

/// What a read-through cache loads with: [`Builder::loader`](super::Builder::loader).
///
/// A closure will do: `|key: K| async { Ok::<_, E>(value) }`.
pub trait Loader<K, V>: Send + Sync + 'static {
    /// What loading fails with.
    type Error: Into<Box<dyn std::error::Error + Send + Sync>>;

    /// The value of `key`; `None` where there is none.
    fn load(&self, key: K)
    -> impl Future<Output = Result<Option<V>, Self::Error>> + Send + 'static;
}

impl<K, V, E, F, R> Loader<K, V> for F
where
    F: Fn(K) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Error = E;

    fn load(&self, key: K) -> impl Future<Output = Result<Option<V>, E>> + Send + 'static {
        self(key)
    }
}

/// A [`Loader`] without its type.
pub(super) type Bound<K, V> = dyn Fn(K) -> Loading<V> + Send + Sync;

pub(super) fn bound<K: Key, V: 'static>(loader: impl Loader<K, V>) -> Box<Bound<K, V>> {
    Box::new(move |key| {
        let loading = loader.load(key);
        Box::pin(async move { loading.await.map_err(|error| Error::Load(cause(error))) })
    })
}

/// What is held of a key, for one reader.
enum Looked<V> {
    Answer(Answer<V>),
    /// An answer, and the reader is the one to load anew.
    Renew(Answer<V>),
    Nothing,
}

impl<K: Key, V: Send + Sync + 'static> Cache<K, V> {
    /// What this process holds of `key`, if it is fresh. Neither waits nor loads; a key known to be
    /// absent is `None` as one that is unknown.
    ///
    /// Costs little more than moka's own `get` (`cargo xtask bench cache --only hit`).
    #[inline]
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        let shared = &*self.shared;
        let now = shared.coarse.now();
        match shared.local.get(key, now) {
            Some(held) if now < held.life.fresh => {
                shared.metrics.count(Event::LocalHit);
                held.value
            }
            _ => {
                shared.metrics.count(Event::LocalMiss);
                None
            }
        }
    }

    /// The value of `key`, loaded by `loader` where it is not known; `None` where there is none.
    ///
    /// As [`read`](Self::read) with [`Read::Strong`], for who does not ask where it came from.
    ///
    /// # Errors
    /// It could not be loaded, and nothing stale would do. Cancel-safe: the load goes on.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where there is something to load.
    #[inline]
    pub async fn get_or_load<F, R, E>(&self, key: &K, loader: F) -> Result<Option<Arc<V>>, Error>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answer = self.read(key, Read::Strong, loader).await?;
        Ok(answer.value)
    }

    /// The value of `key` and where it came from.
    ///
    /// The loader runs on a task of its own, once for all who ask at the time, and for at most
    /// `load_timeout`; it must await something now and then to be stopped. It sees the
    /// [`current`](seawall::layer::current) call of whoever began it. The caller waits until its own
    /// deadline.
    ///
    /// # Errors
    /// It could not be loaded, and nothing stale would do. Cancel-safe: the load goes on.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where there is something to load.
    #[inline]
    pub async fn read<F, R, E>(&self, key: &K, read: Read, loader: F) -> Result<Answer<V>, Error>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.hit(key) {
            Some(answer) => Ok(answer),
            None => self.missed(key, read, || erase(loader)).await,
        }
    }

    /// The value of `key`, loaded by the loader that is bound to the cache.
    ///
    /// # Errors
    /// As [`read`](Self::read); or no loader is bound.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where there is something to load.
    pub async fn load(&self, key: &K) -> Result<Option<Arc<V>>, Error> {
        let answer = match self.hit(key) {
            Some(answer) => answer,
            None if self.shared.loader.is_none() => return Err(Error::NoLoader),
            None => {
                let (shared, of) = (self.shared.clone(), key.clone());
                let load = move || -> Load<V> {
                    Box::new(move || match &shared.loader {
                        Some(loader) => loader(of.clone()),
                        None => Box::pin(async { Err(Error::NoLoader) }),
                    })
                };
                self.missed(key, Read::Strong, load).await?
            }
        };
        Ok(answer.value)
    }

    /// What most reads come to: fresh, and far from its end.
    #[inline]
    fn hit(&self, key: &K) -> Option<Answer<V>> {
        let shared = &*self.shared;
        let now = shared.coarse.now();
        let held = shared.local.get(key, now)?;
        (now < held.life.early).then(|| {
            shared.metrics.count(Event::LocalHit);
            held.answer(false)
        })
    }

    #[cold]
    async fn missed(
        &self,
        key: &K,
        read: Read,
        load: impl FnOnce() -> Load<V>,
    ) -> Result<Answer<V>, Error> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let call = seawall::layer::current().unwrap_or_default();
        match shared.look(key, read, now) {
            Looked::Answer(answer) => Ok(answer),
            Looked::Renew(answer) => {
                // Polled once, it is under way, and goes on without us.
                let _ = self.fly(key, None, load(), &call).now_or_never();
                Ok(answer)
            }
            Looked::Nothing => {
                shared.metrics.count(Event::LocalMiss);
                self.wait(key, load(), &call, now).await
            }
        }
    }

    /// Loads, or waits for who does, until the caller's deadline.
    async fn wait(
        &self,
        key: &K,
        load: Load<V>,
        call: &Call,
        now: Tick,
    ) -> Result<Answer<V>, Error> {
        if now >= call.deadline && call.deadline != Tick::MAX {
            return Err(Error::Deadline);
        }
        let landing = self.fly(key, None, load, call);
        let landed = match self.shared.clock.instant(call.deadline) {
            None => landing.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, landing).await {
                Ok(landed) => landed,
                Err(_) => return Err(Error::Deadline),
            },
        };
        landed?.result
    }

    async fn fly(
        &self,
        key: &K,
        apart: Option<seawall::Criticality>,
        load: Load<V>,
        call: &Call,
    ) -> Result<Landed<V>, Error> {
        let shared = &self.shared;
        let bytes = shared.bytes(key);
        let generation = shared.local.generations().of(&bytes);
        let flight = FlightKey {
            bytes,
            generation,
            apart,
        };
        let began = Arc::new(AtomicBool::new(false));
        let work = Work {
            shared: shared.clone(),
            key: key.clone(),
            flight: flight.clone(),
            load,
            call: *call,
        };
        let begun = began.clone();
        let landing = shared.flights.run(flight, async move {
            begun.store(true, Relaxed);
            work.run().await
        });
        let landed = landing.await?;
        if !began.load(Relaxed) {
            shared.metrics.count(Event::Shared);
        }
        Ok(landed)
    }
}

impl<K: Key, V: Send + Sync + 'static> Shared<K, V> {
    pub(super) fn bytes(&self, key: &K) -> Bytes {
        let mut bytes = Vec::new();
        key.write(&mut bytes);
        bytes.into()
    }

    fn look(&self, key: &K, read: Read, now: Tick) -> Looked<V> {
        let Some(held) = self.local.get(key, now) else {
            return Looked::Nothing;
        };
        let life = &held.life;
        if now < life.fresh {
            self.metrics.count(Event::LocalHit);
            let times = expiry::early(self.settings.beta, fastrand::u64(..));
            let early = now + expiry::lead(life.load, times) >= life.fresh;
            return match early && now >= life.retry {
                true => Looked::Renew(held.answer(false)),
                false => Looked::Answer(held.answer(false)),
            };
        }
        match read {
            Read::Strong if life.invalidated => return Looked::Nothing,
            Read::Strong if now >= life.retry => return Looked::Nothing,
            _ => self.metrics.count(Event::Stale),
        }
        match now < life.retry {
            true => Looked::Answer(held.answer(true)),
            false => Looked::Renew(held.answer(true)),
        }
    }
}

impl<V> Held<V> {
    #[inline]
    fn answer(self, stale: bool) -> Answer<V> {
        Answer {
            value: self.value,
            source: Source::Local,
            stale,
        }
    }
}

/// One load of a key, from the asking to the keeping.
struct Work<K, V> {
    shared: Arc<Shared<K, V>>,
    key: K,
    flight: FlightKey,
    load: Load<V>,
    call: Call,
}

impl<K: Key, V: Send + Sync + 'static> Work<K, V> {
    async fn run(self) -> Landed<V> {
        Landed {
            criticality: self.call.criticality,
            result: self.alone().await,
        }
    }

    /// Without a store: the generation is the lease.
    async fn alone(&self) -> Result<Answer<V>, Error> {
        let shared = &*self.shared;
        let began = shared.clock.now();
        // It may have landed between the caller's look and this.
        if let Some(held) = shared.local.get(&self.key, began)
            && began < held.life.early
        {
            return Ok(held.answer(false));
        }
        shared.metrics.count(Event::Load);
        let loaded = limited(shared.settings.load_timeout, async { (self.load)().await }).await;
        let now = shared.clock.now();
        match loaded {
            Ok(value) => {
                let value = value.map(Arc::new);
                self.keep(value.clone(), now, began);
                Ok(Answer {
                    value,
                    source: Source::Loaded,
                    stale: false,
                })
            }
            Err(error) => self.failed(error, now),
        }
    }

    fn keep(&self, value: Option<Arc<V>>, now: Tick, began: Tick) {
        let settings = &self.shared.settings;
        let (ttl, stale) = match value {
            Some(_) => (settings.ttl, settings.stale),
            None => (settings.negative, std::time::Duration::ZERO),
        };
        let fresh = expiry::jittered(ttl, settings.jitter, fastrand::u64(..));
        let life = Life::new(now, fresh, stale, now.since(began), settings.beta);
        let generation = self.flight.generation;
        let held = Held {
            value,
            generation,
            life,
        };
        if !self.shared.local.generations().is(generation) {
            self.shared.metrics.count(Event::LeaseLost);
            return;
        }
        self.shared.local.insert(self.key.clone(), held);
    }

    /// Serves what is stale, for a moment without trying again, or fails.
    fn failed(&self, error: Error, now: Tick) -> Result<Answer<V>, Error> {
        let shared = &*self.shared;
        shared.metrics.count(Event::LoadError);
        let held = shared.local.get(&self.key, now);
        let Some(mut held) = held.filter(|held| !held.life.invalidated) else {
            return Err(error);
        };
        let stale = now >= held.life.fresh;
        held.life.retry = now + expiry::jittered(shared.settings.retry, 0.5, fastrand::u64(..));
        shared.local.insert(self.key.clone(), held.clone());
        if stale {
            shared.metrics.count(Event::Stale);
        }
        Ok(held.answer(stale))
    }
}
