//! Hot keys over a real Redis. Each cache here is what a process has.
#![cfg(feature = "redis")]

use std::time::{Duration, Instant};

use seawall_cache::redis::Redis;
use seawall_cache::{Cache, HotSettings, Json, Read, Settings, Source};

fn process(server: &seawall_testkit::Redis) -> Cache<u64, u64> {
    let redis = Redis::single(&server.url()).expect("a URL");
    let settings = Settings {
        capacity: 0,
        ..Settings::default()
    };
    // Few reads make a key hot: a busy machine makes few.
    let hot = HotSettings {
        rate: 20.0,
        ..HotSettings::default()
    };
    Cache::builder("pages")
        .settings(settings)
        .hot(hot)
        .redis(redis.timeout(Duration::from_secs(5)), Json::default())
        .build()
}

async fn read(cache: &Cache<u64, u64>, value: u64) -> (Option<u64>, Source) {
    let load = move || std::future::ready(Ok::<_, std::io::Error>(Some(value)));
    let answer = cache.read(&7, Read::Strong, load).await.expect("a value");
    (answer.value.as_deref().copied(), answer.source)
}

#[tokio::test]
async fn found_held_told_of_and_invalidated_everywhere() {
    let server = seawall_testkit::Redis::start().unwrap();
    let (a, b) = (process(&server), process(&server));
    let patience = Instant::now() + Duration::from_secs(30);
    read(&b, 1).await;
    while read(&a, 1).await.1 != Source::Hot || b.hot_keys().is_empty() {
        assert!(Instant::now() < patience, "not found, or not told of");
        tokio::task::yield_now().await;
    }
    assert_eq!(b.hot_keys(), ["7"]);
    // From the first read on, which goes to a copy.
    while read(&b, 1).await.1 != Source::Hot {
        assert!(Instant::now() < patience, "not held");
    }
    a.invalidate(&7).await;
    assert_eq!(read(&a, 2).await.0, Some(2));
    // The other one is told, and finds no copy of before.
    while read(&b, 2).await.0 != Some(2) {
        assert!(Instant::now() < patience, "not told");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..50 {
        assert_eq!(
            (read(&a, 3).await.0, read(&b, 3).await.0),
            (Some(2), Some(2))
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
