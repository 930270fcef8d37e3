//! Redis killed, frozen and restarted empty, under load of every criticality: what the database sees,
//! who is refused, and what is left behind.

#![cfg(feature = "redis")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall::clock::Clock;
use seawall::{Call, Criticality, layer};
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Error, Guard, GuardSettings, Json, Settings, Source};

/// Loads in any second, for each of the processes that the caches stand for.
const RATE: f64 = 200.0;
const CACHES: usize = 2;
const KEYS: u64 = 400;
/// Of each criticality and cache; those of the top pause, so that what they ask for fits the rate.
const CALLERS: u64 = 2;
const PAUSE: Duration = Duration::from_millis(40);
/// Nothing here takes long; a machine may.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stands in for the database.
#[derive(Default)]
struct Database {
    rows: Mutex<HashMap<u64, u64>>,
    loads: AtomicU64,
}

impl Database {
    fn read(&self, key: u64) -> u64 {
        self.loads.fetch_add(1, SeqCst);
        self.current(key)
    }

    fn current(&self, key: u64) -> u64 {
        self.rows.lock().get(&key).copied().unwrap_or(0)
    }

    fn write(&self, key: u64) {
        *self.rows.lock().entry(key).or_default() += 1;
    }
}

/// What callers of a criticality got.
#[derive(Default)]
struct Got {
    answers: AtomicU64,
    rejected: AtomicU64,
    other: Mutex<Vec<String>>,
}

struct Bed {
    redis: seawall_testkit::Redis,
    database: Arc<Database>,
    caches: Vec<Cache<u64, u64>>,
    guards: Vec<Guard>,
    got: Arc<[Got; 4]>,
}

impl Bed {
    fn start() -> Self {
        let redis = seawall_testkit::Redis::start().expect("Redis");
        let database = Arc::<Database>::default();
        let guards: Vec<_> = (0..CACHES).map(|_| Guard::new(guard())).collect();
        let cache = |guard: &Guard| {
            let settings = Settings {
                // What is stale is stale for good, unless something ends it.
                ttl: Duration::from_secs(3_600),
                // And a lease that is left behind holds everybody up.
                lease: Duration::from_secs(3_600),
                capacity: KEYS / 4,
                ..Settings::default()
            };
            // A connection of its own, as processes have.
            let store = Redis::single(&redis.url()).expect("a URL");
            let database = database.clone();
            Cache::builder("outage")
                .settings(settings)
                .redis(store, Json::default())
                .guard(guard.clone())
                .loader(move |key| {
                    let database = database.clone();
                    async move { Ok::<_, std::io::Error>(Some(database.read(key))) }
                })
                .build()
        };
        Self {
            caches: guards.iter().map(cache).collect(),
            redis,
            database,
            guards,
            got: Arc::default(),
        }
    }

    /// Callers of every criticality at every cache, while `phase` runs.
    async fn under_load(&self, phase: impl Future<Output = ()>) {
        let over = Arc::new(AtomicBool::new(false));
        let mut callers = tokio::task::JoinSet::new();
        for cache in &self.caches {
            for criticality in Criticality::ALL {
                for _ in 0..CALLERS {
                    let (cache, got, over) = (cache.clone(), self.got.clone(), over.clone());
                    callers.spawn(call_until(over, cache, criticality, got));
                }
            }
        }
        phase.await;
        over.store(true, SeqCst);
        while let Some(ended) = callers.join_next().await {
            ended.expect("no panic");
        }
    }

    /// Every key by one cache or the other, until no answer is a load: Redis has them all.
    async fn warm(&self) {
        until("all keys are cached", async || {
            let before = self.database.loads.load(SeqCst);
            let mut answered = true;
            for key in 0..KEYS {
                answered &= self.of(key).load(&key).await.is_ok();
            }
            answered && self.database.loads.load(SeqCst) == before
        })
        .await;
    }

    /// The cache by which a key is written.
    fn of(&self, key: u64) -> &Cache<u64, u64> {
        &self.caches[key as usize % CACHES]
    }

    /// No cache answers with what a write has replaced.
    async fn nothing_stale(&self) {
        until("nothing stale is left", async || {
            for key in 0..KEYS {
                for cache in &self.caches {
                    let answer = cache.load(&key).await;
                    let answer = answer.ok().flatten().as_deref().copied();
                    if answer != Some(self.database.current(key)) {
                        return false;
                    }
                }
            }
            true
        })
        .await;
    }

    async fn write(&self, keys: impl Iterator<Item = u64>) {
        for key in keys {
            self.database.write(key);
            self.of(key).invalidate(&key).await;
        }
    }
}

fn guard() -> GuardSettings {
    GuardSettings {
        rate: RATE,
        // The limit learns from how long loads take, and this machine may have other things to do.
        adaptive: false,
        ..GuardSettings::default()
    }
}

