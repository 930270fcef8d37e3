//! The filter of one process: no key is ever denied that was added, whatever happens meanwhile.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;
use seawall_cache::{Filter, FilterError, FilterSize, Presence, Rebuild};

fn at_once() -> Rebuild {
    Rebuild {
        rate: 1e9,
        settle: Duration::ZERO,
        ..Rebuild::default()
    }
}

fn keys(keys: Vec<u64>) -> impl futures_util::Stream<Item = Result<u64, Infallible>> {
    stream::iter(keys.into_iter().map(Ok))
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    Delete(u64),
    /// A rebuild, and keys added before each of the keys that its scan gives.
    Rebuild(Vec<u64>),
    /// One that is dropped after so many keys.
    Cancel(usize),
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..500_u64).prop_map(Step::Add),
        2 => (0..500_u64).prop_map(Step::Delete),
        2 => prop::collection::vec(0..500_u64, 0..20).prop_map(Step::Rebuild),
        1 => (0..20_usize).prop_map(Step::Cancel),
        1 => Just(Step::Fail),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_is_there_is_never_denied(steps in steps(), size in 1..400_u64) {
        paused().block_on(async {
            let filter = Filter::local(FilterSize::new(size, 0.01));
            let mut there = std::collections::BTreeSet::new();
            for step in steps {
                match step {
                    Step::Add(key) => {
                        filter.add(&key).await.unwrap();
                        there.insert(key);
                    }
                    Step::Delete(key) => {
                        there.remove(&key);
                    }
                    Step::Rebuild(added) => {
                        let scanned: Vec<u64> = there.iter().copied().collect();
                        let mut waiting = added.clone().into_iter();
                        let scan = keys(scanned).then(|key| {
                            let (filter, add) = (filter.clone(), waiting.next());
                            async move {
                                if let Some(add) = add {
                                    filter.add(&add).await.unwrap();
                                }
                                key
                            }
                        });
                        let taken = there.len().min(added.len());
                        filter.rebuild(|| scan, at_once()).await.unwrap();
                        there.extend(added.into_iter().take(taken));
                    }
                    Step::Cancel(after) => {
                        let scan = keys(there.iter().copied().collect());
                        let stuck = scan.take(after).chain(stream::pending());
                        let build = filter.rebuild(|| stuck, at_once());
                        tokio::time::timeout(Duration::from_secs(1), build).await.unwrap_err();
                    }
                    Step::Fail => {
                        let scan = stream::iter([Ok(1_u64), Err("the database went away")]);
                        let failed = filter.rebuild(|| scan, at_once()).await.unwrap_err();
                        assert!(matches!(failed, FilterError::Scan(_)));
                    }
                }
                for key in &there {
                    assert_ne!(filter.ask(key).await, Presence::Never, "{key}");
                }
            }
        });
    }
}

#[test]
fn adds_of_many_threads_survive_rebuilds_beside_them() {
    let filter = Filter::local(FilterSize::new(20_000, 0.01));
    // What the "database" holds: keys below this number.
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                paused().block_on(async {
                    for _ in 0..4_000 {
                        let key = written.fetch_add(1, Ordering::SeqCst);
                        filter.add(&key).await.unwrap();
                        assert_ne!(filter.ask(&key).await, Presence::Never, "{key}");
                    }
                });
            });
        }
        scope.spawn(|| {
            paused().block_on(async {
                while written.load(Ordering::SeqCst) < 8_000 {
                    let scan = || keys((0..written.load(Ordering::SeqCst)).collect());
                    filter.rebuild(scan, at_once()).await.unwrap();
                }
            });
        });
    });
    paused().block_on(async {
        for key in 0..8_000_u64 {
            assert_ne!(filter.ask(&key).await, Presence::Never, "{key}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn deletes_happen_by_rebuild_and_the_rate_is_kept() {
    let filter = Filter::local(FilterSize::new(5_000, 0.001));
    let slow = Rebuild {
        rate: 1_000.0,
        ..Rebuild::default()
    };
    let built = filter
        .rebuild(|| keys((0..5_000).collect()), slow)
        .await
        .unwrap();
    // Ten seconds to settle, and 5,000 keys at 1,000 a second.
    assert!((14..=15).contains(&built.took.as_secs()), "{built:?}");
    filter
        .rebuild(|| keys((1_000..5_000).collect()), at_once())
        .await
        .unwrap();
    let mut denied = 0;
    for key in 0..1_000_u64 {
        denied += u32::from(filter.ask(&key).await == Presence::Never);
    }
    assert!(denied >= 990, "{denied}");
}

#[tokio::test(start_paused = true)]
async fn one_build_at_a_time() {
    let filter = Filter::local(FilterSize::new(10, 0.01));
    let stuck = filter.clone();
    let stuck = tokio::spawn(async move {
        let never = stream::pending::<Result<u64, Infallible>>();
        stuck.rebuild(|| never, at_once()).await
    });
    tokio::task::yield_now().await;
    let second = filter.rebuild(|| keys(vec![1]), at_once()).await;
    assert!(matches!(second, Err(FilterError::UnderWay)));
    stuck.abort();
    assert!(stuck.await.unwrap_err().is_cancelled());
    filter.rebuild(|| keys(vec![1]), at_once()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_the_size_is_said_and_denies_nothing() {
    let filter = Filter::local(FilterSize::new(1_000, 0.01));
    let built = filter
        .rebuild(|| keys((0..10_000).collect()), at_once())
        .await
        .unwrap();
    let said = filter.overfull().unwrap();
    assert_eq!(built.fill.overfull(), Some(said));
    assert!(said.error > 0.9 && said.suggested.keys() > 13_000, "{said}");
    for key in 0..10_000_u64 {
        assert_eq!(filter.ask(&key).await, Presence::Maybe);
    }
    // As it was told to.
    let larger = Rebuild {
        size: Some(said.suggested),
        ..at_once()
    };
    filter
        .rebuild(|| keys((0..10_000).collect()), larger)
        .await
        .unwrap();
    assert_eq!(filter.overfull(), None);
}

#[tokio::test(start_paused = true)]
async fn adding_too_many_is_said_too() {
    let filter = Filter::local(FilterSize::new(1_000, 0.01));
    filter.rebuild(|| keys(vec![]), at_once()).await.unwrap();
    for key in 0..1_000_u64 {
        filter.add(&key).await.unwrap();
    }
    assert_eq!(filter.overfull(), None);
    for key in 1_000..1_300_u64 {
        filter.add(&key).await.unwrap();
    }
    assert!(filter.overfull().is_some());
}

#[tokio::test(start_paused = true)]
async fn its_error_is_measured_in_service() {
    let filter = Filter::local(FilterSize::new(10_000, 0.01));
    filter
        .rebuild(|| keys((0..10_000).collect()), at_once())
        .await
        .unwrap();
    assert_eq!(filter.counts().error(), None);
    for key in 10_000..210_000_u64 {
        let answer = filter.ask(&key).await;
        // The load finds nothing.
        filter.found_absent(answer);
    }
    let measured = filter.counts().error().unwrap();
    assert!((0.009..=0.011).contains(&measured), "{measured}");
}
