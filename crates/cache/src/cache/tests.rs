//! In process alone, in virtual time.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use seawall::clock::Clock;
use tokio::time::sleep;

use super::*;
use crate::{Error, Event};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A loader that counts, takes its time and returns how often it was run.
#[derive(Clone, Default)]
pub(super) struct Database {
    loads: Arc<AtomicU32>,
    takes: Duration,
    pub(super) fails: Arc<std::sync::atomic::AtomicBool>,
}

impl Database {
    pub(super) fn taking(takes: Duration) -> Self {
        Self {
            takes,
            ..Self::default()
        }
    }

    pub(super) fn load(
        &self,
    ) -> impl Fn() -> futures_util::future::BoxFuture<'static, io::Result<Option<u32>>>
    + Send
    + Sync
    + use<> {
        let database = self.clone();
        move || {
            let database = database.clone();
            Box::pin(async move {
                let number = database.loads.fetch_add(1, SeqCst) + 1;
                sleep(database.takes).await;
                match database.fails.load(SeqCst) {
                    true => Err(io::Error::other("down")),
                    false => Ok(Some(number)),
                }
            })
        }
    }

    pub(super) fn loads(&self) -> u32 {
        self.loads.load(SeqCst)
    }
}

pub(super) fn exact() -> Settings {
    Settings {
        ttl: 10 * SECOND,
        jitter: 0.0,
        beta: 0.0,
        negative: 2 * SECOND,
        stale: 5 * SECOND,
        ..Settings::default()
    }
}