async fn call_until(
    over: Arc<AtomicBool>,
    cache: Cache<u64, u64>,
    criticality: Criticality,
    got: Arc<[Got; 4]>,
) {
    let call = Call {
        criticality,
        ..Call::default()
    };
    let clock = Clock::system();
    while !over.load(SeqCst) {
        let key = fastrand::u64(..KEYS);
        let answer = layer::within(call, &clock, cache.load(&key)).await;
        let got = &got[criticality as usize];
        match answer {
            Ok(_) => _ = got.answers.fetch_add(1, SeqCst),
            Err(Error::Rejected(_)) => _ = got.rejected.fetch_add(1, SeqCst),
            Err(other) => got.other.lock().push(other.to_string()),
        }
        match criticality {
            Criticality::CriticalPlus => tokio::time::sleep(PAUSE).await,
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < end, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Looks at the guards all along: in any time, no more than the stated rate.
async fn watch(guards: Vec<Guard>, over: Arc<AtomicBool>) {
    let mut seen: Vec<Vec<(Instant, u64, Instant)>> = vec![Vec::new(); guards.len()];
    while !over.load(SeqCst) {
        for (guard, seen) in guards.iter().zip(&mut seen) {
            let before = Instant::now();
            let admitted = guard.totals().admitted();
            seen.push((before, admitted, Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Loads whose token was taken before a look and that were counted after it: one a caller.
    let on_their_way = (4 * CALLERS) as f64 + 1.0;
    for seen in seen {
        for (first, (start, before, _)) in seen.iter().enumerate() {
            for (_, after, end) in &seen[first..] {
                let time = end.duration_since(*start).as_secs_f64();
                let most = 0.1 * RATE + 0.9 * RATE * time + on_their_way;
                assert!(
                    (after - before) as f64 <= most,
                    "{} in {time} s",
                    after - before
                );
            }
        }
    }
}

/// Runs `outage` under load, for longer than it takes a shard to be given up, and `back`.
async fn endures(
    outage: impl AsyncFnOnce(&mut seawall_testkit::Redis),
    back: impl AsyncFnOnce(&mut seawall_testkit::Redis),
) {
    let mut bed = Bed::start();
    let over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(watch(bed.guards.clone(), over.clone()));
    bed.warm().await;
    outage(&mut bed.redis).await;
    bed.under_load(async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Every ninth key is written by one or the other, in the middle of it.
        bed.write((0..KEYS).step_by(9)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    })
    .await;
    back(&mut bed.redis).await;
    bed.under_load(async {
        bed.nothing_stale().await;
        bed.write((0..KEYS).step_by(25)).await;
    })
    .await;
    bed.nothing_stale().await;
    // The hit ratio is back, and by way of Redis.
    bed.warm().await;
    over.store(true, SeqCst);
    watch.await.expect("no second saw more than stated");

    let [top, others @ ..] = &*bed.got;
    assert_eq!(top.rejected.load(SeqCst), 0, "the top was refused");
    assert!(top.answers.load(SeqCst) > 0);
    // Who is refused is told so, by type; and among the others somebody was.
    let rejected: u64 = others.iter().map(|got| got.rejected.load(SeqCst)).sum();
    assert!(rejected > 0);
    for got in &*bed.got {
        assert_eq!(*got.other.lock(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_with_what_it_had() {
    endures(
        async |redis| redis.kill(),
        async |redis| redis.restart().expect("Redis"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_thawed() {
    endures(
        async |redis| redis.freeze().expect("it runs"),
        async |redis| redis.thaw().expect("it runs"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_empty() {
    endures(
        async |redis| redis.kill(),
        async |redis| {
            std::fs::remove_dir_all(redis.directory().join("appendonlydir")).expect("its data");
            redis.restart().expect("Redis");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_has_answers_again_after_its_return() {
    let mut bed = Bed::start();
    bed.warm().await;
    bed.redis.kill();
    let _ = bed.caches[0].load(&1).await;
    bed.redis.restart().expect("Redis");
    until("Redis answers", async || {
        let key = fastrand::u64(..KEYS);
        let answer = bed.caches[0].read(&key, seawall_cache::Read::Strong, || async {
            Err::<Option<u64>, _>(std::io::Error::other("not to be loaded"))
        });
        answer
            .await
            .is_ok_and(|answer| answer.source == Source::Redis)
    })
    .await;
}

/// A frozen server reads on where it stopped, and answers who has long gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_granted_too_late_is_given_back() {
    let bed = Bed::start();
    for cache in &bed.caches {
        assert!(cache.load(&KEYS).await.is_ok());
    }
    bed.redis.freeze().expect("it runs");
    let asked = (0..10).map(|key| {
        let cache = bed.caches[0].clone();
        tokio::spawn(async move { cache.load(&key).await.is_ok() })
    });
    for answered in asked.collect::<Vec<_>>() {
        assert!(answered.await.expect("no panic"));
    }
    bed.redis.thaw().expect("it runs");
    for key in 0..10 {
        let answer = tokio::time::timeout(PATIENCE, bed.caches[1].load(&key));
        assert!(answer.await.expect("nobody holds the lease").is_ok());
    }
}
