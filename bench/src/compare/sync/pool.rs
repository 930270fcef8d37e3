//! Reusable objects: getting a buffer and putting it back.

use seawall_sync::Pool;

use super::{Case, threads, together};
use crate::peers::Peer;

const OBJECT_POOL: Peer = Peer::Library("object-pool");
const LOCKFREE: Peer = Peer::Library("lockfree-object-pool");
/// Uses by a thread in a run of full length.
const USES: f64 = 1e7;
const CAPACITY: usize = 64;
const BYTES: usize = 1024;

pub(super) fn cases() -> Vec<Case> {
    let case = |count, goal| {
        let name = format!("pool get and put, {}", threads(count));
        let peers = [Peer::Seawall, OBJECT_POOL, LOCKFREE];
        Case::new(name, &peers, move |peer, setup| {
            let uses = setup.length(USES) as u64;
            let make = || Vec::<u8>::with_capacity(BYTES);
            let cost = |use_one: &(dyn Fn() + Sync)| {
                together::cost("get and put", goal, count, uses, |_, uses| {
                    for _ in 0..uses {
                        use_one();
                    }
                })
            };
            if peer == Peer::Seawall {
                let pool = Pool::recycling(CAPACITY, make);
                cost(&|| pool.get().push(1))
            } else if peer == OBJECT_POOL {
                let pool = object_pool::Pool::new(CAPACITY, make);
                cost(&|| {
                    let mut buffer = pool.pull(make);
                    buffer.clear();
                    buffer.push(1);
                })
            } else {
                let pool = lockfree_object_pool::LinearObjectPool::new(make, Vec::clear);
                cost(&|| pool.pull().push(1))
            }
        })
    };
    vec![case(1, "<= 20"), case(2, "<= 25")]
}
