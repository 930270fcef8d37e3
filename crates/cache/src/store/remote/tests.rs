//! That the scripts do what [`Entry`](crate::lease::Entry) does, and what only Redis can suffer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{Value, cmd};
use seawall::clock::Clock;

use super::super::{Memory, Notice, Store};
use super::*;

/// By it lengths are counted here: Redis' own expiry, which goes by real time, is hours away.
const HOUR: Duration = Duration::from_secs(3600);
/// The time of the scripts, in milliseconds, is what this key says.
const CLOCK: &str = "local now = tonumber(redis.call('GET', 'test:now'))\n";

#[derive(Clone, Debug)]
enum Step {
    Fetch(Fetch),
    Fill(u64, Kept),
    Release(u64),
    Invalidate(bool),
    Fence(u64, Duration),
    Unfence(u64, Option<Kept>),
    Put(Kept),
    Pass(Duration),
}

#[derive(Clone, Debug)]
struct Kept {
    value: Option<Vec<u8>>,
    fresh: Duration,
    stale: Duration,
    load: Duration,
}

impl Kept {
    fn put(&self) -> Put<'_> {
        Put {
            value: self.value.as_deref(),
            fresh: self.fresh,
            stale: self.stale,
            load: self.load,
        }
    }

    fn fill(&self, token: u64) -> Fill<'_> {
        Fill {
            token: Token(token),
            value: self.value.as_deref(),
            fresh: self.fresh,
            stale: self.stale,
            load: self.load,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Said {
    Fetched(Fetched),
    Filled(bool),
    Copies(u16),
    Written(Written),
    Nothing,
}

async fn act(store: &Store, key: &Bytes, step: &Step) -> Result<Said, Fault> {
    Ok(match step {
        Step::Fetch(ask) => Said::Fetched(store.fetch(key, ask).await?),
        Step::Fill(token, kept) => Said::Filled(store.fill(key, &kept.fill(*token)).await?),
        Step::Release(token) => {
            store.release(key, Token(*token)).await?;
            Said::Nothing
        }
        Step::Invalidate(keep) => Said::Copies(store.invalidate(key, *keep).await?),
        Step::Fence(token, length) => Said::Copies(store.fence(key, Token(*token), *length).await?),
        Step::Unfence(token, kept) => {
            let put = kept.as_ref().map(Kept::put);
            Said::Written(store.unfence(key, Token(*token), put.as_ref()).await?)
        }
        Step::Put(kept) => Said::Written(store.put(key, &kept.put()).await?),
        Step::Pass(_) => Said::Nothing,
    })
}

fn length() -> impl Strategy<Value = Duration> {
    (0_u32..6).prop_map(|quarters| HOUR * quarters / 2)
}

fn kept() -> impl Strategy<Value = Kept> {
    let value = prop_oneof![
        Just(None),
        Just(Some(vec![])),
        Just(Some(b"a\0\r\nb".to_vec())),
        Just(Some(b"c".to_vec())),
    ];
    (value, length(), length(), length()).prop_map(|(value, fresh, stale, load)| Kept {
        value,
        fresh,
        stale,
        load,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let token = || prop_oneof![Just(1_u64), Just(2), Just(u64::MAX)];
    let early = prop_oneof![3 => Just(0.0), 1 => Just(0.5), 1 => Just(3.0)];
    let copies = prop_oneof![3 => Just(0), 1 => Just(4), 1 => Just(8)];
    let fetch = (token(), length(), early, copies).prop_map(|(token, lease, early, copies)| {
        Step::Fetch(Fetch {
            token: Token(token),
            lease,
            early,
            copies,
        })
    });
    prop_oneof![
        6 => fetch,
        4 => (token(), kept()).prop_map(|(token, kept)| Step::Fill(token, kept)),
        1 => token().prop_map(Step::Release),
        2 => any::<bool>().prop_map(Step::Invalidate),
        2 => (token(), length()).prop_map(|(token, length)| Step::Fence(token, length)),
        2 => (token(), prop::option::of(kept())).prop_map(|(token, kept)| Step::Unfence(token, kept)),
        1 => kept().prop_map(Step::Put),
        3 => (1_u32..6).prop_map(|quarters| Step::Pass(HOUR * quarters / 4)),
    ]
}

/// A runtime, a Redis, and a connection to it besides.
struct Bed {
    server: seawall_testkit::Redis,
    runtime: tokio::runtime::Runtime,
}

impl Bed {
    fn new() -> Self {
        Self {
            server: seawall_testkit::Redis::start().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn redis(&self) -> Redis {
        let redis = Redis::single(&self.server.url()).unwrap();
        redis.timeout(Duration::from_secs(20))
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(self.server.url()).unwrap()
    }
}

async fn set_clock(redis: &Redis, time: Duration) {
    let mut set = cmd("SET");
    set.arg("test:now").arg(time.as_millis() as u64);
    redis.run(&set).await.unwrap();
}

/// What both say to the same steps, notices included.
async fn compare(
    bed: &Bed,
    redis: &Redis,
    name: &str,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mut listener = bed.client().get_async_pubsub().await.unwrap();
    listener.subscribe(channel(name)).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));

    let clock = Clock::manual();
    let memory = Memory::new(clock.clone(), 100);
    let hears = told.clone();
    let _subscription = memory.subscribe(move |notice| hears.lock().push(notice.clone()));
    let model = Store::memory(memory);
    let scripts = Store::redis(RedisStore::with_clock(redis.clone(), name, CLOCK));
    let key = Bytes::from_static(b"key \0 with anything");

    let mut now = HOUR;
    set_clock(redis, now).await;
    for (at, step) in steps.iter().enumerate() {
        if let Step::Pass(time) = step {
            now += *time;
            clock.advance(*time);
            set_clock(redis, now).await;
        }
        let expected = act(&model, &key, step).await.unwrap();
        let said = act(&scripts, &key, step).await;
        prop_assert_eq!(said.as_ref(), Ok(&expected), "step {} of {:?}", at, steps);
    }
    let mut end = cmd("PUBLISH");
    redis.run(end.arg(channel(name)).arg("end")).await.unwrap();
    let mut published = Vec::new();
    let mut messages = listener.on_message();
    while let Some(message) = messages.next().await {
        if message.get_payload_bytes() == b"end" {
            break;
        }
        published.push(Notice::decode(message.get_payload_bytes()).unwrap());
    }
    published.retain(|notice| !matches!(notice, Notice::Epoch(_)));
    prop_assert_eq!(&published, &*told.lock(), "notices of {:?}", steps);
    Ok(())
}

#[test]
fn the_scripts_answer_as_the_entry_does() {
    let bed = Bed::new();
    let redis = bed.redis();
    let number = std::cell::Cell::new(0);
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(192)
    };
    let mut runner = TestRunner::new(config);
    runner
        .run(&prop::collection::vec(step(), 1..50), |steps| {
            number.set(number.get() + 1);
            let name = format!("test:{}", number.get());
            bed.runtime.block_on(compare(&bed, &redis, &name, &steps))
        })
        .unwrap();
}

const LEASE: Fetch = Fetch {
    token: Token(1),
    lease: HOUR,
    early: 0.0,
    copies: 0,
};

fn value(value: &[u8]) -> Put<'_> {
    Put {
        value: Some(value),
        fresh: HOUR,
        stale: HOUR,
        load: Duration::ZERO,
    }
}

#[test]
fn a_clock_that_goes_back_costs_a_load_and_opens_no_fence() {
    let bed = Bed::new();
    let redis = bed.redis();
    bed.runtime.block_on(async {
        let store = Store::redis(RedisStore::with_clock(redis.clone(), "test", CLOCK));
        let key = Bytes::from_static(b"key");
        set_clock(&redis, HOUR * 1000).await;
        store.put(&key, &value(b"a")).await.unwrap();
        set_clock(&redis, HOUR).await;
        // The value is over, though its end is far away.
        assert_eq!(store.fetch(&key, &LEASE).await, Ok(Fetched::Granted(None)));
        // So is a lease.
        set_clock(&redis, HOUR / 2).await;
        let other = Fetch {
            token: Token(2),
            ..LEASE
        };
        assert_eq!(store.fetch(&key, &other).await, Ok(Fetched::Granted(None)));
        // A fence begins anew, and ends.
        store.fence(&key, Token(9), HOUR).await.unwrap();
        set_clock(&redis, Duration::from_millis(1)).await;
        assert_eq!(store.fetch(&key, &other).await, Ok(Fetched::Fenced(None)));
        set_clock(&redis, HOUR + Duration::from_millis(1)).await;
        assert_eq!(store.fetch(&key, &other).await, Ok(Fetched::Granted(None)));
    });
}

#[test]
fn an_invalidation_needs_no_memory() {
    let bed = Bed::new();
    let redis = bed.redis();
    bed.runtime.block_on(async {
        let store = Store::redis(RedisStore::new(redis.clone(), "test"));
        let keys = [b"invalidated", &b"fenced"[..], b"replaced"].map(Bytes::from_static);
        for key in &keys {
            store.put(key, &value(b"a")).await.unwrap();
        }
        let limit = |bytes: &'static str| {
            let mut set = cmd("CONFIG");
            set.arg("SET").arg("maxmemory").arg(bytes);
            set
        };
        redis.run(&limit("1")).await.unwrap();
        for key in &keys {
            assert!(matches!(
                store.fetch(key, &LEASE).await,
                Ok(Fetched::Hit(_))
            ));
        }
        assert_eq!(store.invalidate(&keys[0], true).await, Ok(0));
        assert_eq!(store.fence(&keys[1], Token(9), HOUR).await, Ok(0));
        let put = store.put(&keys[2], &value(b"b")).await;
        assert_eq!(
            put,
            Ok(Written {
                copies: 0,
                kept: false
            })
        );
        redis.run(&limit("0")).await.unwrap();
        let [invalidated, fenced, replaced] = &keys;
        let stale = |stored: &Option<Stored>| stored.as_ref().is_some_and(|s| s.invalidated);
        for key in [invalidated, replaced] {
            let answer = store.fetch(key, &LEASE).await.unwrap();
            assert!(matches!(answer, Fetched::Granted(stored) if stale(&stored)));
        }
        let answer = store.fetch(fenced, &LEASE).await.unwrap();
        assert!(matches!(answer, Fetched::Fenced(stored) if stale(&stored)));
    });
}

