//! A value that is read on every request and replaced now and then.
//!
//! Reads go through `arc-swap`: no lock, no shared write, whatever writers do. Writers take a lock
//! among themselves rather than retry a compare-and-swap: a new value may take long to build, each
//! is built once, and the order of writes is the order of versions. Nobody who reads takes that
//! lock.
//!
//! [`Snapshot::modify`] coalesces: who waits for the lock has left its change in a list, and who
//! holds the lock applies all that is there to one copy. Under a storm of writers the copies made
//! are far fewer than the writes.
//!
//! Waiting for a change holds no state between two calls: the version that was seen last is the
//! caller's argument to [`Snapshot::changed`], so there is nothing that dropping the future could
//! lose.

mod image;
mod map;
mod queue;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::{ArcSwap, Guard};

pub use image::SaveError;
pub use map::{SnapshotMap, Table};

use crate::primitives::{AtomicU64, Mutex};
use crate::waiters::Waiters;
use queue::Queue;

/// A copy-on-write value: readers never wait, a writer swaps in a whole new value.
///
/// Used for configuration. A reader keeps what it loaded until it drops the guard, so one request
/// never sees two configurations.
///
/// Costs: [`load`](Self::load) 12–15 ns; a write one allocation, one swap and a walk over the
/// threads that have ever read (`arc-swap`'s price for wait-free reads).
///
/// ```
/// use seawall_sync::Snapshot;
///
/// let limit = Snapshot::new(10);
/// let before = limit.load();
/// limit.store(20);
/// assert_eq!((**before, **limit.load()), (10, 20));
///
/// limit.update(|old| old + 1);
/// assert_eq!(**limit.load(), 21);
/// ```
pub struct Snapshot<T> {
    value: ArcSwap<T>,
    /// Of what `value` holds; changes together with it, under `publishing`.
    version: AtomicU64,
    /// Held while a value is built and swapped in.
    writing: Mutex<()>,
    /// Held only for the swap, so that a pair of value and version can be read while a writer
    /// builds.
    publishing: Mutex<()>,
    /// Held by who saves, so that no older image replaces a newer one.
    saving: Mutex<()>,
    changes: Queue<T>,
    waiters: Waiters,
}

/// A value and the version under which it was published.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    /// Starts at 0 and grows by 1 with each swap.
    pub version: u64,
    /// What was published under it.
    pub value: Arc<T>,
}

impl<T> Snapshot<T> {
    /// Starts with `value`, version 0.
    pub fn new(value: T) -> Self {
        Self {
            value: ArcSwap::from_pointee(value),
            version: AtomicU64::new(0),
            writing: Mutex::new(()),
            publishing: Mutex::new(()),
            saving: Mutex::new(()),
            changes: Queue::default(),
            waiters: Waiters::new(),
        }
    }

