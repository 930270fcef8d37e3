//! Write-behind: accepted now, written in batches.
//!
//! For counters, positions, last-seen times: what is written far more often than it is read, and may
//! be lost. **What was accepted and not written yet dies with the process**; [`WriteBehind::drain`]
//! before an orderly end writes it. Until it is written, readers in this process see it
//! ([`WriteBehind::get_or_load`]) and those in others do not.
//!
//! It does not put what is not written yet into the cache: where such an entry is evicted, a reader
//! loads the old row, and caches it behind the back of the buffer.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Cache;
use super::load::limited;
use crate::Key;
use crate::error::{Error, cause};
use crate::expiry;

/// Settings of a [`WriteBehind`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BehindSettings {
    /// Keys accepted and not written, at least 1; whoever brings more waits. Default 10,000.
    pub capacity: usize,
    /// Keys written at once, at least 1. Default 100.
    pub batch: usize,
    /// How long a write may lie before it is begun, at least 1 ms; what a kill loses at most where
    /// the database keeps up. A key that is put all the time is written about once in it, or whenever
    /// a batch is full. Default 1 s.
    pub interval: Duration,
}

impl Default for BehindSettings {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            batch: 100,
            interval: Duration::from_secs(1),
        }
    }
}

type Write<K, V> =
    Box<dyn Fn(Vec<(K, Arc<V>)>) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// A buffer of writes in front of a database, coalesced by key: of several to one key the last is
/// written. Cheap to clone; what is in it is lost with the last clone.
///
/// ```
/// use seawall_cache::{BehindSettings, Cache, WriteBehind};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let seen = Cache::<u64, u64>::builder("seen").build();
/// let write = async |batch: Vec<(u64, std::sync::Arc<u64>)>| {
///     // INSERT … ON DUPLICATE KEY UPDATE …
///     # let _ = batch;
///     Ok::<_, std::io::Error>(())
/// };
/// let behind = WriteBehind::start(seen, BehindSettings::default(), move |batch| write(batch));
/// behind.put(7, 1_700_000_000).await;
/// behind.drain().await?;
/// # Ok::<(), seawall_cache::Error>(()) }).unwrap();
/// ```
pub struct WriteBehind<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    core: Arc<Core<K, V>>,
    task: AbortHandle,
}

struct Core<K, V> {
    cache: Cache<K, V>,
    settings: BehindSettings,
    write: Write<K, V>,
    buffer: Mutex<Buffer<K, V>>,
    /// A batch is full, or somebody drains.
    due: Notify,
    /// A batch was written.
    room: Notify,
    /// One writes at a time, so that of two values of a key the last is written last.
    writing: tokio::sync::Mutex<()>,
}

struct Buffer<K, V> {
    accepted: HashMap<K, Arc<V>>,
    order: VecDeque<K>,
    /// Being written, and to be seen until that has ended.
    written: HashMap<K, Arc<V>>,
}

impl<K, V> Clone for WriteBehind<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Drop for Inner<K, V> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K, V> std::fmt::Debug for WriteBehind<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let settings = &self.0.core.settings;
        f.debug_tuple("WriteBehind").field(settings).finish()
    }
}

