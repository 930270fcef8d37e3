//! Objects that are expensive to make, kept for the next user.
//!
//! Each shard has one object in front, in a `crossbeam` `AtomicCell`: to take or return it is one
//! atomic exchange, and a thread that uses one object at a time needs no more. Behind it, under a
//! lock, are two generations, as in Go's `sync.Pool`. What is returned is young;
//! [`age`](Pool::age) drops the old and makes the young old. An object that is used in between is
//! young again, so exactly those that nobody needed for a whole step are dropped, and memory
//! follows the use down.
//!
//! The pool steps by `age` alone, not by counting calls: memory has to shrink when there are none.
//! It has no clock either; whoever has one calls `age` every few seconds or minutes.
//!
//! The front object must be reachable for `age` whether or not its thread ever comes back. Hence a
//! shared cell, where a thread-local one would cost less.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crossbeam_utils::atomic::AtomicCell;

use crate::primitives::Mutex;
use crate::{Shard, Sharded};

/// An object that can be used again.
pub trait Recycle {
    /// Clears what the last user left; `false` to have the object dropped, for one that has grown
    /// too large to keep. Must not panic.
    fn recycle(&mut self) -> bool;
}

/// Buffers larger than this are not kept: one huge body would hold its memory for ever.
const KEEP_BYTES: usize = 64 * 1024;

/// Keeps its memory up to 64 KiB.
impl Recycle for Vec<u8> {
    fn recycle(&mut self) -> bool {
        self.clear();
        self.capacity() <= KEEP_BYTES
    }
}

/// Keeps its memory up to 64 KiB.
impl Recycle for String {
    fn recycle(&mut self) -> bool {
        self.clear();
        self.capacity() <= KEEP_BYTES
    }
}

type Make<T> = Box<dyn Fn() -> T + Send + Sync>;
type Clear<T> = Box<dyn Fn(&mut T) -> bool + Send + Sync>;

/// A bounded pool of reusable objects, sharded by thread.
///
/// [`get`](Self::get) and the return on drop cost about 15 ns together where each thread uses one
/// object at a time; a lock of its shard more for each further one. Objects stay where they were
/// returned; a thread that finds none looks into the other shards before it makes one.
///
/// ```
/// use seawall_sync::Pool;
///
/// let buffers: Pool<Vec<u8>> = Pool::recycling(100, Vec::new);
/// let mut buffer = buffers.get();
/// buffer.extend_from_slice(b"body");
/// drop(buffer);
/// let again = buffers.get();
/// assert!(again.is_empty() && again.capacity() >= 4);
/// ```
pub struct Pool<T> {
    shards: Sharded<Idle<T>>,
    /// The most objects of a shard in both generations; the front holds one besides.
    behind: usize,
    make: Make<T>,
    clear: Clear<T>,
}

struct Idle<T> {
    front: AtomicCell<Option<Box<T>>>,
    generations: Mutex<Generations<T>>,
}

struct Generations<T> {
    young: Vec<Box<T>>,
    old: Vec<Box<T>>,
}

impl<T> Generations<T> {
    fn take(&mut self) -> Option<Box<T>> {
        self.young.pop().or_else(|| self.old.pop())
    }
}

impl<T: Recycle + Send + 'static> Pool<T> {
    /// As [`Pool::new`], for objects that know how to be cleared.
    pub fn recycling(capacity: usize, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self::new(capacity, make, T::recycle)
    }
}

