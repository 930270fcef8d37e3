//! Reading: what is held, or else what is being loaded.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use seawall::{Call, Criticality, Tick};
use seawall_sync::flight::FlightError;

use super::answer::{Answer, Read, Source};
use super::flying::{FlightKey, Landed};
use super::load::{Load, Loading, erase};
use super::offer::Offer;
use super::work::Work;
use super::{Cache, Shared};
use crate::Key;
use crate::error::{Error, cause};
use crate::expiry;
use crate::hot::{Found, Tell};
use crate::local::Held;
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
    /// An answer, and the reader is the one to load anew, with what it has drawn.
    Renew(Answer<V>, f64),
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
        match self.hit(key) {
            Some(answer) => Ok(answer.value),
            None => Ok(self.miss(key, Read::Strong, loader).await?.value),
        }
    }

    /// The value of `key` and where it came from.
    ///
    /// The loader runs on a task of its own, once for all who ask at the time, and for at most
    /// `load_timeout`; it must await something now and then to be stopped. It sees the
    /// [`current`](seawall::layer::current) call of whoever began it, but for its deadline: others
    /// wait, too. The caller waits until its own.
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
            None => self.miss(key, read, loader).await,
        }
    }

    /// In a box: a hit is not to carry what a miss needs.
    #[cold]
    fn miss<'a, F, R, E>(
        &'a self,
        key: &'a K,
        read: Read,
        loader: F,
    ) -> BoxFuture<'a, Result<Answer<V>, Error>>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let loader = Arc::new(loader);
        let load = move || {
            let loader = loader.clone();
            erase(move || loader())
        };
        Box::pin(self.missed(key, read, load))
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
                    let (shared, of) = (shared.clone(), of.clone());
                    let run = move || match &shared.loader {
                        Some(loader) => loader(of.clone()),
                        None => Box::pin(async { Err(Error::NoLoader) }),
                    };
                    Load {
                        run: Box::new(run),
                        together: false,
                        waits: None,
                    }
                };
                Box::pin(self.missed(key, Read::Strong, load)).await?
            }
        };
        Ok(answer.value)
    }

    /// What most reads come to: fresh, and far from its end.
    #[inline]
    pub(super) fn hit(&self, key: &K) -> Option<Answer<V>> {
        let shared = &*self.shared;
        let now = shared.coarse.now();
        let held = shared.local.get(key, now)?;
        (now < held.life.early).then(|| {
            shared.metrics.count(Event::LocalHit);
            held.answer(false)
        })
    }

    #[cold]
    pub(super) async fn missed(
        &self,
        key: &K,
        read: Read,
        load: impl Fn() -> Load<V>,
    ) -> Result<Answer<V>, Error> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let call = seawall::layer::current().unwrap_or_default();
        match shared.look(key, read, now) {
            Looked::Answer(answer) => Ok(answer),
            Looked::Renew(answer, early) => {
                if !answer.stale {
                    shared.metrics.count(Event::EarlyLoad);
                }
                let boarding = self.board(key, None, load(), &call, early);
                // Polled once, it is under way, and goes on without us.
                let _ = boarding.landing.now_or_never();
                Ok(answer)
            }
            Looked::Nothing => {
                shared.metrics.count(Event::LocalMiss);
                if let Some(answer) = shared.hot(key, now) {
                    return Ok(answer);
                }
                if now >= call.deadline && call.deadline != Tick::MAX {
                    return Err(Error::Deadline);
                }
                // In a box: most reads hit, and are not to carry it.
                let waiting = Box::pin(self.wait(key, read, load, &call));
                match shared.clock.instant(call.deadline) {
                    None => waiting.await,
                    Some(deadline) => {
                        let waited = tokio::time::timeout_at(deadline, waiting).await;
                        waited.unwrap_or(Err(Error::Deadline))
                    }
                }
            }
        }
    }

    /// Loads, or waits for who does.
    async fn wait(
        &self,
        key: &K,
        read: Read,
        load: impl Fn() -> Load<V>,
        call: &Call,
    ) -> Result<Answer<V>, Error> {
        let early = expiry::early(self.shared.settings.beta, fastrand::u64(..));
        let first = self.board(key, None, load(), call, early);
        let landed = self.fly(first, read).await?;
        match landed.result {
            // Turned away for what it mattered to another.
            Err(Error::Rejected(_)) if call.criticality < landed.criticality => {
                let apart = self.board(key, Some(call.criticality), load(), call, early);
                self.fly(apart, read).await?.result
            }
            result => result,
        }
    }

    /// Waits for the end of a flight, or for what can be answered before.
    async fn fly(
        &self,
        boarding: Boarding<impl Future<Output = Result<Landed<V>, FlightError>>, V>,
        read: Read,
    ) -> Result<Landed<V>, Error> {
        let metrics = &self.shared.metrics;
        let landed = match boarding.offer {
            None => boarding.landing.await?,
            Some(offer) => tokio::select! {
                biased;
                landed = boarding.landing => landed?,
                answer = offer.wait(read) => {
                    if answer.stale {
                        metrics.count(Event::Stale);
                    }
                    let (result, criticality) = (Ok(answer), Criticality::default());
                    return Ok(Landed { result, criticality });
                }
            },
        };
        if !boarding.began.load(Relaxed) {
            metrics.count(Event::Shared);
        }
        Ok(landed)
    }

    /// The flight of the key: the one that is under way, or else one that begins when it is polled.
    fn board(
        &self,
        key: &K,
        apart: Option<Criticality>,
        load: Load<V>,
        call: &Call,
        early: f64,
    ) -> Boarding<impl Future<Output = Result<Landed<V>, FlightError>>, V> {
        let shared = self.shared.clone();
        let bytes = shared.bytes(key);
        let generation = shared.local.generations().of(&bytes);
        let flight = FlightKey {
            bytes,
            generation,
            apart,
        };
        let offer = shared
            .remote
            .as_ref()
            .map(|remote| remote.offers.of(&flight));
        let began = Arc::new(AtomicBool::new(false));
        let work = Work {
            shared: shared.clone(),
            key: key.clone(),
            flight: flight.clone(),
            load,
            call: *call,
            early,
            offer: offer.clone(),
            fresh_until: AtomicU64::new(0),
        };
        let begun = began.clone();
        let landing = async move {
            // In a box: it is large, and most of those who wait bring one in vain.
            let work: Pin<Box<dyn Future<Output = Landed<V>> + Send>> = Box::pin(async move {
                begun.store(true, Relaxed);
                work.run().await
            });
            shared.flights.run(flight, work).await
        };
        Boarding {
            landing,
            offer,
            began,
        }
    }
}

