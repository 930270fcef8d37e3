//! Writing: what a write does to what is cached.
//!
//! | | what it may lose, and what may be stale |
//! |---|---|
//! | `invalidate` after the write | a writer that dies between commit and invalidation leaves the old value until its ttl |
//! | `write_aside`, [`fence`](Cache::fence) | nothing: a fence outlives the writer, and meanwhile nothing is kept |
//! | `write_through` | as `write_aside`; the value is in the cache at once where no other write overlapped |
//! | `put` | of two writers the last to put stays, whichever wrote last |
//! | [`WriteBehind`](super::WriteBehind) | what was accepted and not flushed dies with the process |

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::fence::Fenced;
use super::work::Fresh;
use super::{Cache, Shared};
use crate::Key;
use crate::error::{Error, cause};
use crate::local::{Generation, Held};
use crate::metrics::Event;
use crate::store::Put;

impl<K: Key, V: Send + Sync + 'static> Cache<K, V> {
    /// Forgets `key`, known absence included: to be called after the write has been committed.
    /// What is being loaded is not kept, and who asks from now on does not get it; in this process
    /// when this returns, in others as soon as they are told.
    ///
    /// Where Redis does not take it, it is delivered as soon as it does, and until then this process
    /// does not believe what Redis says of the key. Not cancel-safe: to be polled to its end.
    pub async fn invalidate(&self, key: &K) {
        let shared = &*self.shared;
        shared.metrics.count(Event::Invalidation);
        let bytes = shared.bytes(key);
        shared.announce(&bytes).await;
        self.forget(key, &bytes);
        if let Some(remote) = &shared.remote {
            remote
                .invalidate(&bytes, !shared.settings.stale.is_zero())
                .await;
            // What was read from the store meanwhile may be of before.
            self.forget(key, &bytes);
        }
    }

    /// Forgets everything, in every process.
    ///
    /// # Errors
    /// Redis did not take it: this process has forgotten, and others have not.
    pub async fn invalidate_all(&self) -> Result<(), Error> {
        let shared = &*self.shared;
        shared.metrics.count(Event::Flush);
        shared.local.void();
        if let Some(remote) = &shared.remote {
            let raised = remote.raise_epoch().await;
            shared.local.void();
            raised.map_err(|fault| Error::Store(cause(fault)))?;
        }
        Ok(())
    }

    /// Keeps `value` as what is now current, in place of what there was: known absence included,
    /// and what is being loaded is not kept.
    ///
    /// Of two writers of one key, the one that writes last need not put last; where that happens,
    /// [`write_through`](Self::write_through) is the one to use.
    ///
    /// # Errors
    /// It is too large or cannot be encoded; the key is forgotten instead.
    pub async fn put(&self, key: &K, value: V) -> Result<(), Error> {
        let shared = &*self.shared;
        let bytes = shared.bytes(key);
        let (fresh, encoded) = match self.to_put(value) {
            Ok(both) => both,
            Err(error) => {
                self.invalidate(key).await;
                return Err(error);
            }
        };
        shared.announce(&bytes).await;
        let generation = shared.local.generations().pass(&bytes);
        match &shared.remote {
            None => self.hold(key, fresh, generation),
            // In process it is held when it is read: others' writes may be ahead of it.
            Some(remote) => {
                remote.put(&bytes, &fresh.put(&encoded)).await;
                self.forget(key, &bytes);
            }
        }
        Ok(())
    }

    /// Runs `write` so that nothing of before it is left behind, also where this process dies in the
    /// middle of it: from before the write until after it, reads load for themselves and nothing is
    /// kept. A write is to take less than the lease, after which the fence falls by itself.
    ///
    /// ```
    /// # use seawall_cache::{Cache, Error};
    /// # async fn rename(users: &Cache<u64, String>) -> Result<(), Error> {
    /// users.write_aside(&7, async { /* UPDATE … */ Ok::<_, std::io::Error>(()) }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The write failed; the key is forgotten all the same, for it may have been made. Dropped in the
    /// middle, the fence stands until it falls.
    pub async fn write_aside<T, E>(
        &self,
        key: &K,
        write: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let fenced = Fenced::raise(self, key).await;
        let written = write.await;
        fenced.lift(None).await;
        written.map_err(|error| Error::Write(cause(error)))
    }

    /// Runs `write` as [`write_aside`](Self::write_aside), and keeps `value` as what it has written,
    /// unless another write overlapped with it: then nobody knows whose value is the last, and the
    /// key is forgotten.
    ///
    /// # Errors
    /// The write failed, and the key is forgotten. A value that is too large or cannot be encoded
    /// is written, and not kept.
    pub async fn write_through<T, E>(
        &self,
        key: &K,
        value: V,
        write: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let fenced = Fenced::raise(self, key).await;
        match write.await {
            Ok(written) => {
                let put = self.to_put(value).ok();
                fenced.lift(put).await;
                Ok(written)
            }
            Err(error) => {
                fenced.lift(None).await;
                Err(Error::Write(cause(error)))
            }
        }
    }

    /// Void from now on, and out of memory.
    pub(super) fn forget(&self, key: &K, bytes: &[u8]) {
        self.shared.local.generations().pass(bytes);
        self.shared.local.forget(key);
    }

    pub(super) fn hold(&self, key: &K, fresh: Fresh<V>, generation: Generation) {
        let held = Held {
            value: fresh.value,
            generation,
            life: fresh.life,
        };
        if !self.shared.local.insert(key.clone(), held) {
            self.shared.metrics.count(Event::TooLarge);
        }
    }

    /// A value as it is kept, here and in the store.
    fn to_put(&self, value: V) -> Result<(Fresh<V>, Option<Bytes>), Error> {
        let shared = &*self.shared;
        let encoded = match &shared.remote {
            None => None,
            Some(remote) => {
                let bytes = remote.codec.encode(&value);
                let bytes = bytes.map_err(|error| Error::NotEncoded(cause(error)))?;
                let (len, limit) = (bytes.len(), shared.settings.max_value);
                if len > limit {
                    shared.metrics.count(Event::TooLarge);
                    return Err(Error::TooLarge { bytes: len, limit });
                }
                Some(bytes)
            }
        };
        let now = shared.clock.now();
        Ok((shared.fresh(Some(value), now, Duration::ZERO), encoded))
    }
}

impl<K, V> Shared<K, V> {
    /// A key that may exist from now on. Where Redis does not take it, it is told to it later, and
    /// meanwhile others may deny the key.
    pub(super) async fn announce(&self, bytes: &[u8]) {
        if let Some(filter) = &self.filter
            && let Err(error) = filter.add_bytes(bytes).await
        {
            self.metrics.count(Event::RedisError);
            tracing::debug!(cache = %self.name, %error, "a key was not added to the filter");
        }
    }
}

impl<V> Fresh<V> {
    pub(super) fn put<'a>(&self, encoded: &'a Option<Bytes>) -> Put<'a> {
        Put {
            value: encoded.as_deref(),
            fresh: self.fresh,
            stale: self.stale,
            load: self.life.load,
        }
    }
}
