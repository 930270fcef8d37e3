//! Redis killed, frozen and restarted empty, under 2,000 gets a second: what reaches MariaDB, who gets
//! no answer, how soon the cache is of use again.
//!
//! Beside Seawall the plain cache-aside that everyone writes first: get, or else query and set; the
//! same time limit for Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use seawall::clock::Clock;
use seawall::{Call, Criticality, layer};
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Guard, GuardSettings, Json, Read, Settings, Source};
use seawall_testkit::MariaDb;
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::compare::{Metric, Sample, Scenario, Setup, Shape};
use crate::peers::Peer;

const PLAIN: Peer = Peer::Library("plain cache-aside");
/// Queries in any second that the database was promised, of all processes together.
const RATE: f64 = 500.0;
/// Caches with a guard each, as so many processes.
const PROCESSES: usize = 2;
const KEYS: u64 = 5_000;
/// Gets a second, two at a time.
const GETS: u64 = 2_000;
const WRITES: u64 = 20;
/// In percent; the rest is sheddable. What the top asks for fits the rate, were all of it misses.
const SHARES: [u64; 3] = [10, 40, 25];
const PATIENCE: Duration = Duration::from_secs(1);
const BUCKET: Duration = Duration::from_millis(100);
/// So many buckets in a row make a hit ratio.
const STEADY: usize = 5;

/// The scenario.
#[derive(Debug)]
pub(super) struct Outage;

impl Scenario for Outage {
    fn name(&self) -> String {
        "outage: Redis killed, frozen, restarted empty".to_owned()
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall, PLAIN]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn in_process(&self) -> bool {
        true
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let runtime = Runtime::new()?;
        let mariadb = MariaDb::start()?;
        let mut redis = seawall_testkit::Redis::start()?;
        let database = runtime.block_on(Database::open(&mariadb))?;
        let fronts = {
            let _in = runtime.enter();
            let fronts = (0..PROCESSES).map(|_| front(peer, &redis.url(), &database));
            fronts.collect::<anyhow::Result<Vec<_>>>()?
        };
        let bed = Arc::new(Bed::new(fronts, database, setup.round));
        runtime.block_on(bed.warm());
        let load = runtime.spawn(bed.clone().load());
        let phases = phases(&bed, &mut redis, setup);
        bed.over.store(true, Relaxed);
        runtime.block_on(load)?;
        let stale = runtime.block_on(bed.stale())?;
        let sample = Sample {
            metrics: bed.metrics(&phases?, stale),
            lateness: Duration::from_micros(bed.lateness.load(Relaxed)),
        };
        Ok(sample)
    }
}

/// When Redis was away, and when it was back.
struct Phases {
    began: Duration,
    away: [(Duration, Duration); 3],
}

fn phases(bed: &Bed, redis: &mut seawall_testkit::Redis, setup: &Setup) -> anyhow::Result<Phases> {
    let rest = |seconds| std::thread::sleep(Duration::from_secs_f64(setup.length(seconds)));
    let now = || bed.start.elapsed();
    let began = now();
    rest(6.0);
    let killed = now();
    redis.kill();
    rest(6.0);
    redis.restart()?;
    let restarted = now();
    rest(9.0);
    let frozen = now();
    redis.freeze()?;
    rest(6.0);
    redis.thaw()?;
    let thawed = now();
    rest(9.0);
    let killed_again = now();
    redis.kill();
    rest(3.0);
    std::fs::remove_dir_all(redis.directory().join("appendonlydir"))?;
    redis.restart()?;
    let empty = now();
    rest(24.0);
    let away = [(killed, restarted), (frozen, thawed), (killed_again, empty)];
    Ok(Phases { began, away })
}

