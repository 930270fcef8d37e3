//! State that every request writes, split so that threads do not fight over a cache line.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// The index of the shard that a thread writes to; reduced modulo the shard count on use.
///
/// Costs one thread-local read. Threads are numbered in order of their first use, so as many
/// long-lived threads as there are shards never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(pub usize);

impl Shard {
    /// The calling thread's shard.
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static INDEX: Cell<usize> = const { Cell::new(usize::MAX) });
        INDEX.with(|index| {
            if index.get() == usize::MAX {
                index.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            Self(index.get())
        })
    }
}

/// A fixed number of copies of `T`, each on cache lines of its own.
///
/// Writers pick a copy by [`Shard`], readers fold over all. `T` must be safe to share
/// (atomics, locks), since more threads than shards may run.
///
/// ```
/// use seawall_sync::{Shard, Sharded};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let count = Sharded::new(4, || AtomicU64::new(0));
/// count.get(Shard::current()).fetch_add(2, Ordering::Relaxed);
/// let total: u64 = count.iter().map(|c| c.load(Ordering::Relaxed)).sum();
/// assert_eq!(total, 2);
/// ```
#[derive(Debug)]
pub struct Sharded<T> {
    // The length is a power of two, so that picking a shard is a mask.
    shards: Box<[CachePadded<T>]>,
}

impl<T> Sharded<T> {
    /// `count` shards, rounded up to a power of two, at least 1. A drill passes 1.
    pub fn new(count: usize, mut make: impl FnMut() -> T) -> Self {
        let count = count.max(1).next_power_of_two();
        Self {
            shards: (0..count).map(|_| CachePadded::new(make())).collect(),
        }
    }

    /// The copy that belongs to `shard`.
    #[inline]
    #[must_use]
    pub fn get(&self, shard: Shard) -> &T {
        &self.shards[shard.0 & (self.shards.len() - 1)]
    }

    /// Every copy, for a reader that adds them up. The sum is not a snapshot of one instant.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().map(|padded| &**padded)
    }

    /// How many copies there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn counts_from_many_threads_add_up() {
        let count = Sharded::new(3, || AtomicU64::new(0));
        assert_eq!(count.count(), 4);
        std::thread::scope(|scope| {
            let add = || {
                for _ in 0..1_000 {
                    count.get(Shard::current()).fetch_add(1, Ordering::Relaxed);
                }
            };
            // Joined one by one: `cargo xtask race` does not see what a scope's end orders.
            for thread in [(); 6].map(|()| scope.spawn(add)) {
                thread.join().unwrap();
            }
        });
        assert_eq!(
            count.iter().map(|c| c.load(Ordering::Relaxed)).sum::<u64>(),
            6_000
        );
    }
}
