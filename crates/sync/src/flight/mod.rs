//! One execution for many callers of the same key.
//!
//! The usual form lets the first caller run the work: when that one is cancelled, everybody fails;
//! when it is slow, everybody waits. Here the work belongs to all its waiters: whichever is polled
//! drives it (`work.rs`), and it is dropped when the last of them has gone. Decisions:
//!
//! - *The work carries the ambient value of who began it, but neither its group nor its deadline*:
//!   what ends the first caller must not end what others wait for.
//! - *A panic is an outcome.* All waiters get it as an error, and the key is free again.
//! - *Full means uncoalesced, not refused.* The bound is for results that are kept; if keys in
//!   flight fill it, each of them has a caller who holds more memory than its entry.
//! - *Nothing is kept by default.* With [`keep`](Flight::keep) results live for a stated time;
//!   panics never do. What is a failure only the caller's type can tell, and one that is kept by
//!   mistake turns a moment's trouble into a minute's: so `keep` asks which values to keep, and
//!   `Result::is_ok` is the usual answer.
//! - *Work that waits for itself is told so*, also by way of other keys' work, as long as it waits
//!   within its own future. What it spawned and waits for, and circles of several works that were
//!   begun independently, are not seen.

mod lock {
    pub(super) use crate::primitives::{Mutex, this_thread};
}
#[cfg(feature = "rt")]
mod detached;
mod table;
mod waiter;
mod work;

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{FOREVER, ambient, panics};
#[cfg(feature = "rt")]
pub use detached::Detached;
use table::{Keep, Table, Which};
use waiter::Waiter;
use work::Work;

#[cfg(test)]
mod model;
#[cfg(all(test, feature = "rt"))]
mod tests;

/// Keys in flight or kept, unless [`Flight::capacity`] says otherwise.
const CAPACITY: usize = 65_536;

type Outcome<V> = Result<V, FlightError>;

/// Why a flight has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlightError {
    /// The work panicked. The key is free: the next caller tries again.
    #[error("the work panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: Arc<str>,
    },
    /// The runtime that ran detached work was shut down before its end.
    #[error("the runtime ended before the work did")]
    RuntimeEnded,
    /// The work of the key ran the same key, and would have waited for itself.
    #[error("the work of this key waits for itself: have it run another key, or none")]
    WaitsForItself,
}

/// Coalesces concurrent calls of one key; clones share their keys.
///
/// Distinct keys cost about 115 ns each over the work itself, detached about 455 ns, of which
/// spawning and awaiting is 310 (`cargo xtask bench sync --only flight`). `V` is cloned for each
/// waiter under a lock: let it be cheap to clone.
///
/// ```
/// use seawall_sync::Flight;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// static LOADS: AtomicU32 = AtomicU32::new(0);
/// async fn load() -> u32 {
///     tokio::task::yield_now().await;
///     LOADS.fetch_add(1, Ordering::Relaxed) + 41
/// }
///
/// let flight = Flight::new();
/// let (a, b) = tokio::join!(flight.run("user 7", load()), flight.run("user 7", load()));
/// assert_eq!((a, b), (Ok(41), Ok(41)));
/// assert_eq!(LOADS.load(Ordering::Relaxed), 1);
/// # });
/// ```
///
/// Errors are shared as values are: let `V` be a `Result` whose error can be cloned, such as
/// `Result<Page, Arc<io::Error>>`.
pub struct Flight<K, V> {
    table: Arc<Table<K, V>>,
    settings: Settings<V>,
}

struct Settings<V> {
    capacity: usize,
    keep: Option<(Duration, Which<V>)>,
}

impl<V> Clone for Settings<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Settings<V> {}

impl<K, V> Clone for Flight<K, V> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            settings: self.settings,
        }
    }
}

// === setting up ===

impl<K: Hash + Eq, V: Clone + Send + 'static> Default for Flight<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Hash + Eq, V: Clone + Send + 'static> Flight<K, V> {
    /// Keeps no results, and holds about 65,536 keys.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Settings {
            capacity: CAPACITY,
            keep: None,
        })
    }

    /// How many keys may be in flight or kept, at least 1; with 128 and more it is approximate.
    /// For the next key, the result kept for longest goes; if all are in flight, that call runs for
    /// itself, uncoalesced. Set before use: starts with an empty table.
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        Self::with(Settings {
            capacity,
            ..self.settings
        })
    }

    /// Serves a value for `time` after it came, if `which` says so of it; where that panics, it is
    /// not kept. By tokio's clock where the feature `rt` is on, so that tests can pause it. Set
    /// before use: starts with an empty table.
    ///
    /// ```
    /// # use seawall_sync::Flight;
    /// # use std::time::Duration;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let flight = Flight::new().keep(Duration::from_secs(60), Result::is_ok);
    /// assert_eq!(flight.run("key", async { Err("no answer") }).await, Ok(Err("no answer")));
    /// assert_eq!(flight.run("key", async { Ok(1) }).await, Ok(Ok(1)));
    /// assert_eq!(flight.run("key", async { Ok(2) }).await, Ok(Ok(1)));
    /// flight.forget("key");
    /// assert_eq!(flight.run("key", async { Ok(3) }).await, Ok(Ok(3)));
    /// # });
    /// ```
    #[must_use]
    pub fn keep(self, time: Duration, which: fn(&V) -> bool) -> Self {
        Self::with(Settings {
            keep: (!time.is_zero()).then_some((time.min(FOREVER), which)),
            ..self.settings
        })
    }

    fn with(settings: Settings<V>) -> Self {
        let clock = now;
        let keep = settings
            .keep
            .map(|(time, which)| Keep { time, which, clock });
        let shards = std::thread::available_parallelism().map_or(4, |count| 4 * count.get());
        Self {
            table: Arc::new(Table::new(shards, settings.capacity, keep)),
            settings,
        }
    }
}

#[cfg(feature = "rt")]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(not(feature = "rt"))]
fn now() -> Instant {
    Instant::now()
}

// === use ===

impl<K: Hash + Eq, V: Clone + Send + 'static> Flight<K, V> {
    /// The outcome of the work of `key`: of what is in flight, of what is kept, or of `work`.
    /// Otherwise `work` is dropped unpolled.
    ///
    /// Cancel-safe: another waiter drives on; without any, the work is dropped.
    ///
    /// # Errors
    /// The work panicked, or (where it was begun [`detached`](Self::detached)) its runtime was shut
    /// down, or this is called by the work itself.
    pub async fn run<F>(&self, key: K, work: F) -> Result<V, FlightError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (entry, _) = self.table.join(key, || driven_by_waiters(work));
        Waiter::new(&self.table, entry).await
    }

    /// Forgets the key: a result that is kept is dropped, and work in flight goes on for those who
    /// wait, but the next caller begins anew. Whether there was anything to forget.
    ///
    /// Looks through the results that its shard keeps.
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.table.forget(key)
    }

    /// Keys in flight or kept. What has expired counts until its shard is used again.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no key is in flight or kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn driven_by_waiters<V, F>(work: F) -> Work<V>
where
    V: Clone + Send + 'static,
    F: Future<Output = V> + Send + 'static,
{
    Work::new(Box::pin(ambient::current().unbound().scope(work)))
}

impl<K, V> fmt::Debug for Flight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("capacity", &self.settings.capacity)
            .field("keep", &self.settings.keep.map(|(time, _)| time))
            .finish_non_exhaustive()
    }
}
