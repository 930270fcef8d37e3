//! Coalesced calls: distinct keys, where nothing is coalesced and so all is cost.

use std::hint::black_box;

use async_singleflight::UnaryGroup;
use seawall_sync::Flight;

use super::{Case, Metric, together};
use crate::peers::Peer;

const SINGLEFLIGHT: Peer = Peer::Library("async_singleflight");
/// A task spawned and awaited: what detached work costs at the least.
const SPAWN: Peer = Peer::Library("spawn and await");
/// Calls of a pass, and passes in a run of full length.
const CALLS: u64 = 200_000;
const PASSES: f64 = 15.0;

pub(super) fn cases() -> Vec<Case> {
    let driven = Case::new(
        "flight, distinct keys, driven by waiters",
        &[Peer::Seawall, SINGLEFLIGHT],
        |peer, setup| {
            let flight = Flight::new();
            let peers = UnaryGroup::<u64, u64>::new();
            measure("<= 250", setup.length(PASSES), async |key| {
                if peer == Peer::Seawall {
                    black_box(flight.run(key, async move { key }).await.is_ok());
                } else {
                    black_box(peers.work(&key, async move { key }).await);
                }
            })
        },
    );
    let detached = Case::new(
        "flight, distinct keys, detached",
        &[Peer::Seawall, SPAWN],
        |peer, setup| {
            let flight = Flight::new().detached();
            measure("<= 800", setup.length(PASSES), async |key| {
                if peer == Peer::Seawall {
                    black_box(flight.run(key, async move { key }).await.is_ok());
                } else {
                    black_box(tokio::spawn(async move { key }).await.is_ok());
                }
            })
        },
    );
    vec![driven, detached]
}

fn measure(
    goal: &'static str,
    passes: f64,
    call: impl AsyncFn(u64),
) -> anyhow::Result<Vec<Metric>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    together::passes("call", goal, CALLS as usize, passes.ceil() as usize, || {
        runtime.block_on(async {
            for key in 0..CALLS {
                call(key).await;
            }
        });
        Ok(())
    })
}