impl<K: Key, V: Send + Sync + 'static> WriteBehind<K, V> {
    /// Begins to write what is put: by `write`, a batch at a time, never two at once. A batch that
    /// fails, or takes longer than `load_timeout`, is written again with what has come since; so it
    /// may be written twice.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<F, R, E>(cache: Cache<K, V>, settings: BehindSettings, write: F) -> Self
    where
        F: Fn(Vec<(K, Arc<V>)>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let core = Arc::new(Core {
            cache,
            settings: BehindSettings {
                capacity: settings.capacity.max(1),
                batch: settings.batch.max(1),
                interval: settings.interval.max(Duration::from_millis(1)),
            },
            write: Box::new(move |batch| {
                let writing = write(batch);
                Box::pin(async move { writing.await.map_err(|error| Error::Write(cause(error))) })
            }),
            buffer: Mutex::new(Buffer {
                accepted: HashMap::new(),
                order: VecDeque::new(),
                written: HashMap::new(),
            }),
            due: Notify::new(),
            room: Notify::new(),
            writing: tokio::sync::Mutex::new(()),
        });
        let writes = core.clone();
        let task = tokio::spawn(async move { writes.run().await }).abort_handle();
        Self(Arc::new(Inner { core, task }))
    }

    /// Accepts `value`, in place of one of this key that is not written yet; waits while the buffer is
    /// full. Cancel-safe: accepted or not.
    pub async fn put(&self, key: K, value: V) {
        let core = &*self.0.core;
        let value = Arc::new(value);
        loop {
            let mut room = std::pin::pin!(core.room.notified());
            room.as_mut().enable();
            if core.accept(&key, &value) {
                return;
            }
            core.due.notify_one();
            room.await;
        }
    }

    /// What is accepted and not written yet, or what the cache has in process.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        let core = &*self.0.core;
        core.pending(key).or_else(|| core.cache.get(key))
    }

    /// What is accepted and not written yet, or else what the cache has or loads.
    ///
    /// # Errors
    /// As [`Cache::get_or_load`]. Cancel-safe, likewise.
    pub async fn get_or_load<F, R, E>(&self, key: &K, loader: F) -> Result<Option<Arc<V>>, Error>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let core = &*self.0.core;
        match core.pending(key) {
            Some(value) => Ok(Some(value)),
            None => core.cache.get_or_load(key, loader).await,
        }
    }

    /// Keys accepted and not written.
    #[must_use]
    pub fn len(&self) -> usize {
        let buffer = self.0.core.buffer.lock();
        buffer.accepted.len() + buffer.written.len()
    }

    /// Whether all that was accepted is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all that is accepted: for an orderly end, as one of the program's clean-ups.
    ///
    /// # Errors
    /// That of the first batch that could not be written; what is left stays. Cancel-safe.
    pub async fn drain(&self) -> Result<(), Error> {
        while self.0.core.batch().await? {}
        Ok(())
    }
}

