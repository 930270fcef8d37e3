//! Pipelines: what comes out, in which order, and how they end.
#![cfg(feature = "rt")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use seawall_sync::pipeline::{OnError, Order, Pipeline, PipelineError, PipelineOptions, Running};
use seawall_sync::testing::{at_every_poll, within_polls};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

fn options(chunk: usize, buffer: usize, on_error: OnError) -> PipelineOptions {
    PipelineOptions {
        chunk,
        buffer,
        on_error,
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(future)
}

/// All that comes out, and how it ends.
async fn all<T, E>(mut running: Running<T, E>) -> (Vec<T>, Option<PipelineError<E>>)
where
    T: Send + 'static,
    E: Send + 'static,
{
    let mut items = Vec::new();
    loop {
        match running.recv().await {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}

/// Every kind of stage once.
fn every_stage(input: Pipeline<u64, u64>, order: Order, n: usize) -> Pipeline<u64, u64> {
    input
        .map("map", |x| Ok(x + 1))
        .map_parallel("parallel", n, order, |x| Ok(x * 2))
        .map_concurrent("concurrent", n, order, |x| async move {
            sleep(Duration::from_millis(x % 7)).await;
            Ok(x + 1)
        })
        .batch("batch", n, Duration::from_millis(5))
        .map("sum", |batch| Ok(batch.into_iter().sum::<u64>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes: everything comes out, in order where order is kept.
    #[test]
    fn stages_are_as_iterators(
        items in prop::collection::vec(0u64..1_000, 0..300),
        chunk in 1usize..10, buffer in 1usize..4, n in 0usize..5, kept: bool,
    ) {
        let order = if kept { Order::Kept } else { Order::Free };
        let make = || Pipeline::<_, Infallible>::from_items(options(chunk, buffer, OnError::Abort), items.clone());
        let work = |x: u64| (x + 1) * 2 + 1;
        let (mut out, ended) = block_on(async move {
            all(make()
                .map("map", |x| Ok(x + 1))
                .map_parallel("parallel", n, order, |x| Ok(x * 2))
                .map_concurrent("concurrent", n, order, |x| async move {
                    sleep(Duration::from_millis(x % 7)).await;
                    Ok(x + 1)
                })
                .start()).await
        });
        let mut expected: Vec<_> = items.into_iter().map(work).collect();
        if !kept {
            out.sort_unstable();
            expected.sort_unstable();
        }
        prop_assert!(ended.is_none());
        prop_assert_eq!(out, expected);
    }

    /// When draining, each item either comes out or is counted as failed where it failed.
    #[test]
    fn draining_loses_nothing_but_what_failed(
        length in 1u64..300, chunk in 1usize..10, kept: bool,
        errors in prop::collection::btree_set(0u64..300, 1..4), panics: u64, stage in 0u8..3,
    ) {
        let order = if kept { Order::Kept } else { Order::Free };
        let bad = Arc::new(errors);
        let check = move |at: u8, x: u64| {
            assert!(stage != at || x != panics % length, "panic at {x}");
            if stage == at && bad.contains(&x) { Err(x) } else { Ok(x) }
        };
        let (mut out, ended, progress) = block_on(async move {
            let (a, b, c) = (check.clone(), check.clone(), check);
            let running = Pipeline::from_items(options(chunk, 1, OnError::Drain), 0..length)
                .map("map", move |x| a(0, x))
                .map_parallel("parallel", 3, order, move |x| b(1, x))
                .map_concurrent("concurrent", 3, order, move |x| {
                    let c = c.clone();
                    async move { c(2, x) }
                })
                .start();
            let control = running.control();
            let (out, ended) = all(running).await;
            (out, ended, control.progress())
        });
        out.sort_unstable();
        out.dedup();
        prop_assert!(ended.is_some());
        let failed: u64 = progress.iter().map(|stage| stage.failed).sum();
        prop_assert_eq!(progress[0].taken, out.len() as u64 + failed);
        prop_assert!(progress.iter().all(|stage| stage.in_flight == 0));
    }
}

#[test]
fn a_reader_that_waits_holds_the_source_back() {
    block_on(async {
        let mut running =
            Pipeline::<u64, Infallible>::from_items(options(8, 2, OnError::Abort), 0..)
                .map("first", Ok)
                .map_parallel("second", 2, Order::Kept, Ok)
                .start();
        let control = running.control();
        sleep(Duration::from_secs(1)).await;
        let before = control.progress();
        sleep(Duration::from_secs(1)).await;
        let after = control.progress();
        // Per stage two chunks wait in its channel and each task has one in hand.
        assert!(before[0].taken <= 8 * (3 + 3 + 2 + 5), "{before:?}");
        assert_eq!(before[0].taken, after[0].taken);
        assert_eq!((after[0].waiting, after[2].waiting), (1, 1));
        for _ in 0..100 {
            running.recv().await.unwrap();
        }
        yield_now().await;
        assert!(control.progress()[0].taken > after[0].taken);
        assert!(control.progress()[0].blocked > after[0].blocked);
    });
}

#[test]
fn batches_go_on_when_full_or_due() {
    block_on(async {
        let (sender, receiver) = mpsc::channel(100);
        let mut running =
            Pipeline::<u64, Infallible>::from_channel(PipelineOptions::default(), receiver)
                .batch("batch", 3, Duration::from_millis(100))
                .start();
        let start = Instant::now();
        for item in 0..7 {
            sender.send(item).await.unwrap();
        }
        assert_eq!(running.recv().await.unwrap(), Some(vec![0, 1, 2]));
        assert_eq!(running.recv().await.unwrap(), Some(vec![3, 4, 5]));
        assert_eq!(start.elapsed(), Duration::ZERO);
        // The wait counts from the first item of the batch, not from the last.
        sleep(Duration::from_millis(60)).await;
        sender.send(7).await.unwrap();
        assert_eq!(running.recv().await.unwrap(), Some(vec![6, 7]));
        assert_eq!(start.elapsed(), Duration::from_millis(100));
        sender.send(8).await.unwrap();
        drop(sender);
        assert_eq!(running.recv().await.unwrap(), Some(vec![8]));
        assert_eq!(running.recv().await.unwrap(), None);
        assert_eq!(start.elapsed(), Duration::from_millis(100));
    });
}

#[test]
fn an_error_ends_every_stage_at_once() {
    block_on(async {
        let held = Arc::new(());
        let token = Arc::clone(&held);
        let items = stream::repeat(()).map(move |()| Ok(Arc::clone(&token)));
        let mut count = 0;
        let running = Pipeline::from_stream(options(4, 2, OnError::Abort), items)
            .map("waits", Ok)
            .map("fails", move |item: Arc<()>| {
                count += 1;
                if count == 5 {
                    Err("the fifth")
                } else {
                    Ok(item)
                }
            })
            .map_concurrent("never ends", 2, Order::Kept, |_| {
                std::future::pending::<Result<(), _>>()
            })
            .start();
        let (out, ended) = all(running).await;
        assert!(out.is_empty());
        let text = ended.map(|error| error.to_string());
        assert_eq!(text.as_deref(), Some("stage fails failed: the fifth"));
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn panics_carry_stage_and_message() {
    let error = |pipeline: Pipeline<u64, Infallible>| {
        block_on(async { all(pipeline.start()).await })
            .1
            .unwrap()
            .to_string()
    };
    let make = || Pipeline::<u64, Infallible>::from_items(PipelineOptions::default(), 0..100);
    let bad = |x: u64| if x == 70 { panic!("bad {x}") } else { Ok(x) };
    assert_eq!(error(make().map("a", bad)), "stage a panicked: bad 70");
    assert_eq!(
        error(make().map_parallel("b", 2, Order::Free, bad)),
        "stage b panicked: bad 70"
    );
    let concurrent = make().map_concurrent("c", 2, Order::Kept, move |x| async move { bad(x) });
    assert_eq!(error(concurrent), "stage c panicked: bad 70");
    let source = (0..100).map(move |x| bad(x).unwrap());
    let source = Pipeline::from_items(PipelineOptions::default(), source);
    assert_eq!(error(source), "stage source panicked: bad 70");
    let source = stream::iter(0..100).map(bad);
    let source = Pipeline::from_stream(PipelineOptions::default(), source);
    assert_eq!(error(source), "stage source panicked: bad 70");
}

struct PanicsOnDrop(bool);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        assert!(!self.0, "in a destructor");
    }
}

#[test]
fn a_destructor_that_panics_is_told() {
    let (out, ended) = block_on(async {
        let pipeline = Pipeline::<_, Infallible>::from_items(PipelineOptions::default(), 0..3)
            .map("make", |x| Ok(PanicsOnDrop(x == 1)))
            .batch("batch", 2, Duration::ZERO)
            .map("drop", |_| Ok(()));
        all(pipeline.start()).await
    });
    assert!(out.len() < 2);
    assert!(
        matches!(ended, Some(PipelineError::Panicked { stage: "drop", .. })),
        "{ended:?}"
    );
}

#[test]
fn stopped_it_gives_out_all_that_it_was_given() {
    block_on(async {
        let (sender, receiver) = mpsc::channel(1_000);
        let input = Pipeline::<u64, u64>::from_channel(options(4, 1, OnError::Drain), receiver);
        let mut running = every_stage(input, Order::Kept, 1).start();
        let feeder = tokio::spawn(async move {
            let mut sent = 0;
            while sender.send(sent).await.is_ok() {
                sent += 1;
            }
            sent
        });
        for _ in 0..100 {
            running.recv().await.unwrap();
        }
        running.control().stop();
        let (rest, ended) = all(running).await;
        assert!(ended.is_none());
        assert_eq!(feeder.await.unwrap(), 100 + rest.len() as u64);
    });
}

#[test]
fn aborted_it_ends_although_a_stage_never_would() {
    block_on(async {
        let running = Pipeline::<u64, Infallible>::from_items(PipelineOptions::default(), 0..)
            .map_concurrent("never", 2, Order::Free, |_| {
                std::future::pending::<Result<(), _>>()
            })
            .start();
        let control = running.control();
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            control.abort();
        });
        let (_, ended) = all(running).await;
        assert!(matches!(ended, Some(PipelineError::Aborted)));
    });
}

#[test]
fn merged_pipelines_end_together() {
    let make = |from: u64, bad: u64| {
        Pipeline::from_items(options(4, 1, OnError::Drain), from..from + 100)
            .map("check", move |x| if x == bad { Err(x) } else { Ok(x) })
    };
    let merge = |bad| {
        Pipeline::merge(
            options(4, 1, OnError::Drain),
            [make(0, bad), make(100, bad)],
        )
    };
    let (mut out, ended) = block_on(async { all(merge(1_000).start()).await });
    out.sort_unstable();
    assert_eq!(out, (0..200).collect::<Vec<_>>());
    assert!(ended.is_none());

    block_on(async {
        let running = merge(150).start();
        let control = running.control();
        let (out, ended) = all(running).await;
        assert!(matches!(
            ended,
            Some(PipelineError::Failed {
                stage: "check",
                error: 150
            })
        ));
        let sources = control
            .progress()
            .into_iter()
            .filter(|s| s.stage == "source");
        // The merged one counts again what comes from the others.
        let taken: u64 = sources.skip(1).map(|s| s.taken).sum();
        assert_eq!(out.len() as u64 + 1, taken);
    });
}

#[tokio::test(start_paused = true)]
async fn receiving_may_be_dropped_at_every_poll() {
    for polls in 1..20 {
        let input = Pipeline::<u64, u64>::from_items(options(3, 1, OnError::Abort), 0..50);
        let mut running = every_stage(input, Order::Kept, 1).start();
        let mut out = Vec::new();
        while out.len() < 50 {
            match within_polls(running.recv(), polls).await {
                Some(item) => out.extend(item.unwrap()),
                // So that the stages get on with it.
                None => sleep(Duration::from_millis(1)).await,
            }
        }
        assert_eq!(out, (0..50).map(|x| (x + 1) * 2 + 1).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_may_be_dropped_at_every_poll_and_leaves_nothing() {
    let polls = at_every_poll(|polls| async move {
        let held = Arc::new(());
        let items: Vec<_> = vec![Arc::clone(&held); 40];
        let mut results = Vec::new();
        let ended = within_polls(
            Pipeline::<_, Infallible>::from_items(options(3, 1, OnError::Abort), items)
                .map("map", Ok)
                .map_parallel("parallel", 2, Order::Kept, Ok)
                .map_concurrent("concurrent", 2, Order::Kept, |item| async {
                    sleep(Duration::from_millis(1)).await;
                    Ok(item)
                })
                .batch("batch", 2, Duration::from_millis(1))
                .collect_into(&mut results),
            polls,
        )
        .await
        .is_some();
        drop(results);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&held), 1, "after {polls} polls");
        ended
    })
    .await;
    assert!(polls > 5);
}

#[test]
fn threads_see_what_was_written_before_and_whole_items() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let written: Arc<Vec<AtomicU64>> =
            Arc::new((0..20_000).map(|_| AtomicU64::new(0)).collect());
        let (write, read) = (Arc::clone(&written), written);
        let ordered = Arc::new((AtomicBool::new(true), Mutex::new(0)));
        let seen = Arc::clone(&ordered);
        let pipeline =
            Pipeline::<_, Infallible>::from_items(options(16, 2, OnError::Abort), 0..20_000u64)
                .map_parallel("write", 3, Order::Kept, move |i| {
                    write[i as usize].store(i, Relaxed);
                    Ok((i, !i))
                })
                .map_parallel("read", 3, Order::Kept, move |(left, right)| {
                    assert_eq!((left, read[left as usize].load(Relaxed)), (!right, left));
                    Ok(left)
                })
                .map("order", move |i| {
                    let mut next = seen.1.lock().unwrap();
                    seen.0.fetch_and(*next == i, Relaxed);
                    *next += 1;
                    Ok(())
                });
        let progress = pipeline.run().await.unwrap();
        assert!(ordered.0.load(Relaxed));
        assert!(
            progress
                .iter()
                .all(|stage| stage.taken == 20_000 && stage.in_flight == 0)
        );
    });
}
