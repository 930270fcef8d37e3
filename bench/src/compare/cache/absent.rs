//! 20,000 reads a second of which 99 in 100 are of keys that do not exist, no two the same: what
//! reaches the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::ensure;
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Filter, FilterSize, Json, Rebuild};
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use tokio::time::{Instant, sleep_until};

use crate::compare::case::Case;
use crate::compare::{Metric, Setup};
use crate::peers::Peer;

const NO_FILTER: Peer = Peer::Library("the cache alone");
const ROWS: u64 = 100_000;
const ERROR: f64 = 0.01;
const RATE: u64 = 20_000;
const CALLERS: u64 = 256;
const SECONDS: f64 = 6.0;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new(
        "99 % absent keys at 20,000/s",
        &[Peer::Seawall, NO_FILTER],
        |peer, setup| {
            let runtime = super::two_threads()?;
            runtime.block_on(run(peer, setup))
        },
    )]
}

async fn run(peer: Peer, setup: &Setup) -> anyhow::Result<Vec<Metric>> {
    let (server, database) = (
        seawall_testkit::Redis::start()?,
        seawall_testkit::MariaDb::start()?,
    );
    let url = database.create("bench")?;
    database.execute("CREATE TABLE bench.users (id BIGINT UNSIGNED PRIMARY KEY)")?;
    let rows = format!("SELECT 2 * seq FROM bench.seq_1_to_{ROWS}");
    database.execute(&format!("INSERT INTO bench.users {rows}"))?;
    let pool = MySqlPoolOptions::new()
        .max_connections(16)
        .connect(&url)
        .await?;
    let redis = Redis::single(&server.url())?.timeout(Duration::from_secs(1));
    let mut builder = Cache::<u64, u64>::builder("users").redis(redis.clone(), Json::default());
    if peer == Peer::Seawall {
        let filter = Filter::shared(&redis, "seawall:users", FilterSize::new(ROWS, ERROR));
        let how = Rebuild {
            settle: Duration::ZERO,
            ..Rebuild::default()
        };
        let scan = || {
            let rows = sqlx::query_scalar::<_, u64>("SELECT id FROM users");
            rows.fetch(&pool)
        };
        let built = filter.rebuild(scan, how).await?;
        ensure!(built.keys == ROWS, "the scan gave {} keys", built.keys);
        builder = builder.filter(filter);
    }
    let cache = builder.build();
    let seen = load(&cache, &pool, setup).await;
    let share = |count: u64| 100.0 * count as f64 / seen.reads.max(1) as f64;
    Ok(vec![
        Metric::new(
            "reached the database",
            "% of reads",
            "<= 2",
            share(seen.loads),
        ),
        Metric::new(
            "of these, of absent keys",
            "% of reads",
            "<= 1.1",
            share(seen.absent),
        ),
        Metric::new("reads", "1/s", "", seen.reads as f64 / seen.took),
        Metric::new("failed", "% of reads", "", share(seen.failed)),
    ])
}

#[derive(Default)]
struct Seen {
    reads: u64,
    loads: u64,
    absent: u64,
    failed: u64,
    took: f64,
}

/// Reads at their times, as far as they are kept: who is late does not catch up at once.
async fn load(cache: &Cache<u64, u64>, pool: &MySqlPool, setup: &Setup) -> Seen {
    let length = Duration::from_secs_f64(setup.length(SECONDS));
    let counts: Arc<[AtomicU64; 4]> = Arc::default();
    let start = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let (cache, pool, counts) = (cache.clone(), pool.clone(), counts.clone());
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(caller);
            let mut at = start + Duration::from_secs_f64(caller as f64 / RATE as f64);
            let every = Duration::from_secs_f64(CALLERS as f64 / RATE as f64);
            while at < start + length {
                sleep_until(at).await;
                at = (at + every).max(Instant::now());
                let key = match random.u32(..100) {
                    0 => 2 * random.u64(1..=ROWS),
                    // Odd: never there.
                    _ => random.u64(..1 << 62) * 2 + 1,
                };
                let (pool, loads) = (pool.clone(), counts.clone());
                let load = move || {
                    loads[1 + key as usize % 2].fetch_add(1, Relaxed);
                    let pool = pool.clone();
                    async move {
                        let query = sqlx::query_scalar("SELECT id FROM users WHERE id = ?");
                        query.bind(key).fetch_optional(&pool).await
                    }
                };
                let read = cache.get_or_load(&key, load).await;
                counts[0].fetch_add(1, Relaxed);
                counts[3].fetch_add(u64::from(read.is_err()), Relaxed);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        // A caller that panicked shows in the reads.
        let _ = caller.await;
    }
    let [reads, present, absent, failed] = [0, 1, 2, 3].map(|at| counts[at].load(Relaxed));
    Seen {
        reads,
        loads: present + absent,
        absent,
        failed,
        took: start.elapsed().as_secs_f64(),
    }
}
