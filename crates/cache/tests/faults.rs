//! Redis as it should not be, below whole caches: never a crash, a bounded number of loads, and nothing
//! stale left when it is over.
#![cfg(feature = "redis")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Error, Event, Guard, GuardSettings, Json, Settings};
use seawall_testkit::{FakeRedis, FakeReply, Redis as Server};

/// Loads a second that the database may see of each process.
const RATE: f64 = 200.0;
const KEYS: usize = 20;

/// A row is a number, which a write makes larger.
struct Database {
    rows: [AtomicU64; KEYS],
    loads: AtomicU64,
}

impl Database {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: std::array::from_fn(|_| AtomicU64::new(1)),
            loads: AtomicU64::new(0),
        })
    }

    fn write(&self, key: usize) {
        self.rows[key].fetch_add(1, SeqCst);
    }

    fn row(&self, key: usize) -> u64 {
        self.rows[key].load(SeqCst)
    }
}

/// A process: a cache with connections and a guard of its own.
struct Process {
    cache: Cache<usize, u64>,
    guard: Guard,
    database: Arc<Database>,
    began: Instant,
}

impl Process {
    fn new(url: &str, database: &Arc<Database>) -> Self {
        Self::waiting(url, database, Duration::from_millis(200))
    }

    fn waiting(url: &str, database: &Arc<Database>, limit: Duration) -> Self {
        let redis = Redis::single(url).expect("a URL").timeout(limit);
        let guard = Guard::new(GuardSettings {
            rate: RATE,
            ..GuardSettings::default()
        });
        let settings = Settings {
            jitter: 0.0,
            beta: 0.0,
            stale: Duration::ZERO,
            ..Settings::default()
        };
        let cache = Cache::builder("numbers")
            .settings(settings)
            .guard(guard.clone())
            .redis(redis, Json::default())
            .build();
        Self {
            cache,
            guard,
            database: database.clone(),
            began: Instant::now(),
        }
    }

