//! What a program shows of its caches.

#![cfg(feature = "app")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use seawall::app::App;
use seawall::clock::Clock;
use seawall_cache::report::{
    CacheReport, Coherence, Counts, FilterReport, GuardReport, HotKey, Kind, RedisReport, Report,
};
use seawall_cache::{Cache, Caches, Filter, FilterSize, Guard, GuardSettings};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("it answers");
    let (head, body) = reply.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{reply}");
    body.to_owned()
}

fn users(guard: &Guard) -> Cache<u64, u64> {
    Cache::builder("users").guard(guard.clone()).build()
}

/// Two reads of one key, and one of an absent one.
async fn read(users: &Cache<u64, u64>) {
    for (key, value) in [(7, Some(7)), (7, Some(7)), (8, None)] {
        let load = move || async move { Ok::<_, Infallible>(value) };
        users.get_or_load(&key, load).await.expect("it is loaded");
    }
}

#[tokio::test]
async fn a_program_shows_its_caches_by_one_line() {
    let arguments = ["--set", "admin.address=127.0.0.1:0"];
    let app = App::<()>::new("demo").environment([]).arguments(arguments);
    let settings = GuardSettings {
        rate: 100.0,
        ..GuardSettings::default()
    };
    // Tokens do not come back while it is looked at.
    let guard = Guard::with_clock(settings, Clock::manual());
    let users = users(&guard);
    let shown = users.clone();
    let launched = app.launch(async move |app| {
        let caches = Caches::default();
        caches.guard("database", &guard);
        caches.show(&app);
        caches.add(&shown);
        Ok(())
    });
    let running = launched.await.expect("it runs");
    read(&users).await;
    let admin = running.addresses().admin().expect("an admin listener");

    let report: Report = serde_json::from_str(&get(admin, "/cache").await).expect("a report");
    let [cache] = &report.caches[..] else {
        panic!("{report:?}");
    };
    assert_eq!((&*cache.name, cache.kind), ("users", Kind::Values));
    let counts = Counts {
        local_hits: 1,
        local_misses: 2,
        loads: 2,
        ..Counts::default()
    };
    assert_eq!(cache.counts, counts);
    assert_eq!((&cache.redis, &report.filters[..]), (&None, &[][..]));
    let guard = GuardReport {
        name: "database".into(),
        rate: 100.0,
        // The burst is a tenth of the rate.
        tokens: 8.0,
        admitted: 2,
        ..GuardReport::default()
    };
    assert_eq!(report.guards, [guard]);

    let metrics = get(admin, "/metrics").await;
    for line in [
        "seawall_cache_hits_total{cache=\"users\",level=\"local\"} 1",
        "seawall_cache_misses_total{cache=\"users\",level=\"local\"} 2",
        "seawall_cache_loads_total{cache=\"users\"} 2",
        "seawall_cache_guard_loads_total{guard=\"database\",result=\"admitted\"} 2",
        "seawall_cache_guard_rate{guard=\"database\"} 100.0",
        "seawall_cache_hot_keys{cache=\"users\"} 0",
    ] {
        assert!(
            metrics.lines().any(|told| told == line),
            "{line} in\n{metrics}"
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn what_is_gone_is_told_of_no_more() {
    let caches = Caches::default();
    let guard = Guard::new(GuardSettings::default());
    let users = users(&guard);
    let filter = Filter::local(FilterSize::new(100, 0.01));
    let names = Cache::<String, u64>::builder("names")
        .filter(filter)
        .build();
    caches.add(&users);
    caches.add(&names);
    names
        .get_or_load(&"a".into(), || async { Ok::<_, Infallible>(None) })
        .await
        .expect("it is loaded");
    let report = caches.report();
    let told: Vec<_> = report.caches.iter().map(|cache| &*cache.name).collect();
    assert_eq!(told, ["names", "users"]);
    assert_eq!((&*report.guards[0].name, report.guards.len()), ("users", 1));
    assert_eq!(
        (&*report.filters[0].name, report.filters[0].unknown),
        ("names", 1)
    );
    drop(users);
    assert_eq!(caches.report().caches.len(), 1);
}

/// What others read by. A field may come; none may go, nor mean something else.
#[test]
fn the_shape_of_the_report() {
    let report = Report {
        caches: vec![CacheReport {
            name: "users".into(),
            kind: Kind::Values,
            entries: 1,
            bytes: None,
            counts: Counts::default(),
            hot_keys: vec![HotKey {
                key: "7".into(),
                rate: 1_500.0,
            }],
            redis: Some(RedisReport {
                coherence: Coherence::Lost,
                heard_ms: None,
                notices: 2,
                lost: 1,
                garbage: 1,
                shards: 1,
                given_up: 1,
                undelivered: 3,
            }),
        }],
        filters: vec![FilterReport::default()],
        guards: vec![GuardReport::default()],
    };
    let counts = json!({
        "local_hits": 0, "hot_hits": 0, "redis_hits": 0, "reserve_hits": 0,
        "local_misses": 0, "redis_misses": 0,
        "loads": 0, "early_loads": 0, "load_errors": 0, "shared": 0, "waits": 0, "stale": 0,
        "leases_lost": 0, "not_decoded": 0, "too_large": 0, "not_encoded": 0, "rejected": 0,
        "invalidations": 0, "flushes": 0, "filter_saves": 0, "filter_errors": 0, "redis_errors": 0,
    });
    let shape = json!({
        "caches": [{
            "name": "users", "kind": "values", "entries": 1, "bytes": null, "counts": counts,
            "hot_keys": [{ "key": "7", "rate": 1500.0 }],
            "redis": {
                "coherence": "lost", "heard_ms": null, "notices": 2, "lost": 1, "garbage": 1,
                "shards": 1, "given_up": 1, "undelivered": 3,
            },
        }],
        "filters": [{
            "name": "", "never": 0, "maybe": 0, "unknown": 0, "wrong": 0, "overfull": null,
        }],
        "guards": [{
            "name": "", "rate": 0.0, "tokens": 0.0, "limit": null,
            "admitted": 0, "waited": 0, "over_rate": 0, "over_limit": 0,
        }],
    });
    assert_eq!(serde_json::to_value(&report).expect("JSON"), shape);
    assert_eq!(
        serde_json::from_value::<Report>(shape).expect("a report"),
        report
    );
}

/// With Redis, whether others are heard is shown.
#[cfg(feature = "redis")]
#[tokio::test]
async fn the_second_level_is_shown() {
    use seawall_cache::Json;
    use seawall_cache::redis::Redis;

    let server = seawall_testkit::Redis::start().expect("a server");
    let redis = Redis::single(&server.url()).expect("a URL");
    let redis = redis.timeout(Duration::from_secs(10));
    let users = Cache::<u64, u64>::builder("users")
        .redis(redis, Json::default())
        .build();
    read(&users).await;
    while users
        .report()
        .redis
        .is_none_or(|redis| redis.coherence == Coherence::Lost)
    {
        tokio::task::yield_now().await;
    }
    let second = users.report().redis.expect("a second level");
    assert!(second.heard_ms.is_some_and(|ms| ms <= 2_000));
    assert_eq!(
        (second.shards, second.given_up, second.undelivered),
        (1, 0, 0)
    );
    assert_eq!(users.report().counts.redis_misses, 2);
}
