//! Fences: nothing that was read of a key before a write is left behind by it, whoever dies meanwhile.

use std::fmt;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::Cache;
use super::work::Fresh;
use crate::Key;
use crate::local::{Generation, Writing};
use crate::metrics::Event;
use crate::store::Token;

impl<K: Key, V: Send + Sync + 'static> Cache<K, V> {
    /// Fences several keys that one transaction writes: what [`write_aside`](Self::write_aside) does
    /// for one. Changes show when they are committed, so a fence from before the commit until after
    /// it will do, and row locks are held for a round trip to Redis more, however many keys there are.
    ///
    /// ```
    /// # use seawall_cache::{Cache, Fence};
    /// # async fn pay(accounts: &Cache<u64, i64>) -> Result<(), std::io::Error> {
    /// // … UPDATE accounts … WHERE id IN (3, 7) …
    /// let fence = accounts.fence(&[3, 7]).await;
    /// // … COMMIT …
    /// fence.lift().await;
    /// # Ok(()) }
    /// ```
    ///
    /// Cancel-safe, as what was fenced by then falls by itself.
    pub async fn fence(&self, keys: &[K]) -> Fence<K, V> {
        let raised = keys.iter().map(|key| Fenced::raise(self, key));
        Fence(join_all(raised).await)
    }
}

/// Keys that are being written: see [`Cache::fence`]. While it stands they are loaded by each who
/// asks, and not kept.
///
/// To be lifted when the write is over, whatever came of it. Dropped instead, or with the process
/// gone, it falls after the cache's `lease`, and a write that takes longer may leave a stale value.
#[must_use = "the keys are fenced until it is lifted"]
pub struct Fence<K: Key, V: Send + Sync + 'static>(Vec<Fenced<K, V>>);

impl<K: Key, V: Send + Sync + 'static> Fence<K, V> {
    /// The write is over: the keys are forgotten, and kept again by those who ask from now on.
    ///
    /// Where Redis does not take it, it is delivered later, as an
    /// [`invalidate`](Cache::invalidate). Not cancel-safe: to be polled to its end, or the fence
    /// falls later.
    pub async fn lift(self) {
        join_all(self.0.into_iter().map(|fenced| fenced.lift(None))).await;
    }
}

impl<K: Key, V: Send + Sync + 'static> fmt::Debug for Fence<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence")
            .field("keys", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// One key that is being written.
pub(super) struct Fenced<K: Key, V: Send + Sync + 'static> {
    cache: Cache<K, V>,
    key: K,
    writing: Writing,
    token: Token,
    generation: Generation,
    lifted: bool,
}

impl<K: Key, V: Send + Sync + 'static> Fenced<K, V> {
    pub(super) async fn raise(cache: &Cache<K, V>, key: &K) -> Self {
        let shared = &*cache.shared;
        let bytes = shared.bytes(key);
        shared.announce(&bytes).await;
        let writing = shared.writes.begin(bytes.clone());
        let generation = shared.local.generations().pass(&bytes);
        let fenced = Self {
            cache: cache.clone(),
            key: key.clone(),
            writing,
            token: Token(fastrand::u64(..)),
            generation,
            lifted: false,
        };
        if let Some(remote) = &shared.remote {
            let lease = shared.settings.lease;
            remote.fence(&bytes, fenced.token, lease).await;
            fenced.forget();
        }
        fenced
    }

    pub(super) async fn lift(mut self, put: Option<(Fresh<V>, Option<Bytes>)>) {
        let shared = &*self.cache.shared;
        shared.metrics.count(Event::Invalidation);
        match &shared.remote {
            None => {
                // Nor has anybody put or invalidated, if the generation is still the key's.
                let alone = !self.writing.overlapped();
                let next = shared.local.generations().pass_from(self.generation);
                match (put, next) {
                    (Some((fresh, _)), Some(generation)) if alone => {
                        self.cache.hold(&self.key, fresh, generation);
                    }
                    _ => self.forget(),
                }
            }
            Some(remote) => {
                self.forget();
                let put = put.as_ref().map(|(fresh, bytes)| fresh.put(bytes));
                let bytes = self.writing.bytes();
                remote.unfence(bytes, self.token, put.as_ref()).await;
                self.forget();
            }
        }
        self.lifted = true;
    }

    fn forget(&self) {
        self.cache.forget(&self.key, self.writing.bytes());
    }
}

/// Nobody knows whether the write was made, or is being made yet: what this process loads meanwhile is
/// void when the fence falls.
impl<K: Key, V: Send + Sync + 'static> Drop for Fenced<K, V> {
    fn drop(&mut self) {
        if self.lifted {
            return;
        }
        self.forget();
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let shared = std::sync::Arc::downgrade(&self.cache.shared);
        let (key, bytes) = (self.key.clone(), self.writing.bytes().clone());
        let lease = self.cache.shared.settings.lease;
        runtime.spawn(async move {
            sleep(lease).await;
            if let Some(shared) = shared.upgrade() {
                Cache { shared }.forget(&key, &bytes);
            }
        });
    }
}