/// MariaDB, and when it was asked.
#[derive(Clone)]
struct Database {
    pool: MySqlPool,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Database {
    async fn open(mariadb: &MariaDb) -> anyhow::Result<Self> {
        let url = mariadb.create("bench")?;
        mariadb.execute(
            "CREATE TABLE bench.items (id BIGINT UNSIGNED PRIMARY KEY, version BIGINT UNSIGNED \
             NOT NULL); INSERT INTO bench.items SELECT seq, 0 FROM bench.seq_0_to_4999",
        )?;
        let pool = MySqlPoolOptions::new().max_connections(32);
        let pool = pool.acquire_timeout(PATIENCE).connect(&url).await?;
        Ok(Self {
            pool,
            asked: Arc::default(),
        })
    }

    async fn get(&self, key: u64) -> Result<Option<u64>, sqlx::Error> {
        self.asked.lock().push(Instant::now());
        self.version(key).await
    }

    /// Without being counted.
    async fn version(&self, key: u64) -> Result<Option<u64>, sqlx::Error> {
        let query = sqlx::query_scalar("SELECT version FROM items WHERE id = ?");
        query.bind(key).fetch_optional(&self.pool).await
    }

    async fn write(&self, key: u64) -> Result<(), sqlx::Error> {
        let query = sqlx::query("UPDATE items SET version = version + 1 WHERE id = ?");
        query.bind(key).execute(&self.pool).await.map(drop)
    }

    /// The most that any second saw.
    fn most(&self) -> usize {
        let mut asked = self.asked.lock().clone();
        asked.sort_unstable();
        let within = |first: usize| {
            let end = asked[first] + Duration::from_secs(1);
            asked[first..].partition_point(|at| *at < end)
        };
        (0..asked.len()).map(within).max().unwrap_or(0)
    }
}

/// What stands before the database in one process.
#[derive(Clone)]
enum Front {
    Seawall(Cache<u64, u64>),
    Plain(
        redis::Client,
        Arc<tokio::sync::OnceCell<redis::aio::ConnectionManager>>,
    ),
}

fn front(peer: Peer, url: &str, database: &Database) -> anyhow::Result<Front> {
    if peer == PLAIN {
        return Ok(Front::Plain(redis::Client::open(url)?, Arc::default()));
    }
    let guard = Guard::new(GuardSettings {
        rate: RATE / PROCESSES as f64,
        ..GuardSettings::default()
    });
    let settings = Settings {
        ttl: Duration::from_secs(3_600),
        // A tenth: most is asked of Redis.
        capacity: KEYS / 10,
        ..Settings::default()
    };
    let database = database.clone();
    let cache = Cache::builder("bench")
        .settings(settings)
        .redis(Redis::single(url)?, Json::default())
        .guard(guard)
        .loader(move |key| {
            let database = database.clone();
            async move { database.get(key).await }
        });
    Ok(Front::Seawall(cache.build()))
}

/// What came of a get.
#[derive(Clone, Copy, PartialEq)]
enum Got {
    Hit,
    Loaded,
    Stale,
    Nothing,
}

impl Front {
    async fn get(&self, key: u64, database: &Database, criticality: Criticality) -> (Got, u64) {
        match self {
            Self::Seawall(cache) => {
                let clock = Clock::system();
                let call = Call {
                    criticality,
                    deadline: clock.now() + PATIENCE,
                    ..Call::default()
                };
                let database = database.clone();
                let read = cache.read(&key, Read::Strong, move || {
                    let database = database.clone();
                    async move { database.get(key).await }
                });
                match layer::within(call, &clock, read).await {
                    Err(_) => (Got::Nothing, 0),
                    Ok(answer) => {
                        let version = answer.value.as_deref().copied().unwrap_or(0);
                        match (answer.stale, answer.source) {
                            (true, _) => (Got::Stale, version),
                            (false, Source::Loaded) => (Got::Loaded, version),
                            (false, _) => (Got::Hit, version),
                        }
                    }
                }
            }
            Self::Plain(..) => {
                let answer = timeout(PATIENCE, self.plain(key, database)).await;
                answer.ok().flatten().unwrap_or((Got::Nothing, 0))
            }
        }
    }

