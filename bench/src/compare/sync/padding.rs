//! False sharing: counters that are apart in the program and together on a cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_sync::{Shard, Sharded};

use super::{Case, threads, together};
use crate::peers::Peer;

/// A counter a thread, side by side in one array.
const PACKED: Peer = Peer::Library("packed array");
/// One counter for all.
const ONE: Peer = Peer::Library("one counter");
/// Additions of a thread in a run of full length.
const ADDITIONS: f64 = 2e7;

pub(super) fn cases() -> Vec<Case> {
    let case = |count| {
        let name = format!("count, {}", threads(count));
        Case::new(name, &[Peer::Seawall, PACKED, ONE], move |peer, setup| {
            let additions = setup.length(ADDITIONS) as u64;
            if peer == Peer::Seawall {
                let counters = Sharded::new(count, || AtomicU64::new(0));
                together::cost("addition", "", count, additions, |_, additions| {
                    for _ in 0..additions {
                        counters.get(Shard::current()).fetch_add(1, Relaxed);
                    }
                })
            } else {
                // Aligned, so that all of them lie on one line wherever this is.
                #[repr(align(64))]
                struct Line([AtomicU64; 8]);
                let line = Line(Default::default());
                together::cost("addition", "", count, additions, |index, additions| {
                    let mine = if peer == PACKED { index % 8 } else { 0 };
                    for _ in 0..additions {
                        line.0[mine].fetch_add(1, Relaxed);
                    }
                })
            }
        })
    };
    vec![case(1), case(2)]
}
