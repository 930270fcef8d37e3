//! One key takes half of 100,000 reads a second of a process that keeps nothing itself: when it is
//! found, and what Redis still sees of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Event, HotSettings, Json, Settings};
use tokio::time::{Instant, sleep_until};

use crate::compare::case::Case;
use crate::compare::{Metric, Setup};
use crate::peers::Peer;

const NOT_LOOKED_FOR: Peer = Peer::Library("hot keys not looked for");
const RATE: u64 = 100_000;
const CALLERS: u64 = 512;
const COLD: u64 = 50_000;
const HOT: u64 = 0;
const SECONDS: f64 = 6.0;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new(
        "one key takes 50 % of 100,000 gets/s",
        &[Peer::Seawall, NOT_LOOKED_FOR],
        |peer, setup| {
            let runtime = super::two_threads()?;
            runtime.block_on(run(peer, setup))
        },
    )]
}

async fn run(peer: Peer, setup: &Setup) -> anyhow::Result<Vec<Metric>> {
    let server = seawall_testkit::Redis::start()?;
    let redis = Redis::single(&server.url())?.timeout(Duration::from_secs(2));
    let settings = Settings {
        capacity: 0,
        beta: 0.0,
        ttl: Duration::from_secs(3_600),
        ..Settings::default()
    };
    let mut builder = Cache::<u64, u64>::builder("pages")
        .settings(settings)
        .redis(redis, Json::default());
    if peer == Peer::Seawall {
        builder = builder.hot(HotSettings::default());
    }
    let cache = builder.build();
    let client = redis::Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let length = setup.length(SECONDS);

    // Half and half, until the key is found and the rest of the time.
    let mixed = load(&cache, length, 0.5).await?;
    // The key alone: whatever Redis sees is of it.
    let before = scripts(&mut connection).await?;
    let alone = load(&cache, length, 1.0).await?;
    let seen = scripts(&mut connection).await? - before;
    let mut metrics = vec![];
    if peer == Peer::Seawall {
        let found = mixed.found.context("the key was not found")?;
        metrics.push(Metric::new("found after", "s", "<= 1", found));
    }
    let share = 100.0 * seen / alone.reads.max(1) as f64;
    metrics.extend([
        Metric::new("of its gets Redis sees", "%", "<= 1", share),
        Metric::new("gets, half of them of it", "1/s", "", mixed.rate),
        Metric::new("gets of it alone", "1/s", "", alone.rate),
        Metric::new("answered in process", "%", "", {
            100.0 * cache.metrics().get(Event::HotHit) as f64
                / (mixed.hot + alone.hot).max(1) as f64
        }),
    ]);
    Ok(metrics)
}

struct Seen {
    reads: u64,
    hot: u64,
    rate: f64,
    /// Seconds until the key was known to be hot.
    found: Option<f64>,
}

async fn load(cache: &Cache<u64, u64>, seconds: f64, share: f64) -> anyhow::Result<Seen> {
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (cache, counts) = (cache.clone(), counts.clone());
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(caller);
                let mut at = start + Duration::from_secs_f64(caller as f64 / RATE as f64);
                let every = Duration::from_secs_f64(CALLERS as f64 / RATE as f64);
                while at < end {
                    sleep_until(at).await;
                    at = (at + every).max(Instant::now());
                    let key = match random.f64() < share {
                        true => HOT,
                        false => random.u64(1..=COLD),
                    };
                    let load = move || std::future::ready(Ok::<_, std::io::Error>(Some(key)));
                    cache.get_or_load(&key, load).await?;
                    counts[0].fetch_add(1, Relaxed);
                    counts[1].fetch_add(u64::from(key == HOT), Relaxed);
                }
                Ok::<_, seawall_cache::Error>(())
            })
        })
        .collect();
    let mut found = None;
    while found.is_none() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let hot = cache.hot_keys();
        found = (!hot.is_empty()).then(|| start.elapsed().as_secs_f64());
    }
    for caller in callers {
        caller.await??;
    }
    let [reads, hot] = [0, 1].map(|at| counts[at].load(Relaxed));
    Ok(Seen {
        reads,
        hot,
        rate: reads as f64 / start.elapsed().as_secs_f64(),
        found,
    })
}

/// Scripts that Redis has run: every question of a cache is one.
async fn scripts(connection: &mut redis::aio::MultiplexedConnection) -> anyhow::Result<f64> {
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("commandstats").query_async(connection).await?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))
        .unwrap_or("0,");
    let calls = line.split(',').next().unwrap_or_default();
    calls.parse().context("calls that are no number")
}
