//! Pools: what is kept, for how long, and threads against each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;
use seawall_sync::Pool;

/// Counts those alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Relaxed);
        Self(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn counted(capacity: usize) -> (Pool<Counted>, Arc<AtomicUsize>) {
    let alive = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&alive);
    let make = move || Counted::new(&made);
    (Pool::with_shards(capacity, 1, make, |_| true), alive)
}

#[test]
fn an_owned_object_keeps_its_pool_and_comes_back_to_it() {
    let (pool, alive) = counted(2);
    let pool = Arc::new(pool);
    let (one, other) = (pool.get_owned(), pool.get_owned());
    drop(one);
    drop(pool.get());
    assert_eq!(alive.load(Relaxed), 2, "the first was used again");
    drop(pool);
    assert_eq!(alive.load(Relaxed), 2);
    drop(other);
    assert_eq!(alive.load(Relaxed), 0);
}

#[test]
fn memory_shrinks_when_idle_but_what_is_used_stays() {
    let (pool, alive) = counted(100);
    drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!((pool.age(), alive.load(Relaxed)), (0, 10));
    // Two at a time are still needed; the other eight are not.
    drop([pool.get(), pool.get()]);
    assert_eq!((pool.age(), alive.load(Relaxed)), (8, 2));
    assert_eq!((pool.age(), alive.load(Relaxed)), (2, 0));
}

#[test]
fn what_has_grown_too_large_is_not_kept() {
    let pool: Pool<Vec<u8>> = Pool::recycling(10, Vec::new);
    pool.get().reserve(1 << 20);
    assert_eq!(pool.get().capacity(), 0);
    pool.get().reserve(1 << 10);
    assert!(pool.get().capacity() >= 1 << 10);
}

#[test]
fn an_object_returned_on_another_thread_is_found() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let make = move || count.fetch_add(1, Relaxed);
    let pool = Pool::with_shards(10, 4, make, |_| true);
    for _ in 0..10 {
        let object = pool.get();
        std::thread::scope(|scope| scope.spawn(|| drop(object)).join().unwrap());
    }
    assert_eq!(made.load(Relaxed), 1);
}

#[test]
fn threads_never_share_an_object_and_never_see_it_uncleared_or_torn() {
    let pool = Pool::with_shards(
        8,
        2,
        || (0u64, 0u64),
        |pair| {
            *pair = (0, 0);
            true
        },
    );
    std::thread::scope(|scope| {
        let users = [1u64, 2, 3, 4].map(|thread| {
            let pool = &pool;
            scope.spawn(move || {
                for i in 0..20_000 {
                    let mut held = [pool.get(), pool.get()];
                    for (at, object) in held.iter_mut().enumerate() {
                        assert_eq!(**object, (0, 0));
                        let mark = thread << 40 | i << 1 | at as u64;
                        **object = (mark, mark);
                    }
                    assert_eq!(held[0].0, held[0].1);
                    assert_ne!(held[0].0, held[1].0);
                    if i % 1_000 == 0 {
                        pool.age();
                    }
                }
            })
        });
        // ThreadSanitizer sees threads joined, but not a scope ended.
        users.into_iter().for_each(|user| user.join().unwrap());
    });
}

proptest! {
    /// Never more idle objects than the capacity, none lost, none alive twice.
    #[test]
    fn objects_are_conserved(capacity in 1usize..6, steps in prop::collection::vec(0u8..4, 0..100)) {
        let (pool, alive) = counted(capacity);
        let mut held = Vec::new();
        for step in steps {
            match step {
                0 | 1 => held.push(pool.get()),
                2 => drop(held.pop()),
                _ => _ = pool.age(),
            }
            prop_assert!(alive.load(Relaxed) <= held.len() + capacity.max(2));
            prop_assert!(alive.load(Relaxed) >= held.len() + pool.idle());
        }
        drop(held);
        pool.age();
        pool.age();
        prop_assert_eq!(alive.load(Relaxed), 0);
    }
}