    /// The value of now, without counting a reference; hold it briefly. Wait-free.
    #[inline]
    pub fn load(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// The value of now, to keep across an await. Wait-free.
    pub fn load_full(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// How many swaps there have been. Wait-free; who sees version *n* here then loads that value
    /// or a later one.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The value of now with its version, which belong together. Waits at most for a swap.
    pub fn load_versioned(&self) -> Versioned<T> {
        let _swap = self.publishing.lock();
        Versioned {
            version: self.version(),
            value: self.load_full(),
        }
    }

    /// Replaces the value for everyone who loads after this call.
    ///
    /// Waits for a writer that is building a value: what that one makes of the old value must not
    /// overwrite this one.
    pub fn store(&self, value: T) {
        let writer = self.writing.lock();
        self.publish(Arc::new(value), writer);
    }

    /// Replaces the value by what `build` makes of it; no other write comes between. Returns what
    /// was published.
    ///
    /// `build` is called once. It may take long: readers do not wait, other writers do. If it
    /// panics, nothing has changed. It must not write to this snapshot: that would wait for itself.
    pub fn update(&self, build: impl FnOnce(&T) -> T) -> Arc<T> {
        let writer = self.writing.lock();
        let next = Arc::new(build(&self.value.load()));
        self.publish(Arc::clone(&next), writer);
        next
    }

    /// Waits until the version differs from `seen`, and returns the value of then with its version.
    /// Returns at once when it already does.
    ///
    /// Of several swaps in a row only the last may be seen. Needs no runtime. Cancel-safe: `seen`
    /// is all the state there is.
    ///
    /// ```
    /// use seawall_sync::Snapshot;
    ///
    /// # futures_util::future::FutureExt::now_or_never(async {
    /// let config = Snapshot::new("old");
    /// let seen = config.load_versioned();
    /// config.store("new");
    /// let next = config.changed(seen.version).await;
    /// assert_eq!((next.version, *next.value), (1, "new"));
    /// # }).unwrap();
    /// ```
    pub async fn changed(&self, seen: u64) -> Versioned<T> {
        let changed = || (self.version() != seen).then(|| self.load_versioned());
        self.waiters.until(changed).await
    }

    /// Writes the value of now to `path`, while writers go on: a consistent image, as a forked
    /// background save would give. Returns the version that was written.
    ///
    /// `write` serialises into a buffered temporary file beside `path`, which is synced to disk and
    /// then renamed over `path`: whoever opens `path` finds the old image or the new one, whole. Saves
    /// of one snapshot wait for one another; permissions of an image that is replaced are kept.
    /// The value is kept in memory until the file is written, besides what writers publish
    /// meanwhile. Blocks on the disk: on a runtime, call it on a blocking thread.
    ///
    /// # Errors
    ///
    /// [`SaveError`] names the step and the file. The old image is untouched and the temporary file
    /// removed. Only a failure to sync the directory leaves the new image in place, not yet safe
    /// from a power failure.
    ///
    /// ```
    /// use seawall_sync::Snapshot;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let routes = Snapshot::new(vec!["/a", "/b"]);
    /// routes.save(&dir.path().join("routes"), |routes, out| {
    ///     routes.iter().try_for_each(|route| writeln!(out, "{route}"))
    /// })?;
    /// assert_eq!(std::fs::read_to_string(dir.path().join("routes"))?, "/a\n/b\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(
        &self,
        path: &Path,
        write: impl FnOnce(&T, &mut dyn io::Write) -> io::Result<()>,
    ) -> Result<u64, SaveError> {
        let _saving = self.saving.lock();
        let image = self.load_versioned();
        image::save(path, |out| write(&image.value, out))?;
        Ok(image.version)
    }

    /// Gives `writing` back before anything that is not ours runs: who is woken may write, too.
    fn publish(&self, value: Arc<T>, writer: impl Sized) {
        let swap = self.publishing.lock();
        let old = self.value.swap(value);
        self.version.fetch_add(1, Ordering::Release);
        drop(swap);
        drop(writer);
        self.waiters.wake();
        // A large value takes time to drop: not while anyone waits.
        drop(old);
    }
}

impl<T: Clone> Snapshot<T> {
    /// Applies `change` to a copy of the value and publishes the copy. On return the change is
    /// published.
    ///
    /// Changes that wait for another writer are applied together, in the order they were handed
    /// in, to one copy, by whichever thread gets to write first, and published in one swap. So
    /// `change` may run on another thread, and more than once: where one of several panics, the
    /// others are applied anew without it. It must not write to this snapshot: that would wait for
    /// itself.
    ///
    /// # Panics
    ///
    /// With the panic of `change`, in the thread that handed it in. The value is as if the call had
    /// not been made.
    ///
    /// ```
    /// use seawall_sync::Snapshot;
    ///
    /// let down = Snapshot::new(Vec::new());
    /// std::thread::scope(|scope| {
    ///     for host in ["a", "b", "c"] {
    ///         let down = &down;
    ///         scope.spawn(move || down.modify(move |hosts| hosts.push(host)));
    ///     }
    /// });
    /// assert_eq!(down.load().len(), 3);
    /// assert!(down.version() <= 3);
    /// ```
    pub fn modify(&self, change: impl Fn(&mut T) + Send + 'static) {
        let ticket = self.changes.push(change);
        let writer = self.writing.lock();
        // Somebody may have applied ours along with their own.
        if let Some(next) = self.changes.apply(&self.value.load()) {
            self.publish(Arc::new(next), writer);
        } else {
            drop(writer);
        }
        self.changes.answer(ticket);
    }
}

impl<T: fmt::Debug> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version())
            .field("value", &self.load())
            .finish_non_exhaustive()
    }
}

impl<T: Default> Default for Snapshot<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
