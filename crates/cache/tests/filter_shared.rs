//! The filter that processes share, over a real Redis. Each handle here is what a process has.
#![cfg(feature = "redis")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use seawall_cache::redis::{Fault, Redis};
use seawall_cache::{Filter, FilterError, FilterSize, Presence, Rebuild};

fn at_once() -> Rebuild {
    Rebuild {
        rate: 1e9,
        settle: Duration::ZERO,
        ..Rebuild::default()
    }
}

fn keys(keys: std::ops::Range<u64>) -> impl futures_util::Stream<Item = Result<u64, Infallible>> {
    stream::iter(keys.map(Ok))
}

/// A handle of its own connection. With a time limit that a busy machine keeps, too.
fn handle(server: &seawall_testkit::Redis, size: FilterSize) -> Filter {
    let redis = Redis::single(&server.url()).expect("a URL");
    Filter::shared(&redis.timeout(Duration::from_secs(5)), "shop:users", size)
}

async fn run<T: redis::FromRedisValue>(server: &seawall_testkit::Redis, line: &str) -> T {
    let client = redis::Client::open(server.url()).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("a connection");
    let mut cmd = redis::Cmd::new();
    for part in line.split(' ') {
        cmd.arg(part);
    }
    cmd.query_async(&mut connection).await.expect("an answer")
}

/// Keys of the filter in Redis.
async fn names(server: &seawall_testkit::Redis) -> Vec<String> {
    run(server, "KEYS shop:*").await
}

async fn none_denied(filter: &Filter, keys: std::ops::Range<u64>) {
    let keys: Vec<u64> = keys.collect();
    for some in keys.chunks(500) {
        let answers = filter.ask_many(some).await;
        for (key, answer) in some.iter().zip(answers) {
            assert_ne!(answer, Presence::Never, "{key}");
        }
    }
}

#[tokio::test]
async fn processes_see_one_another_s_keys_and_builds() {
    let server = seawall_testkit::Redis::start().unwrap();
    // Two segments.
    let size = FilterSize::new(150_000, 0.01);
    let (a, b) = (handle(&server, size), handle(&server, size));
    b.add(&7_u64).await.unwrap();
    assert_eq!(a.ask(&7_u64).await, Presence::Unknown);
    let built = a.rebuild(|| keys(0..150_000), at_once()).await.unwrap();
    assert_eq!((built.keys, built.fill.overfull()), (150_000, None));
    // What it was told a second ago may still stand for a second.
    let c = handle(&server, size);
    none_denied(&c, 0..150_000).await;
    let absent: Vec<u64> = (1_000_000..1_020_000).collect();
    let passed = c.ask_many(&absent).await;
    let passed = passed
        .iter()
        .filter(|answer| **answer != Presence::Never)
        .count();
    assert!(passed <= 240, "{passed} of 20,000 at 1 %");
    c.add(&2_000_000_u64).await.unwrap();
    b.add(&2_000_001_u64).await.unwrap();
    for filter in [&a, &b, &c] {
        assert_eq!(filter.ask(&2_000_000_u64).await, Presence::Maybe);
        assert_eq!(filter.ask(&2_000_001_u64).await, Presence::Maybe);
    }
    let fill = b.fill().await.unwrap();
    assert!(fill.keys.abs_diff(150_000) < 3_000, "{fill:?}");
    assert_eq!(names(&server).await.len(), 1 + 2);
}