impl<K: Key, V: Send + Sync + 'static> Core<K, V> {
    fn accept(&self, key: &K, value: &Arc<V>) -> bool {
        let mut buffer = self.buffer.lock();
        if let Some(there) = buffer.accepted.get_mut(key) {
            *there = value.clone();
            return true;
        }
        if buffer.accepted.len() + buffer.written.len() >= self.settings.capacity {
            return false;
        }
        buffer.accepted.insert(key.clone(), value.clone());
        buffer.order.push_back(key.clone());
        if buffer.accepted.len() >= self.settings.batch {
            self.due.notify_one();
        }
        true
    }

    fn pending(&self, key: &K) -> Option<Arc<V>> {
        let buffer = self.buffer.lock();
        let value = buffer.accepted.get(key).or_else(|| buffer.written.get(key));
        value.cloned()
    }

    async fn run(&self) {
        let interval = self.settings.interval;
        loop {
            let _ = timeout(interval, self.due.notified()).await;
            // What comes meanwhile lies for its interval, or a counter would be written all the time.
            let mut due = self.buffer.lock().accepted.len();
            while due > 0 {
                match self.batch().await {
                    Ok(_) => due = due.saturating_sub(self.settings.batch),
                    Err(error) => {
                        tracing::warn!(cache = self.cache.name(), %error, "a batch was not written");
                        sleep(expiry::jittered(interval, 0.5, fastrand::u64(..))).await;
                    }
                }
            }
        }
    }

    /// Writes a batch. Whether there was one.
    async fn batch(&self) -> Result<bool, Error> {
        let _writing = self.writing.lock().await;
        let batch = self.take();
        if batch.is_empty() {
            return Ok(false);
        }
        // Whatever ends this, nothing that was accepted is forgotten.
        let mut back = Back {
            core: self,
            written: false,
        };
        let keys: Vec<_> = batch.iter().map(|(key, _)| key.clone()).collect();
        let limit = self.cache.shared.settings.load_timeout;
        limited(limit, async { (self.write)(batch).await }).await?;
        // First the cache forgets what was before, then the buffer what is written.
        join_all(keys.iter().map(|key| self.cache.invalidate(key))).await;
        back.written = true;
        Ok(true)
    }

    fn take(&self) -> Vec<(K, Arc<V>)> {
        let mut buffer = self.buffer.lock();
        let buffer = &mut *buffer;
        while buffer.written.len() < self.settings.batch
            && let Some(key) = buffer.order.pop_front()
        {
            if let Some(value) = buffer.accepted.remove(&key) {
                buffer.written.insert(key, value);
            }
        }
        let batch = buffer.written.iter();
        batch
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// Ends a batch: forgets it, or takes it back in.
struct Back<'a, K: Key, V: Send + Sync + 'static> {
    core: &'a Core<K, V>,
    written: bool,
}

impl<K: Key, V: Send + Sync + 'static> Drop for Back<'_, K, V> {
    fn drop(&mut self) {
        let mut buffer = self.core.buffer.lock();
        let buffer = &mut *buffer;
        for (key, value) in buffer.written.drain() {
            // What has come since is newer.
            if !self.written && !buffer.accepted.contains_key(&key) {
                buffer.accepted.insert(key.clone(), value);
                buffer.order.push_front(key);
            }
        }
        self.core.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What was written, in order.
    #[derive(Clone, Default)]
    struct Table {
        written: Arc<Mutex<Vec<(u64, u64)>>>,
        fails: Arc<AtomicBool>,
    }

    fn behind(table: &Table, settings: BehindSettings) -> WriteBehind<u64, u64> {
        let cache = Cache::builder("behind").build();
        let table = table.clone();
        WriteBehind::start(cache, settings, move |batch| {
            let table = table.clone();
            async move {
                sleep(SECOND / 10).await;
                if table.fails.load(SeqCst) {
                    return Err(io::Error::other("down"));
                }
                let batch = batch.into_iter().map(|(key, value)| (key, *value));
                table.written.lock().extend(batch);
                Ok(())
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_a_key_is_written_within_the_interval() {
        let table = Table::default();
        let behind = behind(&table, BehindSettings::default());
        for value in 0..100 {
            behind.put(1, value).await;
        }
        assert_eq!(behind.get(&1).as_deref(), Some(&99));
        assert!(table.written.lock().is_empty());
        sleep(SECOND * 2).await;
        assert_eq!(*table.written.lock(), [(1, 99)]);
        assert!(behind.is_empty());
        // From now on it is the database's.
        let load = || async { Ok::<_, io::Error>(Some(99)) };
        assert_eq!(
            behind.get_or_load(&1, load).await.unwrap().as_deref(),
            Some(&99)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_buffer_makes_its_writers_wait_and_loses_nothing() {
        let table = Table::default();
        let settings = BehindSettings {
            capacity: 10,
            batch: 5,
            ..BehindSettings::default()
        };
        let behind = behind(&table, settings);
        for key in 0..100 {
            behind.put(key, key).await;
            assert!(behind.len() <= 10);
        }
        behind.drain().await.unwrap();
        let mut written = table.written.lock().clone();
        written.sort_unstable();
        assert_eq!(written, (0..100).map(|key| (key, key)).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_stays_and_gives_way_to_what_is_newer() {
        let table = Table::default();
        let behind = behind(&table, BehindSettings::default());
        table.fails.store(true, SeqCst);
        behind.put(1, 1).await;
        behind.put(2, 2).await;
        assert!(matches!(behind.drain().await, Err(Error::Write(_))));
        // Dropped in the middle of a batch, too.
        let _ = timeout(SECOND / 20, behind.drain()).await;
        assert_eq!((behind.get(&1).as_deref(), behind.len()), (Some(&1), 2));
        behind.put(1, 3).await;
        table.fails.store(false, SeqCst);
        behind.drain().await.unwrap();
        let mut written = table.written.lock().clone();
        written.sort_unstable();
        assert_eq!(written, [(1, 3), (2, 2)]);
    }
}
