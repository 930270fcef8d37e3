//! A cache behind a filter: what it saves, and that nothing that was written is ever denied.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::stream;
use seawall_cache::{Cache, Event, Filter, FilterSize, Read, Rebuild, Source};

struct Database(Arc<AtomicU64>);

impl Database {
    /// Even keys below 2,000 exist, and so does whatever is larger than a million.
    fn load(
        &self,
        key: u64,
    ) -> impl Fn() -> std::future::Ready<Result<Option<u64>, Infallible>> + Send + Sync + 'static
    {
        let loads = self.0.clone();
        move || {
            loads.fetch_add(1, Relaxed);
            let there = (key < 2_000 && key.is_multiple_of(2)) || key > 1_000_000;
            std::future::ready(Ok(there.then_some(key)))
        }
    }
}

async fn set_up() -> (Cache<u64, u64>, Filter, Database) {
    let filter = Filter::local(FilterSize::new(1_000, 0.01));
    let cache = Cache::builder("numbers").filter(filter.clone()).build();
    let scan = || stream::iter((0..2_000_u64).step_by(2).map(Ok::<_, Infallible>));
    let how = Rebuild {
        settle: Duration::ZERO,
        ..Rebuild::default()
    };
    filter
        .rebuild(scan, how)
        .await
        .expect("a scan that cannot fail");
    (cache, filter, Database(Arc::default()))
}

#[tokio::test(start_paused = true)]
async fn absent_keys_reach_the_database_at_the_stated_error() {
    let (cache, filter, database) = set_up().await;
    for key in 10_000..60_000 {
        assert_eq!(
            cache.get_or_load(&key, database.load(key)).await.unwrap(),
            None
        );
    }
    let loads = database.0.load(Relaxed);
    assert!(loads <= 550, "{loads} of 50,000 at 1 %");
    assert_eq!(cache.metrics().get(Event::FilterSaved), 50_000 - loads);
    assert_eq!(cache.metrics().get(Event::FilterWrong), loads);
    let measured = filter.counts().error().unwrap();
    assert!((measured - loads as f64 / 50_000.0).abs() < 1e-9);
    // What the filter denies takes no place.
    assert!(cache.len() <= loads);
    for key in (0..2_000).step_by(2) {
        assert!(
            cache
                .get_or_load(&key, database.load(key))
                .await
                .unwrap()
                .is_some()
        );
    }
    let answer = cache
        .read(&10_001, Read::Strong, database.load(10_001))
        .await
        .unwrap();
    assert!(answer.value.is_none() && !answer.stale);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_found_by_whichever_way() {
    let (cache, _, database) = set_up().await;
    // Of keys that the filter denies, for a load would find them.
    let mut absent = Vec::new();
    for key in 1_000_001.. {
        let answer = cache
            .read(&key, Read::Strong, database.load(key))
            .await
            .unwrap();
        if answer.source == Source::Filter {
            absent.push(key);
        }
        if absent.len() == 4 {
            break;
        }
    }
    let [put, aside, through, past] = absent[..] else {
        panic!("{absent:?}");
    };
    let written = async || Ok::<_, Infallible>(());
    cache.put(&put, put).await.unwrap();
    cache.write_aside(&aside, written()).await.unwrap();
    cache
        .write_through(&through, through, written())
        .await
        .unwrap();
    cache.invalidate(&past).await;
    for key in absent {
        let value = cache.get_or_load(&key, database.load(key)).await.unwrap();
        assert_eq!(value.as_deref(), Some(&key));
    }
}
