//! Ordering: a store may become visible after a later load of the same thread.
//!
//! Each thread stores its own flag and then loads the other's. In any interleaving at least one of
//! them sees the other's flag; that neither does takes a reordering. Release and acquire allow it
//! (the store waits in the CPU's buffer), sequential consistency does not.
//!
//! ```sh
//! cargo run --release -p seawall-sync --example reordering
//! ```

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use seawall_sync::CachePadded;

const BATCHES: usize = 2_000;
const BATCH: usize = 500;

fn main() {
    for (name, store, load) in [
        ("relaxed", Ordering::Relaxed, Ordering::Relaxed),
        ("release and acquire", Ordering::Release, Ordering::Acquire),
        (
            "sequentially consistent",
            Ordering::SeqCst,
            Ordering::SeqCst,
        ),
    ] {
        let neither: usize = (0..BATCHES).map(|_| batch(store, load)).sum();
        let rounds = BATCHES * BATCH;
        println!("{name:<24} neither saw the other in {neither:>6} of {rounds} rounds");
    }
}

/// A pair of flags for each round, so that the threads need not meet in between: they run side by
/// side and are at the same pair often enough.
fn batch(store: Ordering, load: Ordering) -> usize {
    let flag = || CachePadded::new(AtomicBool::new(false));
    let flags = [(); 2].map(|()| (0..BATCH).map(|_| flag()).collect::<Vec<_>>());
    let arrived = AtomicUsize::new(0);
    let play = |own: usize| -> Vec<bool> {
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < 2 {
            std::hint::spin_loop();
        }
        let pairs = flags[own].iter().zip(&flags[1 - own]);
        pairs
            .map(|(own, other)| {
                own.store(true, store);
                other.load(load)
            })
            .collect()
    };
    let (mine, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| play(1));
        (play(0), theirs.join().unwrap_or_default())
    });
    let saw = mine.iter().zip(&theirs);
    saw.filter(|(mine, theirs)| !**mine && !**theirs).count()
}
