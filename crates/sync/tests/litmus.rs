//! Litmus tests: what one thread wrote before it published is seen by who sees the publication.
//!
//! A writer raises a payload and then publishes its version, again and again, while a reader looks
//! at the version and then at the payload, which may be newer but never older. The payload is
//! relaxed, so that what orders it is the primitive alone. Bounded runs of real threads; x86 hides
//! orderings that are only missing in the source, ThreadSanitizer (`cargo xtask race`) sees them
//! where a value itself is handed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use seawall_sync::{Flight, Shard, Sharded, Snapshot};

const VERSIONS: u64 = 5_000;

/// `observe` returns a version that it saw `publish`ed.
fn message_passing(publish: impl Fn(u64) + Sync, mut observe: impl FnMut() -> u64 + Send) {
    let payload = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for version in 1..=VERSIONS {
                payload.store(version, Ordering::Relaxed);
                publish(version);
            }
        });
        let reader = scope.spawn(|| {
            let mut last = 0;
            while last < VERSIONS {
                let seen = observe();
                assert!(payload.load(Ordering::Relaxed) >= seen);
                assert!(seen >= last, "{seen} was seen after {last}");
                last = seen;
                std::thread::yield_now();
            }
        });
        // Joined one by one: `cargo xtask race` does not see what a scope's end orders.
        writer.join().expect("a law broken");
        reader.join().expect("a law broken");
    });
}

/// Two words that are always written together are never seen apart.
fn two_words(publish: impl Fn((u64, u64)) + Sync, read: impl Fn() -> (u64, u64) + Sync + Send) {
    message_passing(
        |version| publish((version, !version)),
        || {
            let (one, other) = read();
            assert_eq!(one, !other);
            one
        },
    );
}

#[test]
fn a_snapshot_publishes_and_is_never_torn() {
    let shared = Snapshot::new((0, !0));
    two_words(|pair| shared.store(pair), || **shared.load());
}

#[test]
fn a_snapshot_that_is_kept_does_not_change() {
    let shared = Snapshot::new((0, !0));
    two_words(
        |pair| shared.store(pair),
        || {
            let kept = shared.load_full();
            let before = *kept;
            std::thread::yield_now();
            assert_eq!(*kept, before);
            before
        },
    );
}

#[test]
fn an_arc_swap_publishes_and_is_never_torn() {
    let shared = ArcSwap::from_pointee((0, !0));
    two_words(|pair| shared.store(Arc::new(pair)), || **shared.load());
}

#[test]
fn locks_publish_and_are_never_torn() {
    let shared = Mutex::new((0, !0));
    two_words(|pair| *shared.lock() = pair, || *shared.lock());
    let shared = RwLock::new((0, !0));
    two_words(|pair| *shared.write() = pair, || *shared.read());
}

#[test]
fn release_and_acquire_publish() {
    let shared = AtomicU64::new(0);
    message_passing(
        |version| shared.store(version, Ordering::Release),
        || shared.load(Ordering::Acquire),
    );
}

#[test]
fn channels_publish() {
    let (send, receive) = std::sync::mpsc::channel();
    message_passing(
        |version| send.send(version).unwrap(),
        move || receive.recv().unwrap(),
    );
}

/// Two threads call one key after another together: whoever of them runs the work, both see what it
/// wrote, be it while they waited or because its result is kept.
#[test]
fn a_flight_publishes_what_its_work_wrote() {
    let kept = Flight::new().keep(Duration::from_secs(3_600), |_| true);
    for flight in [Flight::new(), kept] {
        let written: Vec<AtomicU64> = (0..VERSIONS).map(|_| AtomicU64::new(0)).collect();
        let written = Arc::new(written);
        let calls = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.expect("a runtime without drivers");
            for key in 0..VERSIONS {
                let writes = Arc::clone(&written);
                let work = async move {
                    let write = |value| writes[key as usize].store(value, Ordering::Relaxed);
                    write(1);
                    tokio::task::yield_now().await;
                    write(2);
                    key
                };
                assert_eq!(runtime.block_on(flight.run(key, work)), Ok(key));
                assert_eq!(written[key as usize].load(Ordering::Relaxed), 2);
            }
        };
        std::thread::scope(|scope| {
            for thread in [(); 2].map(|()| scope.spawn(calls)) {
                thread.join().expect("a law broken");
            }
        });
    }
}

/// What its owner wrote before is seen by a group's task, and what the task wrote by the owner.
#[cfg(feature = "rt")]
#[test]
fn a_group_publishes_to_its_tasks_and_back() {
    use seawall_sync::Group;
    use std::convert::Infallible;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime without drivers");
    runtime.block_on(async {
        let payload = Arc::new(AtomicU64::new(0));
        let mut group = Group::<u64, Infallible>::new();
        for version in 0..VERSIONS {
            payload.store(2 * version, Ordering::Relaxed);
            let shared = Arc::clone(&payload);
            group.spawn(async move {
                let seen = shared.load(Ordering::Relaxed);
                shared.store(seen + 1, Ordering::Relaxed);
                Ok(seen)
            });
            let (_, seen) = group.next().await.expect("there is a task");
            assert_eq!(seen, Ok(2 * version));
            assert_eq!(payload.load(Ordering::Relaxed), 2 * version + 1);
        }
        let tasks: Arc<Vec<AtomicU64>> = Arc::new((0..VERSIONS).map(AtomicU64::new).collect());
        for index in 0..VERSIONS as usize {
            let tasks = Arc::clone(&tasks);
            group.spawn(async move { Ok(tasks[index].fetch_add(1, Ordering::Relaxed)) });
        }
        let joined = group.join().await.all();
        assert_eq!(joined.map(|all| all.len()), Ok(VERSIONS as usize));
        for (index, task) in tasks.iter().enumerate() {
            assert_eq!(task.load(Ordering::Relaxed), index as u64 + 1);
        }
    });
}

#[cfg(feature = "rt")]
#[test]
fn the_channels_of_tasks_publish() {
    use tokio::sync::{mpsc, watch};

    let (send, mut receive) = mpsc::unbounded_channel();
    message_passing(
        |version| send.send(version).unwrap(),
        move || receive.blocking_recv().unwrap(),
    );
    let (send, receive) = watch::channel(0);
    message_passing(
        |version| send.send(version).unwrap(),
        move || *receive.borrow(),
    );
}

/// Shards are counted without order, so their sum is exact only after the threads are joined.
#[test]
fn a_join_publishes_every_shard() {
    for _ in 0..20 {
        let count = Sharded::new(2, || AtomicU64::new(0));
        std::thread::scope(|scope| {
            let add = || {
                for _ in 0..500 {
                    count.get(Shard::current()).fetch_add(1, Ordering::Relaxed);
                }
            };
            for thread in [(); 3].map(|()| scope.spawn(add)) {
                thread.join().unwrap();
            }
        });
        let sum: u64 = count.iter().map(|one| one.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 1_500);
    }
}
