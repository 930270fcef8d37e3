//! What was found by trying to break it: each was a stale value, a load too many or an error too many.

#![cfg(feature = "redis")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use seawall::clock::Clock;
use seawall::{Call, Tick, layer};
use seawall_cache::redis::Redis;
use seawall_cache::{BehindSettings, Cache, Event, Json, Read, Source, WriteBehind};
use seawall_testkit::{FakeRedis, FakeReply, Redis as Server};
use tokio::time::sleep;

const KEY: u64 = 7;

fn cache(url: &str) -> Cache<u64, u64> {
    // Of tests beside others on a busy machine: what is slow is not to count as failed.
    let redis = Redis::single(url).expect("a URL");
    let redis = redis.timeout(Duration::from_secs(10));
    Cache::builder("attacked")
        .redis(redis, Json::default())
        .build()
}

/// Looks until it is so, for half a minute at most.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if so() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} does not happen");
}

fn counted(
    loads: &Arc<AtomicU64>,
) -> impl Fn() -> std::future::Ready<io::Result<Option<u64>>> + Send + Sync + use<> {
    let loads = loads.clone();
    move || std::future::ready(Ok(Some(loads.fetch_add(1, SeqCst) + 1)))
}

/// The script's key, where it is one.
fn place(command: &[Vec<u8>]) -> Option<&[u8]> {
    matches!(command[0].as_slice(), b"EVALSHA" | b"EVAL").then(|| command[3].as_slice())
}

/// Who was deaf when everything was voided learns of it with its channel, or it would read, and
/// invalidate, entries that nobody else sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_was_raised_while_the_channel_was_lost_is_known_when_it_is_back() {
    let server = Server::start().expect("redis-server");
    let (cache, loads) = (cache(&server.url()), Arc::default());
    let flushed = |cache: &Cache<_, _>| cache.metrics().get(Event::Flush);
    let heard = || cache.report().redis.and_then(|redis| redis.heard_ms);
    until("a channel", || heard().is_some()).await;
    cache.get_or_load(&KEY, counted(&loads)).await.unwrap();
    let before = flushed(&cache);
    // As another process raises it, whose notice does not arrive.
    let raised = server.ask(&["INCR", "seawall:attacked!epoch"]).unwrap();
    assert!(raised.parse::<u64>().is_ok(), "{raised}");
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
    // Lost, or back: a channel that breaks before it has heard anything is told of once.
    until("a loss", || flushed(&cache) > before).await;
    let answer = cache.read(&KEY, Read::Strong, counted(&loads)).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.value.as_deref(), answer.source),
        (Some(&2), Source::Loaded)
    );
}

/// Nothing more is missed while nothing is heard. Each attempt in vain used to void the reserve, and
/// to part callers from the load that was under way.
#[tokio::test]
async fn attempts_at_a_channel_in_vain_void_nothing() {
    let away = FakeRedis::start(|_| FakeReply::Closes(Vec::new())).expect("a port");
    let (cache, loads) = (cache(&away.url()), Arc::default());
    cache.get_or_load(&KEY, counted(&loads)).await.unwrap();
    until("some attempts", || away.connections() >= 8).await;
    assert_eq!(cache.metrics().get(Event::Flush), 0);
}

/// With the channel down a lease is looked at now and then. That is waiting, and no reason to load
/// beside its holder.
#[tokio::test]
async fn who_looks_at_a_lease_does_not_load_before_it_ends() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = asked.clone();
    let fake = FakeRedis::start(move |command| match place(command) {
        Some(place) if place.ends_with(b"!epoch") => FakeReply::line(":7"),
        Some(_) => match (command.len(), counts.fetch_add(1, SeqCst)) {
            // A fetch, while another one loads, and after that.
            (9, 0..20) => FakeReply::line("*2\r\n:2\r\n:8000"),
            (9, _) => FakeReply::line("*2\r\n:1\r\n:0"),
            _ => FakeReply::line(":1"),
        },
        None if command[0] == b"HELLO" => FakeReply::Usual,
        None => FakeReply::Closes(Vec::new()),
    })
    .expect("a port");
    let cache = cache(&fake.url());
    let before = asked.clone();
    let load = move || {
        let asked = before.load(SeqCst) as u64;
        std::future::ready(Ok::<_, io::Error>(Some(asked)))
    };
    let value = cache.get_or_load(&KEY, load).await.unwrap();
    assert_eq!(value.as_deref(), Some(&21), "loads after so many looks");
}