/// A place in a flight.
struct Boarding<F, V> {
    landing: F,
    offer: Option<Arc<Offer<V>>>,
    /// Whether it is the one that the flight began with.
    began: Arc<AtomicBool>,
}

impl<K: Key, V: Send + Sync + 'static> Shared<K, V> {
    pub(super) fn bytes(&self, key: &K) -> Bytes {
        let mut bytes = Vec::new();
        key.write(&mut bytes);
        bytes.into()
    }

    /// What is held of a hot key. Each read that comes here is one that finds out which keys are.
    fn hot(&self, key: &K, now: Tick) -> Option<Answer<V>> {
        let (hot, remote) = (self.hot.as_ref()?, self.remote.as_ref()?);
        let bytes = self.bytes(key);
        let hash = crate::filter::hash(&bytes);
        let good = |held: &Held<V>| self.local.is_good(held, now);
        let (found, tell) = hot.read(hash, &bytes, key, now, good);
        for Tell { key, hot } in tell {
            let remote = remote.clone();
            tokio::spawn(async move { remote.tell_hot(key, hot).await });
        }
        let Found::Held(held) = found else {
            return None;
        };
        self.metrics.count(Event::HotHit);
        Some(Answer {
            value: held.value,
            source: Source::Hot,
            stale: false,
        })
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
                true => Looked::Renew(held.answer(false), times),
                false => Looked::Answer(held.answer(false)),
            };
        }
        match read {
            Read::Strong if now >= life.retry => return Looked::Nothing,
            _ => self.metrics.count(Event::Stale),
        }
        match now < life.retry {
            true => Looked::Answer(held.answer(true)),
            false => Looked::Renew(held.answer(true), 0.0),
        }
    }
}