/// Two write and read while a third rebuilds again and again: nothing written is denied, and from
/// the first build on there is always an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_without_a_gap() {
    const WRITES: u64 = 1_500;
    let server = seawall_testkit::Redis::start().unwrap();
    let size = FilterSize::new(20_000, 0.01);
    let builder = handle(&server, size);
    builder.rebuild(|| keys(0..0), at_once()).await.unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (filter, written) = (handle(&server, size), written.clone());
        tasks.push(tokio::spawn(async move {
            // The first answer is that of a process that knows of no filter yet.
            filter.ask(&0_u64).await;
            for _ in 0..WRITES {
                let key = written.fetch_add(1, Ordering::SeqCst);
                filter.add(&key).await.unwrap();
                assert_eq!(filter.ask(&key).await, Presence::Maybe, "{key}");
                let absent = filter.ask(&(1_000_000 + key)).await;
                assert_ne!(absent, Presence::Unknown, "{key}");
            }
        }));
    }
    let rotating = tokio::spawn({
        let (written, done) = (written.clone(), done.clone());
        async move {
            let mut rotations = 0;
            while !done.load(Ordering::SeqCst) || rotations < 2 {
                let scan = || keys(0..written.load(Ordering::SeqCst));
                builder.rebuild(scan, at_once()).await.unwrap();
                rotations += 1;
            }
        }
    });
    for task in tasks {
        task.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    rotating.await.unwrap();
    none_denied(&handle(&server, size), 0..2 * WRITES).await;
    assert_eq!(
        names(&server).await.len(),
        2,
        "what was built and one string about it"
    );
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_build_leaves_the_old_one_at_work() {
    let server = seawall_testkit::Redis::start().unwrap();
    let size = FilterSize::new(1_000, 0.01);
    let (a, b) = (handle(&server, size), handle(&server, size));
    a.rebuild(|| keys(0..500), at_once()).await.unwrap();
    // Dropped while it scans: as a process that dies, it says nothing more to Redis.
    let stuck = keys(0..100).chain(stream::pending());
    let build = b.rebuild(|| stuck, at_once());
    let _ = tokio::time::timeout(Duration::from_millis(200), build).await;
    assert_eq!(names(&server).await.len(), 4, "meta, builder, two segments");
    none_denied(&a, 0..500).await;
    assert_eq!(a.ask(&700_000_u64).await, Presence::Never);
    a.add(&700_000_u64).await.unwrap();
    // Its place is taken until it has been silent for long enough.
    let second = a.rebuild(|| keys(0..500), at_once()).await;
    assert!(matches!(second, Err(FilterError::UnderWay)));
    run::<redis::Value>(&server, "DEL shop:users:filter:builder").await;
    a.rebuild(|| keys(0..500), at_once()).await.unwrap();
    assert_eq!(names(&server).await.len(), 2, "nothing is left over");
}

#[tokio::test]
async fn whatever_happens_to_redis_nothing_is_denied() {
    let mut server = seawall_testkit::Redis::start().unwrap();
    let size = FilterSize::new(1_000, 0.01);
    let a = handle(&server, size);
    let absent = 9_999_999_u64;
    a.rebuild(|| keys(0..500), at_once()).await.unwrap();
    assert_eq!(a.ask(&absent).await, Presence::Never);

    // Restarted: what it has may be older than what was added.
    server.restart().unwrap();
    for _ in 0..20 {
        assert_eq!(a.ask(&absent).await, Presence::Unknown);
    }
    assert_eq!(handle(&server, size).ask(&absent).await, Presence::Unknown);
    let b = handle(&server, size);
    while let Err(FilterError::Redis(Fault::Loading)) = b.rebuild(|| keys(0..500), at_once()).await
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(b.ask(&absent).await, Presence::Never);

    // Parts are evicted.
    for name in names(&server).await {
        if name.contains('{') {
            run::<redis::Value>(&server, &format!("DEL {name}")).await;
        }
    }
    none_denied(&b, 0..500).await;
    // What is gone is not made again by who adds.
    b.add(&1_u64).await.unwrap();
    none_denied(&b, 0..500).await;
    assert_eq!(b.ask(&absent).await, Presence::Unknown);

    // Emptied.
    let c = handle(&server, size);
    c.rebuild(|| keys(0..500), at_once()).await.unwrap();
    run::<redis::Value>(&server, "FLUSHALL").await;
    none_denied(&c, 0..500).await;

    // Garbage where the filter was.
    let d = handle(&server, size);
    d.rebuild(|| keys(0..500), at_once()).await.unwrap();
    run::<redis::Value>(&server, "SET shop:users:filter garbage").await;
    none_denied(&handle(&server, size), 0..500).await;
    run::<redis::Value>(&server, "DEL shop:users:filter").await;
    run::<redis::Value>(&server, "LPUSH shop:users:filter garbage").await;
    let e = handle(&server, size);
    none_denied(&e, 0..500).await;
    assert!(e.add(&3_u64).await.is_err());
    assert!(e.rebuild(|| keys(0..5), at_once()).await.is_err());

    // Gone.
    run::<redis::Value>(&server, "DEL shop:users:filter").await;
    let f = handle(&server, size);
    f.rebuild(|| keys(0..500), at_once()).await.unwrap();
    assert_eq!(f.ask(&absent).await, Presence::Never);
    server.kill();
    none_denied(&f, 0..500).await;
    assert_eq!(f.ask(&absent).await, Presence::Unknown);
    assert!(f.add(&absent).await.is_err());
}

/// A key that could not be added is added before its process believes a "never" again.
#[tokio::test]
async fn what_could_not_be_added_is_added_later() {
    let server = seawall_testkit::Redis::start().unwrap();
    let size = FilterSize::new(1_000, 0.01);
    let (a, b) = (handle(&server, size), handle(&server, size));
    a.rebuild(|| keys(0..500), at_once()).await.unwrap();
    assert_eq!(b.ask(&4_000_u64).await, Presence::Never);
    // Reads go on, writes are refused.
    run::<redis::Value>(&server, "REPLICAOF 127.0.0.1 1").await;
    assert!(a.add(&4_000_u64).await.is_err());
    assert_ne!(a.ask(&4_000_u64).await, Presence::Never);
    run::<redis::Value>(&server, "REPLICAOF NO ONE").await;
    let mut answer = a.ask(&4_001_u64).await;
    while answer == Presence::Unknown {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = a.ask(&4_001_u64).await;
    }
    assert_eq!(a.ask(&4_000_u64).await, Presence::Maybe);
    assert_eq!(b.ask(&4_000_u64).await, Presence::Maybe);
}
