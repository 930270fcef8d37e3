//! The cache over a real Redis: several caches, each with a connection of its own, as if in as many
//! processes.

#![cfg(feature = "redis")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Event, Json, Read, Settings, Source};
use seawall_testkit::Redis as Server;
use tokio::time::sleep;

type Process = Cache<String, u64>;

fn process(server: &Server, settings: Settings) -> Process {
    let redis = Redis::single(&server.url()).expect("the URL of a server");
    // Of tests beside others on a busy machine: what is slow is not to count as failed.
    let redis = redis.timeout(Duration::from_secs(10));
    Cache::builder("numbers")
        .settings(settings)
        .redis(redis, Json::default())
        .build()
}

fn processes(server: &Server, count: usize) -> Vec<Process> {
    let settings = Settings::default();
    (0..count).map(|_| process(server, settings)).collect()
}

/// A row that counts its versions, and how often it was read.
#[derive(Clone, Default)]
struct Row {
    version: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
}

impl Row {
    /// Reads it, and answers so much later.
    fn slow(
        &self,
        takes: Duration,
    ) -> impl Fn() -> futures_util::future::BoxFuture<'static, io::Result<Option<u64>>>
    + Send
    + Sync
    + use<> {
        let row = self.clone();
        move || {
            let row = row.clone();
            Box::pin(async move {
                row.reads.fetch_add(1, SeqCst);
                let version = row.version.load(SeqCst);
                sleep(takes).await;
                Ok(Some(version))
            })
        }
    }
}

const KEY: &str = "a key\0 with anything";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_four_processes_are_one_load() {
    let server = Server::start().unwrap();
    let (processes, row) = (processes(&server, 4), Row::default());
    row.version.store(7, SeqCst);
    let key = KEY.to_owned();
    let load = || row.slow(Duration::from_millis(200));
    let callers = (0..1_000).map(|n| processes[n % 4].get_or_load(&key, load()));
    for value in join_all(callers).await {
        assert_eq!(value.unwrap().as_deref(), Some(&7));
    }
    assert_eq!(row.reads.load(SeqCst), 1);
    // Another process finds it in Redis.
    let late = process(&server, Settings::default());
    let answer = late.read(&key, Read::Strong, load()).await.unwrap();
    assert_eq!(
        (answer.value.as_deref(), answer.source),
        (Some(&7), Source::Redis)
    );
    late.invalidate_all().await.unwrap();
    row.version.store(8, SeqCst);
    let value = late.get_or_load(&key, load()).await.unwrap();
    assert_eq!(value.as_deref(), Some(&8));
}

/// Writers and slow readers in two processes at once: a read that begins when an invalidation has
/// returned sees its write, in the process that wrote; and in the end every process does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_and_a_slow_read_leave_nothing_stale() {
    let server = Server::start().unwrap();
    let (processes, row) = (processes(&server, 2), Row::default());
    let key = KEY.to_owned();
    for round in 1..=300 {
        let slow = row.slow(Duration::from_micros(fastrand::u64(..2_000)));
        let reader = processes[0].clone();
        let reading = tokio::spawn({
            let key = key.clone();
            async move { reader.get_or_load(&key, slow).await }
        });
        sleep(Duration::from_micros(fastrand::u64(..1_500))).await;
        row.version.store(round, SeqCst);
        let writer = &processes[round as usize % 2];
        writer.invalidate(&key).await;
        let seen = writer
            .get_or_load(&key, row.slow(Duration::ZERO))
            .await
            .unwrap();
        assert_eq!(seen.as_deref(), Some(&round));
        let _ = reading.await.unwrap().unwrap();
    }
    // The last notices arrive.
    for process in &processes {
        let mut tries = 0;
        while process.get(&key).is_some_and(|value| *value != 300) {
            tries += 1;
            assert!(tries < 1_000, "stale");
            sleep(Duration::from_millis(10)).await;
        }
        let value = process
            .get_or_load(&key, row.slow(Duration::ZERO))
            .await
            .unwrap();
        assert_eq!(value.as_deref(), Some(&300));
    }
}

/// Without Redis it loads, each process for itself, and nobody fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_it_loads() {
    let redis = Redis::single("redis://127.0.0.1:1").unwrap();
    let cache = Cache::<String, u64>::builder("alone")
        .redis(redis, Json::default())
        .build();
    let (row, key) = (Row::default(), KEY.to_owned());
    row.version.store(3, SeqCst);
    for _ in 0..50 {
        let value = cache
            .get_or_load(&key, row.slow(Duration::ZERO))
            .await
            .unwrap();
        assert_eq!(value.as_deref(), Some(&3));
    }
    assert!(row.reads.load(SeqCst) < 50, "the reserve answers");
    assert!(cache.metrics().get(Event::ReserveHit) > 0);
    row.version.store(4, SeqCst);
    cache.invalidate(&key).await;
    let value = cache
        .get_or_load(&key, row.slow(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(value.as_deref(), Some(&4));
}
