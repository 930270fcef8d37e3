//! The primitives of this crate under a scheduler that tries many interleavings.
//!
//! Their sources are compiled a second time here, over locks and counters whose every use may
//! switch threads. So the normal build pays nothing, and `cargo test` runs this every time.
//! `arc-swap` and `crossbeam` stay as they are: each of their calls is one step.

#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]

#[path = "../src/pool.rs"]
mod pool;
#[path = "../src/primitives.rs"]
mod real;
#[path = "../src/sharded.rs"]
mod sharded;
#[path = "../src/snapshot/mod.rs"]
mod snapshot;
#[path = "../src/topic/mod.rs"]
mod topic;
#[path = "../src/waiters.rs"]
mod waiters;

use sharded::{Shard, Sharded};

mod primitives {
    pub(crate) use super::real::model::{AtomicU64, Mutex};
}

/// Random schedules per test.
const SCHEDULES: usize = 300;

mod snapshots {
    use super::SCHEDULES;
    use super::snapshot::Snapshot;
    use shuttle::sync::Arc;
    use shuttle::{check_random, future::block_on, thread};

    #[test]
    fn value_and_version_belong_together_and_no_change_is_slept_through() {
        check_random(
            || {
                let snapshot = Arc::new(Snapshot::new((0u64, 0u64)));
                let writers: Vec<_> = (0..2)
                    .map(|_| {
                        let snapshot = Arc::clone(&snapshot);
                        thread::spawn(move || {
                            snapshot.update(|old| (old.0 + 1, old.1 + 1));
                        })
                    })
                    .collect();
                let mut seen = snapshot.load_versioned();
                while seen.version < 2 {
                    seen = block_on(snapshot.changed(seen.version));
                    assert_eq!(*seen.value, (seen.version, seen.version));
                }
                writers.into_iter().for_each(|w| w.join().unwrap());
            },
            SCHEDULES,
        );
    }

    #[test]
    fn changes_are_applied_once_each_and_in_time() {
        check_random(
            || {
                let snapshot = Arc::new(Snapshot::new(0u64));
                let writers: Vec<_> = (0..3u64)
                    .map(|i| {
                        let snapshot = Arc::clone(&snapshot);
                        thread::spawn(move || {
                            let own = 1 << (8 * i);
                            snapshot.modify(move |value| *value += own);
                            assert!(snapshot.load_full().to_le_bytes()[i as usize] == 1);
                        })
                    })
                    .collect();
                writers.into_iter().for_each(|w| w.join().unwrap());
                assert_eq!(*snapshot.load_full(), 0x01_01_01);
                assert!(snapshot.version() <= 3);
            },
            SCHEDULES,
        );
    }
}

mod panics {
    use super::SCHEDULES;
    use super::snapshot::Snapshot;
    use shuttle::{check_random, thread};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    struct Fragile {
        changes: usize,
        breaks: Arc<AtomicBool>,
    }

    impl Clone for Fragile {
        fn clone(&self) -> Self {
            assert!(!self.breaks.swap(false, SeqCst), "on purpose");
            Self {
                changes: self.changes,
                breaks: self.breaks.clone(),
            }
        }
    }

    #[test]
    fn a_copy_that_panics_loses_no_change_of_another_thread() {
        check_random(
            || {
                let breaks = Arc::new(AtomicBool::new(true));
                let snapshot = Arc::new(Snapshot::new(Fragile { changes: 0, breaks }));
                let writers: Vec<_> = (0..3)
                    .map(|_| {
                        let snapshot = Arc::clone(&snapshot);
                        thread::spawn(move || {
                            let modify = || snapshot.modify(|value| value.changes += 1);
                            catch_unwind(AssertUnwindSafe(modify)).is_ok()
                        })
                    })
                    .collect();
                let done = writers.into_iter().map(|w| w.join().unwrap());
                let done = done.filter(|done| *done).count();
                assert_eq!(done, 2);
                assert!(snapshot.load().changes >= done, "a change was lost");
            },
            SCHEDULES,
        );
    }
}

mod pools {
    use super::SCHEDULES;
    use super::pool::Pool;
    use shuttle::sync::Arc;
    use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use shuttle::{check_random, thread};

    #[test]
    fn no_object_is_held_twice_or_kept_beyond_two_steps() {
        check_random(
            || {
                let made = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&made);
                let make = move || (count.fetch_add(1, SeqCst), false);
                let pool = Arc::new(Pool::with_shards(4, 1, make, |_| true));
                let users: Vec<_> = (0..3)
                    .map(|_| {
                        let pool = Arc::clone(&pool);
                        thread::spawn(move || {
                            let mut held = [pool.get(), pool.get()];
                            for object in &mut held {
                                assert!(!std::mem::replace(&mut object.1, true));
                            }
                            thread::yield_now();
                            held.iter_mut().for_each(|object| object.1 = false);
                            drop(held);
                            pool.age();
                        })
                    })
                    .collect();
                users.into_iter().for_each(|user| user.join().unwrap());
                assert!(made.load(SeqCst) <= 6);
                pool.age();
                pool.age();
                assert_eq!(pool.idle(), 0);
            },
            SCHEDULES,
        );
    }
}

mod topics {
    use super::SCHEDULES;
    use super::topic::{Publisher, RecvError, WhenBehind};
    use shuttle::{check_random, future::block_on, thread};

    #[test]
    fn messages_come_whole_and_in_order_and_nobody_sleeps_through_one() {
        check_random(
            || {
                let mut publisher = Publisher::new();
                let answers = [
                    WhenBehind::Wait,
                    WhenBehind::DropOldest,
                    WhenBehind::Disconnect,
                ];
                let readers = answers.map(|answer| {
                    let mut reader = publisher.subscribe(1, answer);
                    thread::spawn(move || {
                        let mut next = 0u64;
                        loop {
                            match block_on(reader.recv()) {
                                Ok(message) => {
                                    assert_eq!(*message, (next, !next));
                                    next += 1;
                                }
                                Err(RecvError::Missed { missed }) => next += missed,
                                Err(RecvError::Closed) => break,
                                Err(RecvError::Disconnected { .. }) => return,
                            }
                        }
                        assert_eq!(next, 3);
                    })
                });
                for i in 0..3u64 {
                    block_on(publisher.publish((i, !i)));
                }
                drop(publisher);
                readers
                    .into_iter()
                    .for_each(|reader| reader.join().unwrap());
            },
            SCHEDULES,
        );
    }
}
