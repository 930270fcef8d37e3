//! Reading a snapshot while a writer swaps it 1,000 times a second.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_sync::Snapshot;

use super::{Case, Metric, threads, together};
use crate::peers::Peer;

const ARC_SWAP: Peer = Peer::Library("arc-swap");
/// Reads of a thread in a run of full length.
const READS: f64 = 2e7;
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn cases() -> Vec<Case> {
    let case = |readers, goal| {
        let name = format!("snapshot read, {}, 1,000 writes/s", threads(readers));
        Case::new(name, &[Peer::Seawall, ARC_SWAP], move |peer, setup| {
            let reads = setup.length(READS) as u64;
            if peer == Peer::Seawall {
                let shared = Snapshot::new(0_u64);
                measure(
                    goal,
                    readers,
                    reads,
                    || **shared.load(),
                    |n| shared.store(n),
                )
            } else {
                let shared = ArcSwap::from_pointee(0_u64);
                measure(
                    goal,
                    readers,
                    reads,
                    || **shared.load(),
                    |n| shared.store(Arc::new(n)),
                )
            }
        })
    };
    vec![case(1, "<= 15"), case(2, "<= 20")]
}

fn measure(
    goal: &'static str,
    readers: usize,
    reads: u64,
    read: impl Fn() -> u64 + Sync,
    write: impl Fn(u64) + Sync,
) -> anyhow::Result<Vec<Metric>> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut version = 0;
            while !done.load(Relaxed) {
                version += 1;
                write(version);
                std::thread::sleep(PAUSE);
            }
        });
        let cost = together::cost("read", goal, readers, reads, |_, reads| {
            for _ in 0..reads {
                black_box(read());
            }
        });
        done.store(true, Relaxed);
        cost
    })
}
