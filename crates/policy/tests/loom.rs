//! The places of a gate under every interleaving and every allowed reordering of two threads.
//!
//! `places.rs` is compiled a second time here, over loom's words and a tally that holds nothing but
//! spare places, so that the normal build pays nothing and `cargo test` runs this every time. loom
//! treats SeqCst as acquire and release, which is less than the code asks for: what holds here does
//! not hang on more.

#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "../src/admit/places.rs"]
mod places;

use std::sync::Arc;

use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use loom::thread;
use places::Places;
use seawall_sync::{Shard, Sharded};
use tally::{AtomicU32, Tally};

mod tally {
    pub(crate) use loom::sync::atomic::AtomicU32;
    use loom::sync::atomic::Ordering::Relaxed;
    use loom::sync::{Mutex, MutexGuard};

    /// A shard's spare places: written under its lock, read without.
    pub(crate) struct Tally {
        lock: Mutex<()>,
        spare: AtomicU32,
    }

    pub(crate) struct Held<'a> {
        tally: &'a Tally,
        _lock: MutexGuard<'a, ()>,
    }

    impl Tally {
        pub(crate) fn new() -> Self {
            Self {
                lock: Mutex::new(()),
                spare: AtomicU32::new(0),
            }
        }

        pub(crate) fn lock(&self) -> Held<'_> {
            Held {
                _lock: self.lock.lock().expect("no model panics while it holds it"),
                tally: self,
            }
        }

        pub(crate) fn spare(&self) -> u32 {
            self.spare.load(Relaxed)
        }
    }

    impl Held<'_> {
        pub(crate) fn spare(&self) -> u32 {
            self.tally.spare()
        }

        pub(crate) fn set_spare(&mut self, spare: u32) {
            self.tally.spare.store(spare, Relaxed);
        }
    }
}

struct Gate {
    places: Places,
    shards: Sharded<Tally>,
    backlog: AtomicU32,
    used: AtomicU32,
}

/// With `limit` places, all but `free` of them taken for good.
fn gate(limit: u32, free: u32) -> Arc<Gate> {
    let gate = Gate {
        places: Places::new(limit, 2),
        shards: Sharded::new(2, Tally::new),
        backlog: AtomicU32::new(0),
        used: AtomicU32::new(0),
    };
    gate.places.take_anyway(limit - free);
    Arc::new(gate)
}

impl Gate {
    fn take(&self, shard: usize) -> bool {
        let taken = self
            .places
            .take(1, &mut self.shards.get(Shard(shard)).lock());
        taken || self.places.take_slowly(1, &self.shards)
    }

    /// Gives a place back and looks whether somebody waits, as `Gate::finish` does.
    fn give(&self, shard: usize) -> bool {
        self.places
            .give(1, &mut self.shards.get(Shard(shard)).lock());
        self.backlog.load(SeqCst) > 0
    }

    /// Says that somebody waits and looks for a place once more, as `Gate::wait` does.
    fn wait(&self) -> bool {
        self.backlog.store(1, SeqCst);
        self.places.take_slowly(1, &self.shards)
    }
}

/// Two threads take and give on shards of their own.
fn never_more_than(limit: u32, free: u32) {
    loom::model(move || {
        let gate = gate(limit, free);
        let threads = [0, 1].map(|shard| {
            let gate = gate.clone();
            thread::spawn(move || {
                if gate.take(shard) {
                    assert!(gate.used.fetch_add(1, Relaxed) < free);
                    gate.used.fetch_sub(1, Relaxed);
                    gate.give(shard);
                }
            })
        });
        for thread in threads {
            thread.join().expect("no thread panics");
        }
        assert_eq!(gate.places.inflight(&gate.shards), limit - free);
    });
}

#[test]
fn one_place_is_never_given_twice() {
    never_more_than(1, 1);
}

#[test]
fn nor_where_shards_keep_places_at_hand() {
    never_more_than(16, 1);
    never_more_than(16, 5);
}

/// Whoever waits either finds the place that is given back, or is seen by who gives it.
fn no_wake_up_is_lost(limit: u32) {
    loom::model(move || {
        let gate = gate(limit, 1);
        assert!(gate.take(0));
        let giver = {
            let gate = gate.clone();
            thread::spawn(move || gate.give(0))
        };
        let found = gate.wait();
        let seen = giver.join().expect("it does not panic");
        assert!(found || seen, "a place is free, and nobody knows");
    });
}

#[test]
fn no_wake_up_is_lost_at_a_small_limit() {
    no_wake_up_is_lost(1);
}

#[test]
fn no_wake_up_is_lost_where_shards_keep_places_at_hand() {
    no_wake_up_is_lost(16);
}
