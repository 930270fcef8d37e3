//! Real races of a write and slow reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Fault, Fetch, Fetched, Fill, Store, Token};

const MINUTE: Duration = Duration::from_secs(60);
const READERS: u64 = 2;

/// What came of races.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raced {
    /// Races that were run.
    pub races: usize,
    /// Loads that were refused, for the write came first.
    pub refused: usize,
    /// Keys that were left with a value which is not the database's, and taken for good.
    pub stale: usize,
}

/// How readers keep what they have loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Under the lease that they loaded it under.
    Leased,
    /// As a cache without leases does: whatever happened meanwhile. To see that it is noticed.
    Anyhow,
}

/// One key: what the database has of it, and when its write is through.
struct Race {
    store: Store,
    key: Bytes,
    database: AtomicU64,
    loaded: Notify,
    written: Notify,
    refused: AtomicUsize,
}

/// Races two readers against a write and its invalidation on each of `races` keys, some dozens at a
/// time, with random pauses between their steps; every fourth time the first reader holds back what it
/// has loaded until the write is through.
pub(crate) async fn race(store: &Store, races: usize, keep: Keep) -> Result<Raced, Fault> {
    let next = Arc::new(AtomicUsize::new(0));
    let lanes = (0..32).map(|_| {
        let (store, next) = (store.clone(), next.clone());
        tokio::spawn(async move {
            let mut raced = Raced::default();
            loop {
                let number = next.fetch_add(1, SeqCst);
                if number >= races {
                    return Ok::<_, Fault>(raced);
                }
                let (refused, stale) = one(&store, number, keep).await?;
                raced.races += 1;
                raced.refused += refused;
                raced.stale += usize::from(stale);
            }
        })
    });
    let mut all = Raced::default();
    for lane in lanes.collect::<Vec<_>>() {
        // A lane that panicked has run fewer races than were asked for, and that is seen.
        if let Ok(raced) = lane.await {
            let raced = raced?;
            all.races += raced.races;
            all.refused += raced.refused;
            all.stale += raced.stale;
        }
    }
    Ok(all)
}

async fn one(store: &Store, number: usize, keep: Keep) -> Result<(usize, bool), Fault> {
    let race = Arc::new(Race {
        store: store.clone(),
        key: Bytes::from(format!("{keep:?}:{number}")),
        database: AtomicU64::new(1),
        loaded: Notify::new(),
        written: Notify::new(),
        refused: AtomicUsize::new(0),
    });
    let mut tasks = Vec::new();
    for reader in 0..READERS {
        let holds_back = number.is_multiple_of(4) && reader == 0;
        tasks.push(tokio::spawn(read(race.clone(), keep, holds_back)));
    }
    tasks.push(tokio::spawn(write(race.clone(), number.is_multiple_of(4))));
    for task in tasks {
        if let Ok(done) = task.await {
            done?;
        }
    }
    let left = match store.fetch(&race.key, &ask()).await? {
        Fetched::Hit(stored) => stored.value,
        _ => None,
    };
    let database = race.database.load(SeqCst).to_be_bytes();
    let stale = left.is_some_and(|left| left[..] != database);
    Ok((race.refused.load(SeqCst), stale))
}

async fn read(race: Arc<Race>, keep: Keep, holds_back: bool) -> Result<(), Fault> {
    if !holds_back {
        pause().await;
    }
    let ask = ask();
    if !matches!(
        race.store.fetch(&race.key, &ask).await?,
        Fetched::Granted(_)
    ) {
        // The other reader was first: the writer is not to wait for a load that never comes.
        race.loaded.notify_one();
        return Ok(());
    }
    if !holds_back {
        pause().await;
    }
    let loaded = race.database.load(SeqCst).to_be_bytes();
    if holds_back {
        race.loaded.notify_one();
        race.written.notified().await;
    } else {
        pause().await;
    }
    let fill = Fill {
        token: ask.token,
        value: Some(&loaded),
        fresh: MINUTE,
        stale: MINUTE,
        load: Duration::ZERO,
    };
    let kept = match keep {
        Keep::Leased => race.store.fill(&race.key, &fill).await?,
        Keep::Anyhow => race.store.put(&race.key, &fill.put()).await?.kept,
    };
    race.refused.fetch_add(usize::from(!kept), SeqCst);
    Ok(())
}

async fn write(race: Arc<Race>, late: bool) -> Result<(), Fault> {
    if late {
        race.loaded.notified().await;
    }
    pause().await;
    race.database.store(2, SeqCst);
    pause().await;
    let invalidated = race.store.invalidate(&race.key, true).await;
    race.written.notify_one();
    invalidated.map(drop)
}

fn ask() -> Fetch {
    Fetch {
        token: Token(fastrand::u64(..)),
        lease: MINUTE,
        early: 0.0,
        copies: 0,
    }
}

async fn pause() {
    match fastrand::u8(..8) {
        0 => tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await,
        yields => {
            for _ in 1..yields {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RedisStore;
    use super::*;
    use crate::redis::Redis;

    #[test]
    fn a_write_that_races_slow_reads_leaves_nothing_stale() {
        let server = seawall_testkit::Redis::start().unwrap();
        let redis = Redis::single(&server.url()).unwrap();
        let redis = redis.timeout(Duration::from_secs(20));
        let store = Store::redis(RedisStore::new(redis, "race"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let raced = runtime.block_on(race(&store, 2_000, Keep::Leased)).unwrap();
        assert_eq!((raced.races, raced.stale), (2_000, 0), "{raced:?}");
        assert!(raced.refused > 0, "nothing raced: {raced:?}");
        let without = runtime.block_on(race(&store, 500, Keep::Anyhow)).unwrap();
        assert!(
            without.stale > 0,
            "the race would not have been seen: {without:?}"
        );
    }
}