/// What says that a write has ended, and is lost, is said again: the fence would stand for its whole
/// length, and all that time every read would be a load.
#[tokio::test]
async fn the_end_of_a_write_that_redis_did_not_take_is_told_again() {
    let ends = Arc::new(AtomicUsize::new(0));
    let counts = ends.clone();
    let fake = FakeRedis::start(move |command| match place(command) {
        Some(place) if place.ends_with(b"!epoch") => FakeReply::line(":7"),
        Some(_) if command.len() == 13 => match counts.fetch_add(1, SeqCst) {
            0 => FakeReply::line("-ERR lost"),
            _ => FakeReply::line("*2\r\n:0\r\n:0"),
        },
        Some(_) => FakeReply::line(":0"),
        None => FakeReply::Usual,
    })
    .expect("a port");
    let cache = cache(&fake.url());
    let write = std::future::ready(Ok::<_, io::Error>(()));
    cache.write_aside(&KEY, write).await.unwrap();
    until("another end", || ends.load(SeqCst) >= 2).await;
}

/// The main entry is invalidated, and with it goes the number of its copies; the copies are not, for
/// their shard is away.
#[tokio::test]
async fn copies_whose_invalidation_failed_are_invalidated_later_all_the_same() {
    let (mains, failures) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let invalidated = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let copies = invalidated.clone();
    let fake = FakeRedis::start(move |command| {
        let Some(place) = place(command) else {
            return FakeReply::Usual;
        };
        let copy = place.windows(2).find(|part| part[0] == b'#');
        match copy.map(|part| usize::from(part[1] - b'1')) {
            _ if place.ends_with(b"!epoch") => FakeReply::line(":7"),
            None => match mains.fetch_add(1, SeqCst) {
                0 => FakeReply::line(":2"),
                _ => FakeReply::line(":0"),
            },
            Some(_) if failures.fetch_add(1, SeqCst) < 2 => FakeReply::line("-ERR away"),
            Some(copy) => {
                copies[copy].fetch_add(1, SeqCst);
                FakeReply::line(":0")
            }
        }
    })
    .expect("a port");
    cache(&fake.url()).invalidate(&KEY).await;
    until("the copies' invalidation", || {
        invalidated.iter().all(|copy| copy.load(SeqCst) > 0)
    })
    .await;
}

/// Who begins a load may have little time left, and others wait for it, too.
#[tokio::test]
async fn a_load_does_not_end_with_the_deadline_of_who_began_it() {
    let cache = Cache::<u64, bool>::builder("deadlines").build();
    let load = || async {
        let call = layer::current().expect("of whoever began it");
        Ok::<_, io::Error>(Some(call.deadline == Tick::MAX))
    };
    let clock = Clock::system();
    let call = Call {
        deadline: clock.now() + Duration::from_secs(60),
        ..Call::default()
    };
    let free = layer::within(call, &clock, cache.get_or_load(&KEY, load)).await;
    assert_eq!(free.unwrap().as_deref(), Some(&true));
}

/// A counter is written once an interval, however often it is put.
#[tokio::test(start_paused = true)]
async fn what_is_put_all_the_time_is_written_once_an_interval() {
    let written = Arc::new(AtomicUsize::new(0));
    let counts = written.clone();
    let cache = Cache::<u64, u64>::builder("seen").build();
    let behind = WriteBehind::start(cache, BehindSettings::default(), move |batch| {
        counts.fetch_add(batch.len(), SeqCst);
        async {
            sleep(Duration::from_millis(50)).await;
            Ok::<_, io::Error>(())
        }
    });
    for number in 0..1_000 {
        behind.put(KEY, number).await;
        sleep(Duration::from_millis(10)).await;
    }
    // Of ten seconds.
    let written = written.load(SeqCst);
    assert!((9..=11).contains(&written), "{written} times");
}

/// However many they are: one load, and no more questions at once than Redis answers in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_missing_keys_are_one_load() {
    let server = Server::start().expect("redis-server");
    let (cache, loads) = (cache(&server.url()), Arc::new(AtomicU64::new(0)));
    let keys: Vec<u64> = (0..10_000).chain(0..10).collect();
    let counts = loads.clone();
    let load = move |keys: Vec<u64>| {
        counts.fetch_add(1, SeqCst);
        let rows = keys.into_iter().map(|key| (key, key));
        std::future::ready(Ok::<_, io::Error>(rows.collect()))
    };
    let found = cache.get_many(&keys, load).await.unwrap();
    assert_eq!((found.len(), loads.load(SeqCst)), (10_000, 1));
}
