//! What the places promise; under every interleaving of two threads, `tests/loom.rs`.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use proptest::prelude::*;
use seawall_sync::{Shard, Sharded};

use super::places::Places;
use super::tally::Tally;

proptest! {
    /// Whatever is taken and given on whichever shard: never more in use than the limit, and
    /// with the shards' spare places taken back, exactly as many free as there should be.
    #[test]
    fn places_are_conserved(limit in 1u32..200, steps in prop::collection::vec((0usize..4, 1u32..5, any::<bool>()), 1..300)) {
        let (places, shards) = (Places::new(limit, 4), Sharded::new(4, Tally::new));
        let mut held: Vec<u32> = Vec::new();
        for (shard, cost, take) in steps {
            if take {
                if places.take(cost, &mut shards.get(Shard(shard)).lock()) || places.take_slowly(cost, &shards) {
                    held.push(cost);
                } else {
                    prop_assert!(held.iter().sum::<u32>() + cost > limit);
                }
            } else if let Some(cost) = held.pop() {
                places.give(cost, &mut shards.get(Shard(shard)).lock());
            }
            let used: u32 = held.iter().sum();
            prop_assert_eq!(places.inflight(&shards), used);
            prop_assert!(used <= limit || held.len() == 1);
        }
    }
}

#[test]
fn threads_never_exceed_the_limit() {
    let (places, shards) = (Places::new(64, 4), Sharded::new(4, Tally::new));
    let (used, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|thread| {
            let (places, shards, used, most) = (&places, &shards, &used, &most);
            scope.spawn(move || {
                for _ in 0..20_000 {
                    let own = shards.get(Shard(thread));
                    if places.take(1, &mut own.lock()) {
                        most.fetch_max(used.fetch_add(1, SeqCst) + 1, SeqCst);
                        used.fetch_sub(1, SeqCst);
                        places.give(1, &mut own.lock());
                    }
                }
            })
        });
        // Joined one by one: `cargo xtask race` does not see what a scope's end orders.
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert!(most.load(SeqCst) <= 64);
    assert_eq!(places.inflight(&shards), 0);
}
