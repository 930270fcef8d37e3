//! Many keys at once: one question to the store, one load for all that are missing.
//!
//! Each key has its flight, as it has where it is asked for alone: a thousand pages that ask for the
//! same twenty keys are one load of twenty. Who begins several flights in one call loads for them
//! together; for those that others have begun it waits. The store is asked for no more keys at once
//! than it answers in time: ten thousand questions in one piece would look like an outage.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use seawall::{Call, Outcome};
use seawall_sync::AmbientExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::answer::Read;
use super::load::{Load, Loaded, Loading, limited};
use super::{Cache, Shared};
use crate::Key;
use crate::error::{Error, cause};
use crate::metrics::Event;

/// How long a load waits, from one answer of the store to the next, for keys of the same call of which
/// it is not known yet whether they are to be loaded.
const TOGETHER: Duration = Duration::from_secs(1);
/// Keys that the store is asked for at once.
const AT_ONCE: usize = 256;

/// Loads many keys at once.
type LoadMany<K, V> =
    Box<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, Error>> + Send + Sync>;

/// The missing keys of one call.
struct Batch<K, V> {
    shared: Arc<Shared<K, V>>,
    loader: LoadMany<K, V>,
    call: Call,
    state: Mutex<State<K, V>>,
    changed: Notify,
}

struct State<K, V> {
    /// Keys that may have to be loaded yet.
    open: usize,
    /// Keys to be loaded, each with who waits for it.
    asked: Vec<(K, oneshot::Sender<Loaded<V>>)>,
}

/// What a key's flight holds of the batch, until it knows whether the key is to be loaded.
struct Seat<K, V> {
    batch: Arc<Batch<K, V>>,
    left: AtomicBool,
    /// To ask the store.
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

impl<K: Key, V: Send + Sync + 'static> Batch<K, V> {
    fn seat(self: &Arc<Self>) -> Seat<K, V> {
        self.state.lock().open += 1;
        Seat {
            batch: self.clone(),
            left: AtomicBool::new(false),
            turn: Mutex::new(None),
        }
    }
}

impl<K: Key, V: Send + Sync + 'static> Seat<K, V> {
    /// A loader of `key` that loads with the others.
    fn load(self, key: K) -> Load<V> {
        let seat = Arc::new(self);
        let waits = seat.clone();
        let run = move || -> Loading<V> {
            let (sender, receiver) = oneshot::channel();
            let first = {
                let mut state = seat.batch.state.lock();
                state.asked.push((key.clone(), sender));
                state.asked.len() == 1
            };
            seat.leave();
            if first {
                let batch = seat.batch.clone();
                tokio::spawn(async move { batch.run().await }.in_current_call());
            }
            Box::pin(async { receiver.await.unwrap_or(Err(Error::RuntimeEnded)) })
        };
        Load {
            run: Box::new(run),
            together: true,
            waits: Some(Box::new(move || waits.leave())),
        }
    }
}

impl<K: Key, V: Send + Sync + 'static> Batch<K, V> {
    async fn run(&self) {
        // One is told of a change that came before it waits.
        while self.state.lock().open > 0 {
            if timeout(TOGETHER, self.changed.notified()).await.is_err() {
                break;
            }
        }
        let asked = mem::take(&mut self.state.lock().asked);
        let keys = asked.iter().map(|(key, _)| key.clone()).collect();
        let mut loaded = self.loaded(keys).await;
        for (key, sender) in asked {
            let value = match &mut loaded {
                Ok(values) => Ok(values.remove(&key)),
                Err(error) => Err(error.clone()),
            };
            let _ = sender.send(value);
        }
    }

    /// One load, of which the guard is asked once.
    async fn loaded(&self, keys: Vec<K>) -> Result<HashMap<K, V>, Error> {
        let shared = &*self.shared;
        let pass = shared.pass(&self.call).await?;
        shared.metrics.count(Event::Load);
        let limit = shared.settings.load_timeout;
        let loaded = limited(limit, async { (self.loader)(keys).await }).await;
        if let Some(pass) = pass {
            pass.finish(match &loaded {
                Ok(_) => Outcome::Success,
                Err(_) => Outcome::Failure,
            });
        }
        loaded.inspect_err(|_| shared.metrics.count(Event::LoadError))
    }
}

impl<K, V> Seat<K, V> {
    fn leave(&self) {
        if !self.left.swap(true, Relaxed) {
            self.turn.lock().take();
            self.batch.state.lock().open -= 1;
            self.batch.changed.notify_one();
        }
    }
}

impl<K, V> Drop for Seat<K, V> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<K: Key, V: Send + Sync + 'static> Cache<K, V> {
    /// The values of `keys`; of those that are absent there is none. `loader` is run for all that are
    /// missing at once, and returns what there is of them.
    ///
    /// ```
    /// # use seawall_cache::Cache;
    /// # use std::collections::HashMap;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let squares = Cache::<u64, u64>::builder("squares").build();
    /// let load = async |keys: Vec<u64>| {
    ///     let squares = keys.into_iter().map(|key| (key, key * key));
    ///     Ok::<HashMap<_, _>, std::io::Error>(squares.collect())
    /// };
    /// let found = squares.get_many(&[2, 3], move |keys| load(keys)).await?;
    /// assert_eq!((*found[&2], *found[&3]), (4, 9));
    /// # Ok::<(), seawall_cache::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The first of those that any key has: see [`read`](Self::read). Cancel-safe: loads go on.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where there is something to load.
    pub async fn get_many<F, R, E>(
        &self,
        keys: &[K],
        loader: F,
    ) -> Result<HashMap<K, Arc<V>>, Error>
    where
        F: Fn(Vec<K>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<HashMap<K, V>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut found = HashMap::with_capacity(keys.len());
        let mut missing = Vec::new();
        let mut seen = HashSet::with_capacity(keys.len());
        for key in keys.iter().filter(|key| seen.insert(*key)) {
            match self.hit(key) {
                Some(answer) => found.extend(answer.value.map(|value| (key.clone(), value))),
                None => missing.push(key),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let call = seawall::layer::current().unwrap_or_default();
        let batch = Arc::new(Batch {
            shared: self.shared.clone(),
            loader: Box::new(move |keys| {
                let loading = loader(keys);
                Box::pin(async move { loading.await.map_err(|error| Error::Load(cause(error))) })
            }),
            call,
            state: Mutex::new(State {
                open: 0,
                asked: Vec::new(),
            }),
            changed: Notify::new(),
        });
        for (key, value) in missing.iter().zip(self.together(&missing, &batch).await) {
            found.extend(value?.map(|value| ((*key).clone(), value)));
        }
        Ok(found)
    }

    /// Each key's value; by way of one load for those that nobody else loads.
    async fn together(
        &self,
        keys: &[&K],
        batch: &Arc<Batch<K, V>>,
    ) -> Vec<Result<Option<Arc<V>>, Error>> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        // Each has its seat before the first is asked for, so that none takes off.
        let waits = keys.iter().map(|key| {
            let (seat, turns) = (batch.seat(), turns.clone());
            async move {
                *seat.turn.lock() = turns.acquire_owned().await.ok();
                let seat = Mutex::new(Some(seat));
                let load = || {
                    let seat = seat.lock().take().unwrap_or_else(|| batch.seat());
                    seat.load((*key).clone())
                };
                let answer = self.missed(key, Read::Strong, load).await;
                answer.map(|answer| answer.value)
            }
        });
        join_all(waits).await
    }
}
