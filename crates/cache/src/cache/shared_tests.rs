//! Several processes on one store, in virtual time: each is a cache of its own, and the store is in
//! memory.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::time::Duration;

use proptest::prelude::*;
use seawall::clock::Clock;
use tokio::time::{Instant, sleep};

use super::tests::{Database, SECOND, exact};
use super::*;
use crate::store::{Memory, Put, Store};
use crate::{Error, Event, GuardSettings, Json};

struct Fleet {
    memory: Arc<Memory>,
    processes: Vec<Cache<u64, u32>>,
}

impl Fleet {
    fn new(count: usize, settings: Settings) -> Self {
        let clock = Clock::runtime();
        let memory = Memory::new(clock.clone(), 1_000);
        let process = |_| {
            Cache::builder("numbers")
                .settings(settings)
                .clock(clock.clone())
                .memory(memory.clone(), Json::default())
                .build()
        };
        Self {
            processes: (0..count).map(process).collect(),
            memory,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_in_four_processes_are_one_load() {
    let (fleet, database) = (Fleet::new(4, exact()), Database::taking(SECOND));
    let began = Instant::now();
    let callers = (0..10_000).map(|n| fleet.processes[n % 4].get_or_load(&1, database.load()));
    for value in join_all(callers).await {
        assert_eq!(value.unwrap().as_deref(), Some(&1));
    }
    assert_eq!((database.loads(), began.elapsed()), (1, SECOND));
    let waits = |cache: &Cache<_, _>| cache.metrics().get(Event::Wait);
    assert_eq!(fleet.processes.iter().map(waits).sum::<u64>(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_load_is_taken_over_by_another_process() {
    let (fleet, database) = (Fleet::new(2, exact()), Database::taking(SECOND));
    database.fails.store(true, SeqCst);
    let first = fleet.processes[0].get_or_load(&1, database.load());
    let second = async {
        sleep(SECOND / 2).await;
        let waiting = fleet.processes[1].get_or_load(&1, database.load());
        let mut waiting = Box::pin(waiting);
        assert!((&mut waiting).now_or_never().is_none());
        sleep(SECOND).await;
        database.fails.store(false, SeqCst);
        waiting.await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(first, Err(Error::Load(_))));
    assert_eq!(second.unwrap().as_deref(), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_another_process_has_replaced_is_nowhere() {
    let (fleet, database) = (Fleet::new(2, exact()), Database::taking(SECOND));
    let [one, two] = &fleet.processes[..] else {
        unreachable!()
    };
    let _ = one.get_or_load(&1, database.load()).await.unwrap();
    let _ = two.get_or_load(&1, database.load()).await.unwrap();
    assert!(one.get(&1).is_some() && two.get(&1).is_some());
    two.invalidate(&1).await;
    assert!(one.get(&1).is_none() && two.get(&1).is_none());
    // A weak reader gets it once more, at once, while it is loaded.
    let began = Instant::now();
    let weak = one.read(&1, Read::Weak, database.load()).await.unwrap();
    assert_eq!(
        (weak.value.as_deref(), weak.stale, weak.source),
        (Some(&1), true, Source::Redis)
    );
    assert_eq!(began.elapsed(), Duration::ZERO);
    let strong = two.read(&1, Read::Strong, database.load()).await.unwrap();
    assert_eq!((strong.value.as_deref(), strong.stale), (Some(&2), false));
    assert_eq!(database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_write_has_replaced_is_not_the_answer_to_a_failed_load() {
    let (fleet, database) = (Fleet::new(1, exact()), Database::default());
    let cache = &fleet.processes[0];
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    database.fails.store(true, SeqCst);
    cache.invalidate(&1).await;
    assert!(cache.read(&1, Read::Strong, database.load()).await.is_err());
    // What has merely expired is.
    database.fails.store(false, SeqCst);
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    database.fails.store(true, SeqCst);
    sleep(11 * SECOND).await;
    let answer = cache.read(&1, Read::Strong, database.load()).await.unwrap();
    assert!(answer.stale);
}

/// A process that holds nothing itself serves from the store while one of its callers loads early.
#[tokio::test(start_paused = true)]
async fn an_early_load_keeps_nobody_waiting() {
    let settings = Settings {
        capacity: 0,
        beta: 1.0,
        ..exact()
    };
    let (fleet, database) = (Fleet::new(1, settings), Database::taking(SECOND));
    let cache = &fleet.processes[0];
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    for _ in 0..30_000 {
        sleep(SECOND / 1_000).await;
        let began = Instant::now();
        let answer = cache.read(&1, Read::Strong, database.load()).await.unwrap();
        assert!(!answer.stale && began.elapsed().is_zero());
    }
    assert!((3..=10).contains(&database.loads()), "{}", database.loads());
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_value_are_loaded_anew() {
    let (fleet, database) = (Fleet::new(1, exact()), Database::default());
    let store = Store::memory(fleet.memory.clone());
    let put = Put {
        value: Some(b"\0 garbage"),
        fresh: 9 * SECOND,
        stale: SECOND,
        load: SECOND,
    };
    let _ = store.put(&Bytes::from("1"), &put).await;
    let cache = &fleet.processes[0];
    assert_eq!(
        cache
            .get_or_load(&1, database.load())
            .await
            .unwrap()
            .as_deref(),
        Some(&1)
    );
    assert_eq!(cache.metrics().get(Event::NotDecoded), 1);
    cache.invalidate(&2).await;
    assert_eq!(database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_during_a_write_is_not_kept() {
    let (fleet, database) = (Fleet::new(2, exact()), Database::default());
    let [one, two] = &fleet.processes[..] else {
        unreachable!()
    };
    let write = async {
        let during = two.get_or_load(&1, database.load()).await.unwrap();
        assert_eq!(during.as_deref(), Some(&1));
        assert_eq!(two.get(&1), None);
        Ok::<_, io::Error>(())
    };
    one.write_aside(&1, write).await.unwrap();
    assert_eq!(
        two.get_or_load(&1, database.load())
            .await
            .unwrap()
            .as_deref(),
        Some(&2)
    );

    one.write_through(&1, 7, async { Ok::<_, io::Error>(()) })
        .await
        .unwrap();
    assert_eq!(
        two.get_or_load(&1, database.load())
            .await
            .unwrap()
            .as_deref(),
        Some(&7)
    );
    // Dropped in the middle: nothing is kept until the fence falls.
    let never = one.write_aside(&1, std::future::pending::<io::Result<()>>());
    assert!(never.now_or_never().is_none());
    let _ = two.get_or_load(&1, database.load()).await.unwrap();
    assert_eq!(two.get(&1), None);
    sleep(10 * SECOND).await;
    let _ = two.get_or_load(&1, database.load()).await.unwrap();
    assert!(two.get(&1).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_fence_of_several_keys_is_lifted_at_once_or_falls() {
    let (fleet, database) = (Fleet::new(2, exact()), Database::default());
    let [one, two] = &fleet.processes[..] else {
        unreachable!()
    };
    let keys = [1, 2, 3];
    let kept = async || {
        for key in &keys {
            let _ = two.get_or_load(key, database.load()).await.unwrap();
        }
        keys.map(|key| two.get(&key).is_some())
    };
    assert_eq!(kept().await, [true; 3]);
    let fence = one.fence(&[1, 3]).await;
    assert_eq!(kept().await, [false, true, false]);
    fence.lift().await;
    assert_eq!(kept().await, [true; 3]);

    drop(one.fence(&[1, 3]).await);
    assert_eq!(kept().await, [false, true, false]);
    sleep(10 * SECOND).await;
    assert_eq!(kept().await, [true; 3]);
}

/// Written all the time: after two loads more the value is handed out, and not kept.
#[tokio::test(start_paused = true)]
async fn a_load_that_outlives_its_lease_is_handed_out_and_not_kept() {
    let fleet = Fleet::new(2, exact());
    let [one, two] = &fleet.processes[..] else {
        unreachable!()
    };
    let (writer, loads) = (two.clone(), Arc::new(AtomicU64::new(0)));
    let counted = loads.clone();
    let load = move || {
        let (writer, loads) = (writer.clone(), counted.clone());
        async move {
            loads.fetch_add(1, SeqCst);
            writer.invalidate(&1).await;
            Ok::<_, io::Error>(Some(5))
        }
    };
    assert_eq!(
        one.get_or_load(&1, load).await.unwrap().as_deref(),
        Some(&5)
    );
    assert_eq!((loads.load(SeqCst), one.get(&1)), (3, None));
    assert_eq!(one.metrics().get(Event::LeaseLost), 3);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_too_large_is_handed_out_and_not_kept() {
    let settings = Settings {
        max_value: 3,
        ..exact()
    };
    let fleet = Fleet::new(1, settings);
    let cache = &fleet.processes[0];
    let large = || async { Ok::<_, io::Error>(Some(1_000)) };
    assert_eq!(
        cache.get_or_load(&1, large).await.unwrap().as_deref(),
        Some(&1_000)
    );
    assert_eq!(
        (cache.get(&1), cache.metrics().get(Event::TooLarge)),
        (None, 1)
    );
    let error = cache.put(&1, 2_000).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { bytes: 4, limit: 3 }));
    cache.put(&1, 200).await.unwrap();
    assert_eq!(cache.load_or(&1).await, Some(200));
}

#[tokio::test(start_paused = true)]
async fn everything_is_forgotten_everywhere() {
    let (fleet, database) = (Fleet::new(2, exact()), Database::default());
    let [one, two] = &fleet.processes[..] else {
        unreachable!()
    };
    let _ = one.get_or_load(&1, database.load()).await.unwrap();
    two.invalidate_all().await.unwrap();
    assert_eq!(
        one.get_or_load(&1, database.load())
            .await
            .unwrap()
            .as_deref(),
        Some(&2)
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_guard_turns_away_is_answered_by_what_is_stale_or_refused() {
    let guard = GuardSettings {
        rate: 1.0,
        wait: Duration::ZERO,
        ..GuardSettings::default()
    };
    let guard = Guard::with_clock(guard, Clock::runtime());
    let cache = Cache::<u64, u32>::builder("guarded")
        .settings(exact())
        .clock(guard.clock().clone())
        .guard(guard)
        .build();
    let database = Database::default();
    let _ = cache.get_or_load(&1, database.load()).await.unwrap();
    let refused = cache.get_or_load(&2, database.load()).await.unwrap_err();
    assert!(matches!(refused, Error::Rejected(_)));
    sleep(11 * SECOND).await;
    let _ = cache.get_or_load(&2, database.load()).await.unwrap();
    let answer = cache.read(&1, Read::Strong, database.load()).await.unwrap();
    assert_eq!((answer.value.as_deref(), answer.stale), (Some(&1), true));
    assert_eq!(cache.metrics().get(Event::Rejected), 2);
}

/// Loads of many keys, each with the number of the load; 13 does not exist.
#[derive(Clone, Default)]
struct Table(Arc<parking_lot::Mutex<Vec<Vec<u64>>>>);

impl Table {
    fn load(
        &self,
    ) -> impl Fn(Vec<u64>) -> futures_util::future::BoxFuture<'static, io::Result<HashMap<u64, u32>>>
    + Send
    + Sync
    + use<> {
        let table = self.clone();
        move |mut keys| {
            let table = table.clone();
            Box::pin(async move {
                keys.sort_unstable();
                table.0.lock().push(keys.clone());
                sleep(SECOND).await;
                keys.retain(|key| *key != 13);
                Ok(keys.into_iter().map(|key| (key, key as u32)).collect())
            })
        }
    }
}

async fn many(process: &Cache<u64, u32>, table: &Table, keys: &[u64]) -> Vec<u64> {
    let found = process.get_many(keys, table.load()).await.unwrap();
    assert!(found.iter().all(|(key, value)| *key == u64::from(**value)));
    let mut keys: Vec<_> = found.into_keys().collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(start_paused = true)]
async fn missing_keys_are_one_load_and_those_that_others_load_are_none() {
    for count in [1, 2] {
        let fleet = Fleet::new(count, exact());
        let (one, two, table) = (
            &fleet.processes[0],
            &fleet.processes[count - 1],
            Table::default(),
        );
        let _ = one.put(&1, 1).await;
        let began = Instant::now();
        let (a, b) = tokio::join!(many(one, &table, &[1, 2, 3, 13, 3]), async {
            sleep(SECOND / 2).await;
            many(two, &table, &[13, 2, 4, 5]).await
        });
        assert_eq!((a, b), (vec![1, 2, 3], vec![2, 4, 5]));
        assert_eq!(*table.0.lock(), [vec![2, 3, 13], vec![4, 5]]);
        assert!(began.elapsed() < SECOND * 2);
        assert_eq!(
            many(two, &table, &[1, 2, 3, 4, 5, 13]).await,
            [1, 2, 3, 4, 5]
        );
        assert_eq!(table.0.lock().len(), 2);
    }
}

impl Cache<u64, u32> {
    /// What is known of a key, without a database.
    async fn load_or(&self, key: &u64) -> Option<u32> {
        let none = || async { Ok::<_, io::Error>(None) };
        self.get_or_load(key, none)
            .await
            .unwrap()
            .as_deref()
            .copied()
    }
}

/// Something that happens at some millisecond in some process.
#[derive(Clone, Debug)]
enum Act {
    /// Reads; the database answers as it is so many milliseconds later, after twice as many.
    Read(u64),
    /// Writes, which takes so many milliseconds, and invalidates.
    Write(u64),
    /// Writes under a fence.
    Aside(u64),
    Through(u64),
    /// Writes under a fence of this key and others.
    Together(u64),
    /// Writes under a fence, and leaves in the middle.
    Leaves(u64),
}

fn act() -> impl Strategy<Value = (u64, usize, Act)> {
    let act = prop_oneof![
        6 => (0..8_u64).prop_map(Act::Read),
        2 => (0..4_u64).prop_map(Act::Write),
        1 => (0..4_u64).prop_map(Act::Aside),
        1 => (0..4_u64).prop_map(Act::Through),
        1 => (0..4_u64).prop_map(Act::Together),
        1 => (0..4_u64).prop_map(Act::Leaves),
    ];
    (0..40_u64, 0..3_usize, act)
}

/// A row, by the values that were written to it, each another number, in the order of their commits.
#[derive(Clone, Default)]
struct Row {
    drawn: Arc<AtomicU64>,
    commits: Arc<parking_lot::Mutex<Vec<u32>>>,
    /// How many commits at least are known to everyone who reads from now on.
    known: Arc<AtomicU64>,
}

impl Row {
    fn draw(&self) -> u32 {
        self.drawn.fetch_add(1, SeqCst) as u32 + 1
    }

    /// 0 before the first write.
    fn last(&self) -> u32 {
        self.commits.lock().last().copied().unwrap_or(0)
    }

    /// The number of the commit that wrote `value`.
    fn commit_of(&self, value: u32) -> u64 {
        let commits = self.commits.lock();
        let at = commits.iter().position(|other| *other == value);
        at.map_or(0, |at| at as u64 + 1)
    }

    async fn read(self, millis: u64) -> io::Result<Option<u32>> {
        sleep(Duration::from_millis(millis)).await;
        let last = self.last();
        sleep(Duration::from_millis(millis)).await;
        Ok(Some(last))
    }

    async fn write(&self, value: u32, millis: u64) -> io::Result<()> {
        sleep(Duration::from_millis(millis)).await;
        self.commits.lock().push(value);
        sleep(Duration::from_millis(millis)).await;
        Ok(())
    }
}

async fn perform(cache: Cache<u64, u32>, row: Row, act: Act) -> Result<(), TestCaseError> {
    let value = row.draw();
    match act {
        Act::Read(millis) => {
            let least = row.known.load(SeqCst);
            let load = {
                let row = row.clone();
                move || row.clone().read(millis)
            };
            let value = cache.get_or_load(&1, load).await.unwrap().unwrap();
            let commit = row.commit_of(*value);
            prop_assert!(commit >= least, "commit {commit} after {least}");
            return Ok(());
        }
        Act::Write(millis) => {
            row.write(value, millis).await.unwrap();
            cache.invalidate(&1).await;
        }
        Act::Aside(millis) => {
            cache
                .write_aside(&1, row.write(value, millis))
                .await
                .unwrap();
        }
        Act::Together(millis) => {
            let fence = cache.fence(&[0, 1]).await;
            row.write(value, millis).await.unwrap();
            fence.lift().await;
        }
        Act::Through(millis) => {
            let write = row.write(value, millis);
            cache.write_through(&1, value, write).await.unwrap();
        }
        // Its commit may come to pass, or not; nobody is told.
        Act::Leaves(millis) => {
            let write = cache.write_aside(&1, row.write(value, 2));
            let _ = tokio::time::timeout(Duration::from_millis(millis), write).await;
            return Ok(());
        }
    }
    row.known.fetch_max(row.commit_of(value), SeqCst);
    Ok(())
}

proptest! {
    /// No read that begins after a write's invalidation has returned sees what was before it, in any
    /// process, and at the end no process holds anything but the last version.
    #[test]
    fn no_read_sees_what_was_before_a_write_that_it_follows(
        acts in prop::collection::vec(act(), 1..24),
        alone: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let settings = Settings {
                ttl: 1_000 * SECOND,
                ..exact()
            };
            let processes = match alone {
                true => vec![Cache::builder("row").settings(settings).clock(Clock::runtime()).build()],
                false => Fleet::new(3, settings).processes,
            };
            let row = Row::default();
            let tasks = acts.into_iter().map(|(at, process, act)| {
                let (cache, row) = (processes[process % processes.len()].clone(), row.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(at)).await;
                    perform(cache, row, act).await
                })
            });
            for task in join_all(tasks).await {
                task.unwrap()?;
            }
            // Until every fence has fallen that was left behind.
            sleep(2 * Settings::default().lease).await;
            let last = row.last();
            for cache in &processes {
                prop_assert!(cache.get(&1).is_none_or(|value| *value == last));
                let value = cache.get_or_load(&1, move || row_of(last)).await.unwrap();
                prop_assert_eq!(value.as_deref(), Some(&last));
            }
            Ok(())
        })?;
    }
}

async fn row_of(version: u32) -> io::Result<Option<u32>> {
    Ok(Some(version))
}