#[test]
fn what_others_wrote_under_its_keys_is_no_value() {
    let bed = Bed::new();
    let redis = bed.redis();
    bed.runtime.block_on(async {
        let of = RedisStore::new(redis.clone(), "test");
        let epoch = of.epoch().await.unwrap();
        let store = Store::redis(of);
        let mut set = cmd("HSET");
        set.arg(format!("test:{epoch}:garbage"));
        for field in [
            "v", "x", "y", "s", "d", "i", "l", "u", "g", "w", "f", "a", "c",
        ] {
            set.arg(field).arg("garbage");
        }
        redis.run(&set).await.unwrap();
        let key = Bytes::from_static(b"garbage");
        assert_eq!(store.fetch(&key, &LEASE).await, Ok(Fetched::Granted(None)));

        let mut set = cmd("SET");
        set.arg(format!("test:{epoch}:text")).arg("");
        redis.run(&set).await.unwrap();
        let key = Bytes::from_static(b"text");
        assert!(matches!(
            store.fetch(&key, &LEASE).await,
            Err(Fault::Unexpected(_))
        ));
    });
}

#[test]
fn an_epoch_voids_what_was_before_and_survives_a_redis_that_forgot_it() {
    let bed = Bed::new();
    let redis = bed.redis();
    bed.runtime.block_on(async {
        let of = RedisStore::new(redis.clone(), "test");
        let store = Store::redis(of.clone());
        let key = Bytes::from_static(b"key");
        let hit = |answer| matches!(answer, Ok(Fetched::Hit(_)));
        store.put(&key, &value(b"a")).await.unwrap();
        store.copy(1).put(&key, &value(b"b")).await.unwrap();
        assert!(hit(store.fetch(&key, &LEASE).await));
        let before = of.epoch().await.unwrap();
        let raised = store.raise_epoch().await.unwrap();
        assert!(raised > before);
        assert_eq!(store.fetch(&key, &LEASE).await, Ok(Fetched::Granted(None)));
        let copy = store.copy(1).fetch(&key, &LEASE).await;
        assert_eq!(copy, Ok(Fetched::Granted(None)));

        // A replica that has not heard of it is promoted: old entries, the old epoch.
        let mut set = cmd("SET");
        set.arg("test!epoch").arg(before);
        redis.run(&set).await.unwrap();
        assert_eq!(of.epoch().await, Ok(raised));
        let fresh = RedisStore::new(redis.clone(), "test");
        assert_eq!(fresh.epoch().await, Ok(raised));
        let get = redis.run(cmd("GET").arg("test!epoch")).await;
        assert_eq!(get, Ok(Value::BulkString(raised.to_string().into())));
    });
}