    async fn plain(&self, key: u64, database: &Database) -> Option<(Got, u64)> {
        let name = format!("item:{key}");
        let cached = self.ask::<Option<u64>>(redis::cmd("GET").arg(&name)).await;
        if let Some(Some(version)) = cached {
            return Some((Got::Hit, version));
        }
        let version = database.get(key).await.ok()??;
        let mut set = redis::cmd("SET");
        let _: Option<()> = self
            .ask(set.arg(&name).arg(version).arg("EX").arg(3_600))
            .await;
        Some((Got::Loaded, version))
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        let Self::Plain(client, connection) = self else {
            return None;
        };
        let asked = async {
            let connect = || redis::aio::ConnectionManager::new(client.clone());
            let mut connection = connection.get_or_try_init(connect).await.ok()?.clone();
            command.query_async(&mut connection).await.ok()
        };
        timeout(Duration::from_millis(100), asked).await.ok()?
    }

    async fn invalidate(&self, key: u64) {
        match self {
            Self::Seawall(cache) => cache.invalidate(&key).await,
            Self::Plain(..) => {
                let mut delete = redis::cmd("DEL");
                let _: Option<()> = self.ask(delete.arg(format!("item:{key}"))).await;
            }
        }
    }
}

struct Bed {
    fronts: Vec<Front>,
    database: Database,
    start: Instant,
    over: AtomicBool,
    seed: u64,
    /// When each get was due, of whom, and what came of it.
    got: Mutex<Vec<(Duration, Criticality, Got)>>,
    /// The greatest, in microseconds.
    lateness: AtomicU64,
}

impl Bed {
    fn new(fronts: Vec<Front>, database: Database, seed: u64) -> Self {
        Self {
            fronts,
            database,
            start: Instant::now(),
            over: AtomicBool::new(false),
            seed,
            got: Mutex::default(),
            lateness: AtomicU64::new(0),
        }
    }

