//! Hot keys of several processes on one store in memory, in virtual time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;
use seawall::clock::Clock;
use tokio::time::{advance, sleep};

use super::*;
use crate::store::Memory;
use crate::{Event, HotSettings, Json};

/// What is to be read: a number by key, and how often it was loaded.
#[derive(Clone, Default)]
struct Database {
    value: Arc<AtomicU32>,
    loads: Arc<AtomicU64>,
}

impl Database {
    async fn read(&self, cache: &Cache<u64, u32>, key: u64) -> Answer<u32> {
        let database = self.clone();
        let load = move || {
            let database = database.clone();
            async move {
                database.loads.fetch_add(1, SeqCst);
                Ok::<_, std::io::Error>(Some(database.value.load(SeqCst)))
            }
        };
        cache.read(&key, Read::Strong, load).await.expect("a value")
    }
}

fn processes(count: usize) -> Vec<Cache<u64, u32>> {
    let clock = Clock::runtime();
    let memory = Memory::new(clock.clone(), 10_000);
    let settings = Settings {
        capacity: 0,
        jitter: 0.0,
        beta: 0.0,
        ..Settings::default()
    };
    let hot = HotSettings {
        copies: 2,
        ..HotSettings::default()
    };
    let process = |_| {
        Cache::builder("numbers")
            .settings(settings)
            .clock(clock.clone())
            .hot(hot)
            .memory(memory.clone(), Json::default())
            .build()
    };
    (0..count).map(process).collect()
}

/// Reads of the key 7 alone, 10 a millisecond, for so many.
async fn heat(cache: &Cache<u64, u32>, database: &Database, millis: u64) {
    for _ in 0..millis {
        for _ in 0..10 {
            database.read(cache, 7).await;
        }
        advance(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_is_held_where_nothing_else_is_and_others_are_told() {
    let (fleet, database) = (processes(2), Database::default());
    heat(&fleet[0], &database, 1_000).await;
    assert_eq!(database.read(&fleet[0], 7).await.source, Source::Hot);
    // Told, the other one holds it from its first read on.
    database.read(&fleet[1], 7).await;
    assert_eq!(database.read(&fleet[1], 7).await.source, Source::Hot);
    let before = fleet[0].metrics().get(Event::RedisHit);
    heat(&fleet[0], &database, 3_000).await;
    let asked = fleet[0].metrics().get(Event::RedisHit) - before;
    assert!(asked <= 2 * 4, "{asked} times in 3 s");
    assert_eq!(database.loads.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_reaches_what_is_held_and_every_copy() {
    let (fleet, database) = (processes(4), Database::default());
    heat(&fleet[0], &database, 1_000).await;
    for round in 1..=20 {
        for cache in &fleet {
            database.read(cache, 7).await;
            assert_eq!(database.read(cache, 7).await.source, Source::Hot);
        }
        database.value.store(round, SeqCst);
        fleet[round as usize % 4].invalidate(&7).await;
        for cache in &fleet {
            assert_eq!(database.read(cache, 7).await.value.as_deref(), Some(&round));
        }
    }
    // A writer that dies behind its fence.
    let dead = fleet[1].write_aside(&7, std::future::pending::<Result<(), std::io::Error>>());
    let _ = tokio::time::timeout(Duration::from_millis(1), dead).await;
    database.value.store(100, SeqCst);
    for cache in &fleet {
        assert_eq!(database.read(cache, 7).await.value.as_deref(), Some(&100));
    }
    sleep(Duration::from_secs(30)).await;
    for cache in &fleet {
        assert_eq!(database.read(cache, 7).await.value.as_deref(), Some(&100));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Write(usize),
    Aside(usize),
    Wait(u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Reads and writes that take their time overlap as they come; when all is done nothing of
    /// before the last write is left behind.
    #[test]
    fn nothing_stale_is_left_in_any_copy(
        steps in prop::collection::vec(prop_oneof![
            4 => (0..3_usize).prop_map(Step::Read),
            1 => (0..3_usize).prop_map(Step::Write),
            1 => (0..3_usize).prop_map(Step::Aside),
            2 => (0..1_500_u64).prop_map(Step::Wait),
        ], 0..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let (fleet, database) = (processes(3), Database::default());
            heat(&fleet[0], &database, 600).await;
            let mut tasks = Vec::new();
            for step in steps {
                let (fleet, database) = (fleet.clone(), database.clone());
                let write = {
                    let database = database.clone();
                    async move {
                        sleep(Duration::from_millis(2)).await;
                        Ok::<_, std::io::Error>(database.value.fetch_add(1, SeqCst) + 1)
                    }
                };
                match step {
                    Step::Wait(millis) => sleep(Duration::from_micros(millis * 10)).await,
                    Step::Read(at) => tasks.push(tokio::spawn(async move {
                        database.read(&fleet[at], 7).await;
                    })),
                    Step::Write(at) => tasks.push(tokio::spawn(async move {
                        let _ = write.await;
                        fleet[at].invalidate(&7).await;
                    })),
                    Step::Aside(at) => tasks.push(tokio::spawn(async move {
                        let _ = fleet[at].write_aside(&7, write).await;
                    })),
                }
            }
            for task in tasks {
                task.await.expect("no panic");
            }
            let current = database.value.load(SeqCst);
            for _ in 0..3 {
                for cache in &fleet {
                    assert_eq!(database.read(cache, 7).await.value.as_deref(), Some(&current));
                }
                sleep(Duration::from_millis(700)).await;
            }
        });
    }
}