impl<T> Pool<T> {
    /// A pool that keeps at most `capacity` idle objects, divided among the CPUs, rounded up, and at
    /// least two each.
    ///
    /// `make` is called where none is idle. `clear` is called on return, so that what an object
    /// refers to is freed then; it answers whether to keep the object, and must not panic.
    pub fn new(
        capacity: usize,
        make: impl Fn() -> T + Send + Sync + 'static,
        clear: impl Fn(&mut T) -> bool + Send + Sync + 'static,
    ) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_shards(capacity, cpus, make, clear)
    }

    /// As [`Pool::new`], with a stated number of shards (rounded up to a power of two) in place of
    /// one a CPU.
    pub fn with_shards(
        capacity: usize,
        shards: usize,
        make: impl Fn() -> T + Send + Sync + 'static,
        clear: impl Fn(&mut T) -> bool + Send + Sync + 'static,
    ) -> Self {
        let shards = Sharded::new(shards, || Idle {
            front: AtomicCell::new(None),
            generations: Mutex::new(Generations {
                young: Vec::new(),
                old: Vec::new(),
            }),
        });
        Self {
            // Room for the front object once it ages.
            behind: capacity.div_ceil(shards.count()).saturating_sub(1).max(1),
            shards,
            make: Box::new(make),
            clear: Box::new(clear),
        }
    }

    /// An idle object, or a new one where there is none. Returned to the pool when dropped.
    ///
    /// Never waits for another thread's use of an object.
    #[inline]
    pub fn get(&self) -> Pooled<'_, T> {
        Held {
            object: Some(self.take()),
            pool: self,
        }
    }

    /// As [`get`](Self::get), for an object that outlives the borrow; a counted reference more.
    ///
    /// ```
    /// use seawall_sync::Pool;
    /// use std::sync::Arc;
    ///
    /// let buffers: Arc<Pool<Vec<u8>>> = Arc::new(Pool::recycling(100, Vec::new));
    /// let mut buffer = buffers.get_owned();
    /// std::thread::spawn(move || buffer.push(7)).join().unwrap();
    /// ```
    #[inline]
    pub fn get_owned(self: &Arc<Self>) -> PooledOwned<T> {
        Held {
            object: Some(self.take()),
            pool: Arc::clone(self),
        }
    }

    #[inline]
    fn take(&self) -> Box<T> {
        let shard = self.shards.get(Shard::current());
        let object = shard.front.swap(None);
        object.unwrap_or_else(|| self.get_slowly(shard))
    }

    #[cold]
    fn get_slowly(&self, own: &Idle<T>) -> Box<T> {
        let idle = own.generations.lock().take();
        // Not waiting for their locks: to make an object is better than to queue for one.
        let elsewhere = || {
            self.shards.iter().find_map(|shard| {
                let found = shard.front.swap(None);
                found.or_else(|| shard.generations.try_lock()?.take())
            })
        };
        idle.or_else(elsewhere)
            .unwrap_or_else(|| Box::new((self.make)()))
    }

    #[inline]
    fn put(&self, mut object: Box<T>) {
        if !(self.clear)(&mut object) {
            return;
        }
        let shard = self.shards.get(Shard::current());
        if let Some(second) = shard.front.swap(Some(object)) {
            self.put_behind(shard, second);
        }
    }

    #[cold]
    fn put_behind(&self, shard: &Idle<T>, object: Box<T>) {
        let mut generations = shard.generations.lock();
        if generations.young.len() + generations.old.len() < self.behind {
            generations.young.push(object);
            return;
        }
        // Full: the newcomer takes the place of one that was idle for longer, if there is one.
        let dropped = match generations.old.pop() {
            Some(old) => {
                generations.young.push(object);
                old
            }
            None => object,
        };
        drop(generations);
        // A destructor may be slow; not under the lock.
        drop(dropped);
    }

    /// One step of age: drops what has been idle since before the last step. Returns how many.
    ///
    /// Called twice without any use in between, it leaves nothing.
    pub fn age(&self) -> usize {
        let age = |shard: &Idle<T>| {
            let mut generations = shard.generations.lock();
            let young = std::mem::take(&mut generations.young);
            let dropped = std::mem::replace(&mut generations.old, young);
            let front = shard.front.swap(None);
            // Full: the front object, used last, takes the place of one of its age.
            let displaced = front.and_then(|front| {
                let full = generations.old.len() == self.behind;
                let displaced = if full { generations.old.pop() } else { None };
                generations.old.push(front);
                displaced
            });
            drop(generations);
            dropped.len() + usize::from(displaced.is_some())
        };
        self.shards.iter().map(age).sum()
    }

    /// How many objects are idle, without those in front of a shard (one each at most). Not exact
    /// while others come and go.
    pub fn idle(&self) -> usize {
        let of = |shard: &Idle<T>| {
            let generations = shard.generations.lock();
            generations.young.len() + generations.old.len()
        };
        self.shards.iter().map(of).sum()
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle", &self.idle())
            .field("capacity", &((self.behind + 1) * self.shards.count()))
            .finish_non_exhaustive()
    }
}

/// An object of a [`Pool`], cleared and returned when dropped.
pub type Pooled<'a, T> = Held<T, &'a Pool<T>>;

/// As [`Pooled`], and keeps the pool alive: for an object that goes along with a task.
pub type PooledOwned<T> = Held<T, Arc<Pool<T>>>;

/// An object that is held, and a reference to its pool: [`Pooled`] or [`PooledOwned`].
pub struct Held<T, P: Deref<Target = Pool<T>>> {
    /// `None` only once dropped.
    object: Option<Box<T>>,
    pool: P,
}

const HELD: &str = "an object is held until it is dropped";

impl<T, P: Deref<Target = Pool<T>>> Held<T, P> {
    /// The object itself, which the pool gets back no more.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        *self.object.take().expect(HELD)
    }
}

impl<T, P: Deref<Target = Pool<T>>> Deref for Held<T, P> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.object.as_deref().expect(HELD)
    }
}

impl<T, P: Deref<Target = Pool<T>>> DerefMut for Held<T, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.object.as_deref_mut().expect(HELD)
    }
}

impl<T, P: Deref<Target = Pool<T>>> Drop for Held<T, P> {
    #[inline]
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.pool.put(object);
        }
    }
}

impl<T: fmt::Debug, P: Deref<Target = Pool<T>>> fmt::Debug for Held<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}