    /// Everything cached once.
    async fn warm(&self) {
        for key in 0..KEYS {
            for front in &self.fronts {
                while front
                    .get(key, &self.database, Criticality::CriticalPlus)
                    .await
                    .0
                    == Got::Nothing
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// The open load: what is due is sent, whatever has come of what was before.
    async fn load(self: Arc<Self>) {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let zipf = zipf();
        let mut due = self.start.elapsed();
        for sent in 0_u64.. {
            if self.over.load(Relaxed) {
                return;
            }
            if sent.is_multiple_of(2) {
                due += Duration::from_secs(2) / GETS as u32;
                tokio::time::sleep_until((self.start + due).into()).await;
                let late = self.start.elapsed().saturating_sub(due);
                self.lateness.fetch_max(late.as_micros() as u64, Relaxed);
            }
            let rank = random.f64();
            let key = zipf.partition_point(|sum| *sum < rank) as u64 % KEYS;
            let criticality = criticality(random.u64(..100));
            let front = random.usize(..PROCESSES);
            tokio::spawn(self.clone().one(front, key, criticality, due));
            if sent.is_multiple_of(GETS / WRITES) {
                tokio::spawn(self.clone().write(front, random.u64(..KEYS)));
            }
        }
    }

    async fn one(self: Arc<Self>, front: usize, key: u64, criticality: Criticality, due: Duration) {
        let (got, _) = self.fronts[front]
            .get(key, &self.database, criticality)
            .await;
        self.got.lock().push((due, criticality, got));
    }

    async fn write(self: Arc<Self>, front: usize, key: u64) {
        if self.database.write(key).await.is_ok() {
            self.fronts[front].invalidate(key).await;
        }
    }

    /// Values that are cached and are not the database's, when all is over.
    async fn stale(&self) -> anyhow::Result<u64> {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut stale = 0;
        for key in 0..KEYS {
            let current = self.database.version(key).await?.context("a row")?;
            for front in &self.fronts {
                let answer = front
                    .get(key, &self.database, Criticality::CriticalPlus)
                    .await;
                let (got, version) = answer;
                stale += u64::from(got != Got::Nothing && version != current);
            }
        }
        Ok(stale)
    }

    fn metrics(&self, phases: &Phases, stale: u64) -> Vec<Metric> {
        let got = self.got.lock();
        let between = |from: Duration, to: Duration| {
            let within = move |(due, ..): &&(Duration, Criticality, Got)| *due >= from && *due < to;
            got.iter().filter(within)
        };
        let hit =
            |from, to| share(between(from, to).map(|(.., got)| *got == Got::Hit)).unwrap_or(0.0);
        let before = hit(phases.began, phases.away[0].0);
        // From when Redis runs again to when the hits are back; none: not within this phase.
        let back = |n: usize| {
            let (_, from) = phases.away[n];
            let next = phases.away.get(n + 1).map(|next| next.0);
            let end = next.unwrap_or_else(|| got.iter().map(|get| get.0).max().unwrap_or(from));
            let steady = BUCKET * STEADY as u32;
            let buckets = ((end - from).as_millis() / BUCKET.as_millis()) as usize;
            let starts = (0..buckets.saturating_sub(STEADY)).map(|n| BUCKET * n as u32);
            let is_back = |at: &Duration| hit(from + *at, from + *at + steady) >= 0.95 * before;
            let found = starts.into_iter().find(is_back);
            found.map_or(f64::INFINITY, |at| at.as_secs_f64())
        };
        let away = |of: Criticality| {
            let gets = phases.away.iter().flat_map(|&(from, to)| between(from, to));
            let of = gets.filter(move |(_, criticality, _)| *criticality == of);
            share(of.map(|(.., got)| *got != Got::Nothing)).map_or(f64::NAN, |share| share * 100.0)
        };
        let failed = got.iter().filter(|(_, criticality, got)| {
            *criticality == Criticality::CriticalPlus && *got == Got::Nothing
        });
        vec![
            Metric::new(
                "queries in any second, most",
                "queries",
                "<= 500",
                self.database.most() as f64,
            ),
            Metric::new(
                "failed gets, critical-plus",
                "gets",
                "0",
                failed.count() as f64,
            ),
            Metric::new("stale values left behind", "values", "0", stale as f64),
            Metric::new("hits before", "%", "", before * 100.0),
            Metric::new("hits back after a kill", "s", "", back(0)),
            Metric::new("hits back after a freeze", "s", "", back(1)),
            Metric::new("hits back after a restart empty", "s", "", back(2)),
            Metric::new(
                "answered while away, critical-plus",
                "%",
                "100",
                away(Criticality::CriticalPlus),
            ),
            Metric::new(
                "answered while away, critical",
                "%",
                "",
                away(Criticality::Critical),
            ),
            Metric::new(
                "answered while away, sheddable-plus",
                "%",
                "",
                away(Criticality::SheddablePlus),
            ),
            Metric::new(
                "answered while away, sheddable",
                "%",
                "",
                away(Criticality::Sheddable),
            ),
        ]
    }
}

fn share(of: impl Iterator<Item = bool>) -> Option<f64> {
    let (yes, all) = of.fold((0_u32, 0_u32), |(yes, all), is| {
        (yes + u32::from(is), all + 1)
    });
    (all > 0).then(|| f64::from(yes) / f64::from(all))
}

fn criticality(percent: u64) -> Criticality {
    let mut sum = 0;
    let found = SHARES.iter().position(|share| {
        sum += share;
        percent < sum
    });
    Criticality::ALL[found.unwrap_or(SHARES.len())]
}

/// Sums of what each key is asked for, by Zipf's law with an exponent of 1.
fn zipf() -> Vec<f64> {
    let all: f64 = (1..=KEYS).map(|rank| 1.0 / rank as f64).sum();
    let mut sum = 0.0;
    let sums = (1..=KEYS).map(|rank| {
        sum += 1.0 / rank as f64 / all;
        sum
    });
    sums.collect()
}