    /// The row, or `None` where the guard has turned the load away. Anything else is a failure.
    async fn read(&self, key: usize) -> Option<u64> {
        let database = self.database.clone();
        let load = move || {
            let database = database.clone();
            async move {
                database.loads.fetch_add(1, SeqCst);
                Ok::<_, Error>(Some(database.row(key)))
            }
        };
        let read = self.cache.get_or_load(&key, load);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        match read.expect("an answer") {
            Ok(value) => Some(*value.expect("a row")),
            Err(Error::Rejected(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn write(&self, key: usize) {
        self.database.write(key);
        self.cache.invalidate(&key).await;
    }

    /// What the guard has let through is what was to be let through in that time.
    fn check(&self) {
        let most = RATE * (self.began.elapsed().as_secs_f64() + 1.0);
        let loads = self.guard.totals().admitted() as f64;
        assert!(loads <= most, "{loads} loads");
    }
}

/// Reads until everything that is read is as it was written, and then for a while.
async fn whole(processes: &[Process]) {
    let end = Instant::now() + Duration::from_secs(30);
    let (mut rounds, mut last) = (0, Vec::new());
    while rounds < 20 {
        let mut stale = Vec::new();
        for process in processes {
            for key in 0..KEYS {
                let (read, row) = (process.read(key).await, process.database.row(key));
                if read != Some(row) {
                    stale.push((key, read, row));
                }
            }
        }
        rounds = match stale.is_empty() {
            true => rounds + 1,
            false => 0,
        };
        if !stale.is_empty() {
            last = stale;
        }
        assert!(Instant::now() < end, "after {rounds} rounds: {last:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Breaks Redis under two processes that read and write, and repairs it.
async fn survive(server: &mut Server, breaks: fn(&Server), repairs: fn(&mut Server)) {
    let database = Database::new();
    let processes = [(); 2].map(|()| Process::new(&server.url(), &database));
    whole(&processes).await;
    breaks(server);
    for round in 0..10 {
        for key in 0..KEYS {
            for process in &processes {
                let read = process.read(key).await;
                assert!(read.is_none_or(|read| read <= database.row(key)));
            }
        }
        processes[round % 2].write(round).await;
    }
    processes.iter().for_each(Process::check);
    repairs(server);
    whole(&processes).await;
    processes.iter().for_each(Process::check);
    // Nor is anything stale left in Redis, for who comes anew.
    let last = [Process::new(&server.url(), &database)];
    whole(&last).await;
}

fn ask(server: &Server, command: &[&str]) {
    server.ask(command).expect("it answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory() {
    let mut server = Server::start().expect("redis-server");
    let exhaust = |server: &Server| server.exhaust().expect("no memory");
    survive(&mut server, exhaust, |server| {
        server.relieve().expect("memory")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_replica() {
    let mut server = Server::start().expect("redis-server");
    // Of nobody: it keeps what it has, and takes no writes.
    let demote = |server: &Server| ask(server, &["REPLICAOF", "127.0.0.1", "1"]);
    let promote = |server: &mut Server| ask(server, &["REPLICAOF", "NO", "ONE"]);
    survive(&mut server, demote, promote).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_back_with_what_it_had() {
    let mut server = Server::start().expect("redis-server");
    survive(
        &mut server,
        |server| server.kill(),
        |server| server.restart().expect("redis-server"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_back_empty() {
    let mut server = Server::start().expect("redis-server");
    let repairs = |server: &mut Server| {
        std::fs::remove_dir_all(server.directory().join("appendonlydir")).expect("its data");
        server.restart().expect("redis-server");
    };
    survive(&mut server, |server| server.kill(), repairs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen() {
    let mut server = Server::start().expect("redis-server");
    let freeze = |server: &Server| server.freeze().expect("it runs");
    survive(&mut server, freeze, |server| {
        server.thaw().expect("it is stopped")
    })
    .await;
}

#[tokio::test]
async fn values_that_do_not_decode_are_loaded_and_replaced() {
    let server = Server::start().expect("redis-server");
    let database = Database::new();
    // Time for every answer on a machine that has other work to do: loads are counted.
    let process = || {
        [Process::waiting(
            &server.url(),
            &database,
            Duration::from_secs(10),
        )]
    };
    whole(&process()).await;
    for key in server.ask(&["KEYS", "*"]).expect("keys").lines() {
        if server.ask(&["TYPE", key]).expect("a type") == "hash" {
            ask(&server, &["HSET", key, "v", "{not a number"]);
        }
    }
    let before = database.loads.load(SeqCst);
    let second = process();
    whole(&second).await;
    assert_eq!(
        second[0].cache.metrics().get(Event::NotDecoded),
        KEYS as u64
    );
    assert_eq!(database.loads.load(SeqCst), before + KEYS as u64);
    // What was loaded took its place.
    whole(&process()).await;
    assert_eq!(database.loads.load(SeqCst), before + KEYS as u64);
}

#[tokio::test]
async fn what_is_no_redis_is_a_cache_without_one() {
    for reply in [
        FakeReply::line("HTTP/1.1 400 Bad Request"),
        FakeReply::line("-LOADING Redis is loading the dataset in memory"),
        FakeReply::line("-ERR unknown command"),
        FakeReply::line("*3\r\n:7\r\n$-1\r\n+what"),
        FakeReply::line(":12345678901234567890"),
        FakeReply::Closes(b"$5\r\nab".to_vec()),
    ] {
        let shown = format!("{reply:?}");
        let fake = FakeRedis::start(move |command| match command[0].as_slice() {
            b"EVALSHA" | b"EVAL" | b"GET" => reply.clone(),
            _ => FakeReply::Usual,
        })
        .expect("a port");
        let process = Process::new(&fake.url(), &Database::new());
        let mut answered = 0;
        for round in 0..5 {
            for key in 0..KEYS {
                let read = process.read(key).await;
                assert!(
                    read.is_none_or(|read| read == process.database.row(key)),
                    "{shown}"
                );
                answered += u64::from(read.is_some());
            }
            process.write(round).await;
        }
        assert!(answered > 0, "{shown}");
        process.check();
    }
}
