//! A hit in process: what the cache adds to the table it keeps its entries in.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seawall_cache::Cache;

use crate::compare::case::{Case, threads};
use crate::compare::{Metric, together};
use crate::peers::Peer;

const MOKA: Peer = Peer::Library("moka");
/// As it is used where entries expire.
const MOKA_TTL: Peer = Peer::Library("moka, time_to_live");
/// Hits by a thread in a run of full length.
const HITS: f64 = 4e6;
/// Keys, each as often as the other.
const KEYS: u64 = 1_000;
const TTL: Duration = Duration::from_secs(3_600);

pub(super) fn cases() -> Vec<Case> {
    [1, 2].into_iter().flat_map(of_threads).collect()
}

fn of_threads(count: usize) -> [Case; 2] {
    let peers = [Peer::Seawall, MOKA, MOKA_TTL];
    let get = Case::new(
        format!("hit, get, {}", threads(count)),
        &peers,
        move |peer, setup| {
            let hits = setup.length(HITS) as u64;
            if peer == Peer::Seawall {
                let cache = ours()?;
                measure(count, hits, |key| cache.get(&key))
            } else {
                let cache = moka(peer);
                measure(count, hits, |key| cache.get(&key))
            }
        },
    );
    let load = Case::new(
        format!("hit, get_or_load, {}", threads(count)),
        &peers,
        move |peer, setup| {
            let hits = setup.length(HITS) as u64;
            if peer == Peer::Seawall {
                let cache = ours()?;
                measure(count, hits, |key| {
                    let load = || async { Ok::<_, std::io::Error>(None) };
                    ready(cache.get_or_load(&key, load))?.ok().flatten()
                })
            } else {
                let cache = moka(peer);
                measure(count, hits, |key| cache.get(&key))
            }
        },
    );
    [get, load]
}

fn measure<V>(
    count: usize,
    hits: u64,
    get: impl Fn(u64) -> Option<Arc<V>> + Sync,
) -> anyhow::Result<Vec<Metric>> {
    together::cost("hit", "<= 1.2 x moka", count, hits, |index, hits| {
        for n in 0..hits {
            // Neighbours, and on each thread another one.
            let key = (n + index as u64 * KEYS / 2) % KEYS;
            black_box(get(key));
        }
    })
}

fn ours() -> anyhow::Result<Cache<u64, u64>> {
    let settings = seawall_cache::Settings {
        ttl: TTL,
        ..Default::default()
    };
    let cache = Cache::builder("hits").settings(settings).build();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    for key in 0..KEYS {
        let load = move || async move { Ok::<_, std::io::Error>(Some(key)) };
        runtime.block_on(cache.get_or_load(&key, load))?;
    }
    Ok(cache)
}

fn moka(peer: Peer) -> moka::sync::Cache<u64, Arc<u64>> {
    let builder = moka::sync::Cache::builder().max_capacity(10_000);
    let cache = match peer {
        MOKA_TTL => builder.time_to_live(TTL).build(),
        _ => builder.build(),
    };
    for key in 0..KEYS {
        cache.insert(key, Arc::new(key));
    }
    cache
}

/// What a future that does not wait comes to.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
