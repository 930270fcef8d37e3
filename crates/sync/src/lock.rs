//! Locks with a name, which tell what is waited for.
//!
//! parking_lot's, and a table of waits by name and place in the code. An acquisition that succeeds at
//! once counts nothing: it is parking_lot's own compare and swap, and a test of a flag when it is
//! given up. Only one that has to wait, and so costs microseconds anyway, reads the clock: before and
//! after the wait, and when it gives the lock up again. Why the holding time, too: a lock convoy is
//! made by whoever *holds* for long, and in a convoy nearly every acquisition has waited, so that the
//! holding times of those are the holding times of all.
//!
//! Locks of one name are one row: the shards of a table, the fields of every connection. A name is
//! meant to be written in the source; rows are never removed.
//!
//! Like parking_lot's they are not poisoned by a panic. Not for holding across an `await`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Waits for one lock, or for the locks of one name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contention {
    /// The lock's name.
    pub name: &'static str,
    /// Locks of this name that there are.
    pub locks: usize,
    /// Who waits at this moment; they are not among the waits below yet.
    pub waiting: usize,
    /// By the place in the code that asked for the lock, the longest waiting first.
    pub places: Vec<PlaceContention>,
}

/// Waits of one place in the code.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PlaceContention {
    /// Where the lock was asked for.
    pub place: &'static Location<'static>,
    /// How often it was not free.
    pub waits: u64,
    /// How long was waited for it in all.
    pub waited: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How long it was held then, after those waits, in all.
    pub held: Duration,
    /// The longest of these.
    pub longest_held: Duration,
}

impl Contention {
    /// How long was waited in all.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.places.iter().map(|place| place.waited).sum()
    }

    /// How often somebody waited.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.places.iter().map(|place| place.waits).sum()
    }
}

/// All named locks, those that were waited for longest first.
#[must_use]
pub fn contention() -> Vec<Contention> {
    let rows: Vec<Arc<Row>> = ROWS.lock().values().cloned().collect();
    let mut all: Vec<Contention> = rows.iter().map(|row| row.contention()).collect();
    all.sort_by_key(|row| (std::cmp::Reverse(row.waited()), row.name));
    all
}

static ROWS: parking_lot::Mutex<BTreeMap<&'static str, Arc<Row>>> =
    parking_lot::Mutex::new(BTreeMap::new());

/// What locks of one name have in common.
#[derive(Debug)]
struct Row {
    name: &'static str,
    waiting: AtomicUsize,
    places: parking_lot::Mutex<HashMap<&'static Location<'static>, PlaceContention>>,
}

impl Row {
    fn of(name: &'static str) -> Arc<Self> {
        let mut rows = ROWS.lock();
        let row = rows.entry(name).or_insert_with(|| {
            Arc::new(Self {
                name,
                waiting: AtomicUsize::new(0),
                places: parking_lot::Mutex::default(),
            })
        });
        row.clone()
    }

    /// `free` where it succeeds at once, or else `wait`, counted.
    #[inline]
    #[track_caller]
    fn take<G>(
        self: &Arc<Self>,
        free: impl FnOnce() -> Option<G>,
        wait: impl FnOnce() -> G,
    ) -> (G, Option<Held<'_>>) {
        match free() {
            Some(guard) => (guard, None),
            None => self.take_slowly(wait),
        }
    }

    #[cold]
    #[track_caller]
    fn take_slowly<G>(self: &Arc<Self>, wait: impl FnOnce() -> G) -> (G, Option<Held<'_>>) {
        let place = Location::caller();
        let begun = Instant::now();
        self.waiting.fetch_add(1, Relaxed);
        let guard = wait();
        self.waiting.fetch_sub(1, Relaxed);
        let since = Instant::now();
        let row = self;
        let waited = since.saturating_duration_since(begun);
        (
            guard,
            Some(Held {
                row,
                place,
                waited,
                since,
            }),
        )
    }

    #[cold]
    fn count(&self, held: &Held<'_>) {
        let time = held.since.elapsed();
        let mut places = self.places.lock();
        let place = places.entry(held.place).or_insert(PlaceContention {
            place: held.place,
            waits: 0,
            waited: Duration::ZERO,
            longest: Duration::ZERO,
            held: Duration::ZERO,
            longest_held: Duration::ZERO,
        });
        place.waits += 1;
        place.waited = place.waited.saturating_add(held.waited);
        place.longest = place.longest.max(held.waited);
        place.held = place.held.saturating_add(time);
        place.longest_held = place.longest_held.max(time);
    }

    fn contention(self: &Arc<Self>) -> Contention {
        let mut places: Vec<_> = self.places.lock().values().copied().collect();
        places.sort_by_key(|place| (std::cmp::Reverse(place.waited), place.place.line()));
        Contention {
            name: self.name,
            // Less the table's, and this one.
            locks: Arc::strong_count(self).saturating_sub(2),
            waiting: self.waiting.load(Relaxed),
            places,
        }
    }
}

/// An acquisition that waited; counted when the lock is given up.
#[derive(Debug)]
struct Held<'a> {
    row: &'a Row,
    place: &'static Location<'static>,
    waited: Duration,
    since: Instant,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.row.count(self);
    }
}

