//! A key that is asked for a thousand times a second, expires, and takes a second to load.
//!
//! Four caches with connections of their own on one Redis, as in four processes. Beside them XFetch as
//! it was published, on one value that all readers share: what each of them decides alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Json, Settings};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Case, Metric};
use crate::peers::Peer;

const XFETCH: Peer = Peer::Library("XFetch without leases");
const PROCESSES: usize = 4;
const LOAD: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(5);
/// Of a run of full length.
const SECONDS: f64 = 40.0;

/// When each load began and ended.
type Loads = Arc<Mutex<Vec<(Instant, Option<Instant>)>>>;

pub(super) fn cases() -> Vec<Case> {
    let name = "expiring key, 1,000 a second, load 1 s";
    vec![Case::new(name, &[Peer::Seawall, XFETCH], |peer, setup| {
        let runtime = super::two_threads()?;
        let length = Duration::from_secs_f64(setup.length(SECONDS));
        let loads = Loads::default();
        let longest = match peer {
            Peer::Seawall => runtime.block_on(leased(&loads, length))?,
            _ => runtime.block_on(alone(&loads, length)),
        };
        Ok(metrics(&loads.lock(), longest))
    })]
}

async fn load(loads: Loads) -> Result<Option<u64>, std::io::Error> {
    let number = {
        let mut loads = loads.lock();
        loads.push((Instant::now(), None));
        loads.len() - 1
    };
    sleep(LOAD).await;
    loads.lock()[number].1 = Some(Instant::now());
    Ok(Some(number as u64))
}

/// How long the reader that waited longest did, the first load apart.
async fn leased(loads: &Loads, length: Duration) -> anyhow::Result<Duration> {
    let server = seawall_testkit::Redis::start()?;
    let settings = Settings {
        ttl: TTL,
        jitter: 0.0,
        ..Settings::default()
    };
    let processes = (0..PROCESSES).map(|_| {
        let redis = Redis::single(&server.url())?.timeout(Duration::from_secs(1));
        let builder = Cache::<&'static str, u64>::builder("expiring").settings(settings);
        Ok(builder.redis(redis, Json::default()).build())
    });
    let processes = processes.collect::<anyhow::Result<Vec<_>>>()?;
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let read = |n: usize| {
        let (cache, loads) = (processes[n % PROCESSES].clone(), loads.clone());
        let longest = longest.clone();
        async move {
            let began = Instant::now();
            let _ = cache.get_or_load(&"key", move || load(loads.clone())).await;
            let mut longest = longest.lock();
            *longest = longest.max(began.elapsed());
        }
    };
    read(0).await;
    *longest.lock() = Duration::ZERO;
    every_millisecond(length, |n| drop(tokio::spawn(read(n)))).await;
    let longest = *longest.lock();
    Ok(longest)
}

/// Each reader decides for itself, and nobody holds it back.
async fn alone(loads: &Loads, length: Duration) -> Duration {
    let _ = load(loads.clone()).await;
    let expiry = Arc::new(Mutex::new(Instant::now() + TTL));
    every_millisecond(length, |_| {
        let early = LOAD.mul_f64(-(1.0 - fastrand::f64()).ln());
        if Instant::now() + early >= *expiry.lock() {
            let (loads, expiry) = (loads.clone(), expiry.clone());
            tokio::spawn(async move {
                let _ = load(loads).await;
                *expiry.lock() = Instant::now() + TTL;
            });
        }
    })
    .await;
    Duration::ZERO
}

async fn every_millisecond(length: Duration, mut act: impl FnMut(usize)) {
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for n in 0..length.as_millis() as usize {
        ticks.tick().await;
        act(n);
    }
}

fn metrics(loads: &[(Instant, Option<Instant>)], longest: Duration) -> Vec<Metric> {
    // A life begins with the first load that ends after the last life's loads began.
    let mut lives: Vec<(Instant, f64, f64)> = Vec::new();
    for (began, ended) in loads {
        let Some(ended) = ended else { continue };
        match lives.last_mut() {
            Some((since, count, _)) if began < since => *count += 1.0,
            last => {
                let end = last.map(|(since, ..)| *since + TTL);
                let gap = end.map_or(0.0, |end| {
                    end.saturating_duration_since(*began).as_secs_f64()
                });
                lives.push((*ended, 1.0, gap));
            }
        }
    }
    // The first is no expiry.
    let lives = lives.get(1..).unwrap_or_default();
    let mean = |sum: f64| sum / lives.len().max(1) as f64;
    vec![
        Metric::new(
            "loads per expiry",
            "",
            "<= 1",
            mean(lives.iter().map(|life| life.1).sum()),
        ),
        Metric::new(
            "begun before the end",
            "s",
            "",
            mean(lives.iter().map(|life| life.2).sum()),
        ),
        Metric::new("longest wait", "s", "", longest.as_secs_f64()),
        Metric::new("expiries", "", "", lives.len() as f64),
    ]
}