fn cache(settings: Settings) -> Cache<u64, u32> {
    Cache::builder("numbers")
        .settings(settings)
        .clock(Clock::runtime())
        .build()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_are_one_load() {
    let (cache, database) = (cache(exact()), Database::taking(SECOND));
    let began = tokio::time::Instant::now();
    let callers = (0..10_000).map(|_| cache.get_or_load(&1, database.load()));
    for value in join_all(callers).await {
        assert_eq!(value.unwrap().as_deref(), Some(&1));
    }
    assert_eq!((database.loads(), began.elapsed()), (1, SECOND));
    assert_eq!(cache.metrics().get(Event::Shared), 9_999);
    assert_eq!(cache.get(&1).as_deref(), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_nobody_along() {
    let (cache, database) = (cache(exact()), Database::taking(SECOND));
    let mut leader = Box::pin(cache.get_or_load(&1, database.load()));
    assert!((&mut leader).now_or_never().is_none());
    let follower = cache.get_or_load(&1, database.load());
    drop(leader);
    assert_eq!(follower.await.unwrap().as_deref(), Some(&1));
    assert_eq!(database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_during_a_load_leaves_nothing_behind() {
    let (cache, database) = (cache(exact()), Database::taking(SECOND));
    let before = tokio::spawn({
        let (cache, load) = (cache.clone(), database.load());
        async move { cache.get_or_load(&1, load).await }
    });
    sleep(SECOND / 2).await;
    cache.invalidate(&1).await;
    // Who asks from now on does not join what was begun before.
    let after = cache.get_or_load(&1, database.load()).await.unwrap();
    assert_eq!(after.as_deref(), Some(&2));
    assert_eq!(before.await.unwrap().unwrap().as_deref(), Some(&1));
    assert_eq!(cache.get(&1).as_deref(), Some(&2));
    assert_eq!(cache.metrics().get(Event::LeaseLost), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_known_for_a_while_and_a_put_or_invalidation_ends_that() {
    let cache = cache(exact());
    let loads = Arc::new(AtomicU32::new(0));
    let none = || {
        let loads = loads.clone();
        move || {
            loads.fetch_add(1, SeqCst);
            async { Ok::<_, io::Error>(None) }
        }
    };
    for _ in 0..3 {
        assert_eq!(cache.get_or_load(&1, none()).await.unwrap(), None);
    }
    assert_eq!(loads.load(SeqCst), 1);
    cache.put(&1, 7).await.unwrap();
    assert_eq!(
        cache.get_or_load(&1, none()).await.unwrap().as_deref(),
        Some(&7)
    );
    cache.invalidate(&1).await;
    assert_eq!(cache.get_or_load(&1, none()).await.unwrap(), None);
    cache.invalidate(&1).await;
    assert_eq!(cache.get_or_load(&1, none()).await.unwrap(), None);
    sleep(2 * SECOND).await;
    assert_eq!(cache.get_or_load(&1, none()).await.unwrap(), None);
    assert_eq!(loads.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_weak_reader_gets_what_has_expired_and_a_strong_one_waits() {
    let (cache, database) = (cache(exact()), Database::taking(SECOND));
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    sleep(11 * SECOND).await;
    assert_eq!(cache.get(&1), None);
    let weak = cache.read(&1, Read::Weak, database.load()).now_or_never();
    let weak = weak.unwrap().unwrap();
    assert_eq!(
        (weak.value.as_deref(), weak.stale, weak.source),
        (Some(&1), true, Source::Local)
    );
    let strong = cache.read(&1, Read::Strong, database.load()).await.unwrap();
    assert_eq!((strong.value.as_deref(), strong.stale), (Some(&2), false));
    assert_eq!(database.loads(), 2);
    // Beyond the stale window there is nothing to be had at once.
    sleep(15 * SECOND).await;
    assert!(
        cache
            .read(&1, Read::Weak, database.load())
            .now_or_never()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_load_is_answered_by_what_is_stale_and_not_repeated_at_once() {
    let (cache, database) = (cache(exact()), Database::default());
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    database.fails.store(true, SeqCst);
    sleep(11 * SECOND).await;
    for _ in 0..100 {
        let answer = cache.read(&1, Read::Strong, database.load()).await.unwrap();
        assert_eq!((answer.value.as_deref(), answer.stale), (Some(&1), true));
    }
    assert_eq!(database.loads(), 2);
    sleep(SECOND).await;
    database.fails.store(false, SeqCst);
    let answer = cache.read(&1, Read::Strong, database.load()).await.unwrap();
    assert_eq!((answer.value.as_deref(), answer.stale), (Some(&3), false));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_and_not_kept() {
    let (cache, database) = (cache(exact()), Database::taking(SECOND));
    database.fails.store(true, SeqCst);
    let (a, b) = tokio::join!(
        cache.get_or_load(&1, database.load()),
        cache.get_or_load(&1, database.load())
    );
    assert!(matches!((a, b), (Err(Error::Load(_)), Err(Error::Load(_)))));
    database.fails.store(false, SeqCst);
    assert_eq!(
        cache
            .get_or_load(&1, database.load())
            .await
            .unwrap()
            .as_deref(),
        Some(&2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_panics_or_never_returns_is_an_error_and_the_key_is_free() {
    let cache = cache(exact());
    let panics = || async { panic!("on purpose") };
    let error = cache
        .get_or_load::<_, _, io::Error>(&1, panics)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Panicked(message) if &*message == "on purpose"));

    let began = tokio::time::Instant::now();
    let hangs = std::future::pending::<io::Result<Option<u32>>>;
    let error = cache.get_or_load(&1, hangs).await.unwrap_err();
    assert!(matches!(error, Error::LoadTimeout(_)));
    assert_eq!(began.elapsed(), Settings::default().load_timeout);

    let database = Database::default();
    assert_eq!(
        cache
            .get_or_load(&1, database.load())
            .await
            .unwrap()
            .as_deref(),
        Some(&1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_asks_for_its_own_key_is_told_so() {
    let cache = cache(exact());
    let inner = cache.clone();
    let load = move || {
        let cache = inner.clone();
        async move {
            cache
                .get_or_load(&1, || async { Ok::<_, io::Error>(None) })
                .await
                .map(|_| None)
        }
    };
    let error = cache.get_or_load(&1, load).await.unwrap_err();
    let Error::Load(cause) = error else {
        panic!("{error}")
    };
    assert!(cause.to_string().contains("wait for itself"), "{cause}");
}

/// Asked for every millisecond, with a load of a second and lives of ten: each life is ended by one
/// load, begun before its end, while everybody is served.
#[tokio::test(start_paused = true)]
async fn a_value_is_loaded_early_by_one_while_others_are_served() {
    let settings = Settings {
        beta: 1.0,
        ..exact()
    };
    let (cache, database) = (cache(settings), Database::taking(SECOND));
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    for _ in 0..60_000 {
        sleep(SECOND / 1_000).await;
        let answer = cache.read(&1, Read::Strong, database.load()).now_or_never();
        assert!(!answer.expect("nobody waits").unwrap().stale);
    }
    // A life is ten seconds, of which a few are cut off.
    let loads = database.loads();
    assert!((6..=20).contains(&loads), "{loads}");
    assert_eq!(cache.metrics().get(Event::LocalMiss), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bound_loader_is_read_through() {
    let cache = Cache::builder("squares")
        .loader(|key: u64| async move { Ok::<_, io::Error>(Some(key * key)) })
        .build();
    assert_eq!(cache.load(&7).await.unwrap().as_deref(), Some(&49));
    let bare = Cache::<u64, u64>::builder("bare").build();
    assert!(matches!(bare.load(&7).await, Err(Error::NoLoader)));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_costs_loads_and_nothing_else() {
    let clock = Clock::manual();
    let cache = Cache::<u64, u32>::builder("jumps")
        .settings(exact())
        .clock(clock.clone())
        .build();
    let database = Database::default();
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    let Clock::Manual(nanos) = &clock else {
        unreachable!()
    };
    for at in [u64::MAX, 0, u64::MAX - 1, 5, 1 << 63] {
        nanos.store(at, SeqCst);
        let value = cache.get_or_load(&1, database.load()).await.unwrap();
        assert!(value.is_some());
        assert!(database.loads() <= 6);
    }
}

#[tokio::test(start_paused = true)]
async fn without_room_it_still_coalesces() {
    let settings = Settings {
        capacity: 0,
        ..exact()
    };
    let (cache, database) = (cache(settings), Database::taking(SECOND));
    let callers = (0..100).map(|_| cache.get_or_load(&1, database.load()));
    assert!(join_all(callers).await.iter().all(Result::is_ok));
    assert_eq!(database.loads(), 1);
    assert_eq!(cache.get(&1), None);
}

/// A write of which nobody has seen the end, as its caller went away: neither what was read during
/// it is left behind, nor what was read before it was made at last.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_dropped_leaves_nothing_stale() {
    let settings = Settings {
        ttl: 100 * SECOND,
        ..exact()
    };
    let (cache, database) = (cache(settings), Database::default());
    let load = async || cache.get_or_load(&1, database.load()).await.unwrap();
    let write = cache.write_aside(&1, async {
        let _ = load().await;
        std::future::pending::<io::Result<()>>().await
    });
    assert!(tokio::time::timeout(SECOND, write).await.is_err());
    assert_eq!(load().await.as_deref(), Some(&2));
    // It is made now, and the fence would have fallen.
    sleep(9 * SECOND).await;
    assert_eq!(load().await.as_deref(), Some(&2));
    sleep(SECOND + SECOND / 10).await;
    assert_eq!(load().await.as_deref(), Some(&3));
}