macro_rules! guard {
    ($(#[$about:meta])* $name:ident, $inner:ident $(, $mutable:ident)?) => {
        $(#[$about])*
        #[derive(Debug)]
        #[must_use = "gives the lock up when dropped"]
        pub struct $name<'a, T: ?Sized> {
            guard: parking_lot::$inner<'a, T>,
            // Dropped second: the table is not written while others wait for this lock.
            _held: Option<Held<'a>>,
        }

        impl<T: ?Sized> Deref for $name<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.guard
            }
        }

        $(impl<T: ?Sized> DerefMut for $name<'_, T> {
            #[inline]
            fn $mutable(&mut self) -> &mut T {
                &mut self.guard
            }
        })?
    };
}

guard!(
    /// A [`Mutex`] that is held.
    MutexGuard, MutexGuard, deref_mut
);
guard!(
    /// A [`RwLock`] that is held with others who read.
    ReadGuard, RwLockReadGuard
);
guard!(
    /// A [`RwLock`] that is held alone.
    WriteGuard, RwLockWriteGuard, deref_mut
);

/// A lock with a name: parking_lot's, whose waits are told by [`contention`].
///
/// ```
/// use seawall_sync::{Mutex, lock};
///
/// let stock = Mutex::new("stock", 3_u32);
/// *stock.lock() -= 1;
/// let row = lock::contention().into_iter().find(|row| row.name == "stock").unwrap();
/// assert_eq!((row.locks, row.waits()), (1, 0));
/// ```
pub struct Mutex<T: ?Sized> {
    row: Arc<Row>,
    lock: parking_lot::Mutex<T>,
}

impl<T> Mutex<T> {
    /// Free, holding `value`. Looks the name up, under a lock.
    pub fn new(name: &'static str, value: T) -> Self {
        Self {
            row: Row::of(name),
            lock: parking_lot::Mutex::new(value),
        }
    }

    /// What it held.
    pub fn into_inner(self) -> T {
        self.lock.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until it is free. Costs as parking_lot's where it is.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let (guard, _held) = self.row.take(|| self.lock.try_lock(), || self.lock.lock());
        MutexGuard { guard, _held }
    }

    /// Does not wait. What is not free is not counted.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.lock.try_lock()?;
        Some(MutexGuard { guard, _held: None })
    }

    /// Nobody else has it, so nothing is locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.lock.get_mut()
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex")
            .field("name", &self.row.name)
            .finish_non_exhaustive()
    }
}

/// A lock with a name for many who read or one who writes; otherwise as [`Mutex`].
///
/// ```
/// use seawall_sync::RwLock;
///
/// let prices = RwLock::new("prices", vec![12]);
/// prices.write().push(7);
/// assert_eq!(prices.read().len(), 2);
/// ```
pub struct RwLock<T: ?Sized> {
    row: Arc<Row>,
    lock: parking_lot::RwLock<T>,
}

impl<T> RwLock<T> {
    /// Free, holding `value`. Looks the name up, under a lock.
    pub fn new(name: &'static str, value: T) -> Self {
        Self {
            row: Row::of(name),
            lock: parking_lot::RwLock::new(value),
        }
    }

    /// What it held.
    pub fn into_inner(self) -> T {
        self.lock.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T> {
        let (guard, _held) = self.row.take(|| self.lock.try_read(), || self.lock.read());
        ReadGuard { guard, _held }
    }

    /// Waits until nobody reads or writes.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        let (guard, _held) = self
            .row
            .take(|| self.lock.try_write(), || self.lock.write());
        WriteGuard { guard, _held }
    }

    /// Nobody else has it, so nothing is locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.lock.get_mut()
    }
}

impl<T: ?Sized> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("name", &self.row.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn row(name: &str) -> Contention {
        contention()
            .into_iter()
            .find(|row| row.name == name)
            .unwrap()
    }

    /// Runs `wait` on a thread of its own while `held`, and gives that up once it waits.
    fn waits<G, R: Send>(name: &str, held: G, wait: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            let waiter = scope.spawn(wait);
            while row(name).waiting == 0 {
                thread::yield_now();
            }
            drop(held);
            waiter.join().unwrap()
        })
    }

    #[test]
    fn only_who_waits_is_counted_where_it_waits() {
        const NAME: &str = "test of a mutex";
        let (lock, other) = (Mutex::new(NAME, 0_u32), Mutex::new(NAME, ()));
        for _ in 0..10 {
            *lock.lock() += 1;
            drop(other.try_lock());
        }
        assert_eq!((row(NAME).locks, row(NAME).waits()), (2, 0));
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        let line = waits(NAME, held, || {
            *lock.lock() += 1;
            line!() - 1
        });
        let row = row(NAME);
        assert_eq!((row.waits(), row.waiting, row.places.len()), (1, 0, 1));
        assert_eq!(row.places[0].place.line(), line);
        assert!(row.waited() > Duration::ZERO && row.places[0].longest_held > Duration::ZERO);
        assert_eq!(lock.into_inner(), 11);
    }

    #[test]
    fn readers_wait_for_a_writer_and_a_writer_for_readers() {
        const NAME: &str = "test of a lock for readers";
        let lock = RwLock::new(NAME, 1_u32);
        assert_eq!(*lock.read() + *lock.read(), 2);
        waits(NAME, lock.write(), || assert_eq!(*lock.read(), 1));
        waits(NAME, lock.read(), || *lock.write() = 2);
        assert_eq!((row(NAME).waits(), row(NAME).places.len()), (2, 2));
        drop(lock);
        assert_eq!(row(NAME).locks, 0);
    }
}
