//! Writing: what a write does to what is cached.

use std::sync::Arc;

use super::Cache;
use crate::Key;
use crate::error::Error;
use crate::expiry;
use crate::local::{Held, Life};
use crate::metrics::Event;

impl<K: Key, V: Send + Sync + 'static> Cache<K, V> {
    /// Forgets `key`, known absence included: to be called after the write has been committed.
    /// What is being loaded is not kept, and who asks from now on does not get it.
    ///
    /// # Errors
    /// None without Redis.
    pub async fn invalidate(&self, key: &K) -> Result<(), Error> {
        let shared = &*self.shared;
        shared.metrics.count(Event::Invalidation);
        shared.local.generations().pass(&shared.bytes(key));
        shared.local.forget(key);
        Ok(())
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// None without Redis.
    pub async fn invalidate_all(&self) -> Result<(), Error> {
        self.shared.local.void();
        self.shared.metrics.count(Event::Flush);
        Ok(())
    }

    /// Keeps `value` as what is now current, in place of what there was: known absence included,
    /// and what is being loaded is not kept.
    ///
    /// Of two writers of one key, the one that writes last need not put last; where that happens,
    /// [`invalidate`](Self::invalidate) is the one to use.
    ///
    /// # Errors
    /// None without Redis.
    pub async fn put(&self, key: &K, value: V) -> Result<(), Error> {
        let shared = &*self.shared;
        let settings = &shared.settings;
        let generation = shared.local.generations().pass(&shared.bytes(key));
        let fresh = expiry::jittered(settings.ttl, settings.jitter, fastrand::u64(..));
        let (now, load) = (shared.clock.now(), std::time::Duration::ZERO);
        let held = Held {
            value: Some(Arc::new(value)),
            generation,
            life: Life::new(now, fresh, settings.stale, load, settings.beta),
        };
        shared.local.insert(key.clone(), held);
        Ok(())
    }
}
