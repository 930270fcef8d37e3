use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{leak, testing::drop_after_each_poll};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn the_first_error_ends_the_rest() {
    leak::check(async {
        let mut group = Group::<(), &str>::new();
        group.spawn(pending());
        group.spawn(async {
            sleep(5 * MS).await;
            Err("late")
        });
        group.spawn(async {
            sleep(MS).await;
            Err("early")
        });
        let begun = Instant::now();
        let joined = group.join().await;
        assert_eq!(begun.elapsed(), MS);
        assert_eq!(joined.failures().len(), 3);
        let failure = joined.all().unwrap_err();
        assert_eq!(failure.to_string(), "task 2: early");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_keeps_going_collects_everything() {
    let mut group = Group::new().keep_going();
    for n in 0..6_u32 {
        group.spawn(async move {
            sleep((6 - n) * MS).await;
            if n == 3 {
                panic!("at {n}");
            }
            if n % 2 == 0 { Ok(n) } else { Err(n) }
        });
    }
    let results: Vec<_> = group.join().await.results();
    let results: Vec<_> = results
        .into_iter()
        .map(|r| r.map_err(|f| f.error))
        .collect();
    let message = "at 3".to_owned();
    assert_eq!(
        results,
        [
            Ok(0),
            Err(TaskError::Failed(1)),
            Ok(2),
            Err(TaskError::Panicked { message }),
            Ok(4),
            Err(TaskError::Failed(5)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_run_than_the_limit() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut group = Group::<(), Infallible>::new().limit(3);
    for _ in 0..50 {
        group.ready().await.unwrap();
        let (running, most) = (running.clone(), most.clone());
        group.spawn(async move {
            most.fetch_max(
                running.fetch_add(1, Ordering::Relaxed) + 1,
                Ordering::Relaxed,
            );
            sleep(MS).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        });
    }
    assert_eq!(group.join().await.all().unwrap().len(), 50);
    assert_eq!(most.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_is_held_back_by_ready_and_stopped_by_a_failure() {
    let mut group = Group::<(), &str>::new().limit(2);
    let mut spawned = 0;
    let begun = Instant::now();
    while group.ready().await.is_ok() {
        spawned += 1;
        group.spawn(async move {
            sleep(MS).await;
            if spawned == 5 { Err("fifth") } else { Ok(()) }
        });
        yield_now().await;
    }
    // Two at a time: the fifth ends in the third millisecond.
    assert_eq!((spawned, begun.elapsed() / 3), (6, MS));
    assert_eq!(group.ready().await, Err(Stopped::Cancelled));
    assert_eq!(group.join().await.all().unwrap_err().task.index, 4);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_the_rest_ends() {
    let mut group = Group::<u32, Infallible>::new().timeout(10 * MS);
    group.spawn(async { Ok(1) });
    group.spawn(pending());
    let (done, failed) = group.join().await.split();
    assert_eq!(done.len(), 1);
    assert_eq!(failed[0].error, TaskError::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn deadline_and_cancellation_flow_down_and_results_up() {
    let mut outer = Group::<Vec<u32>, Failure<Infallible>>::new().timeout(10 * MS);
    let until = Instant::now() + 10 * MS;
    outer.spawn(async move {
        let looser = Group::<(), ()>::new().timeout(Duration::from_secs(9));
        assert_eq!(looser.scope.deadline(), Some(until));
        let tighter = Group::<(), ()>::new().timeout(MS);
        assert_eq!(tighter.scope.time_left(), Some(MS));
        let mut inner = Group::new();
        inner.spawn(async { Ok(7) });
        inner.join().await.all()
    });
    assert_eq!(outer.join().await.all(), Ok(vec![vec![7]]));

    let mut outer = Group::<(), ()>::new();
    let (tell, told) = tokio::sync::oneshot::channel();
    outer.spawn(async {
        let inner = Group::<(), ()>::new();
        let _ = tell.send(inner.token().clone());
        pending().await
    });
    let inner = told.await.unwrap();
    assert!(!inner.is_cancelled());
    outer.cancel();
    assert!(inner.is_cancelled());
    assert_eq!(outer.join().await.failures()[0].error, TaskError::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_group_ends_with_the_call_around_it() {
    let soon = Instant::now() + MS;
    let deadline = || Group::<(), ()>::new().scope.deadline();
    let call = ambient::current().with_until(7_u32, soon);
    assert_eq!(call.enter(deadline), Some(soon));
    assert_eq!(call.with(8_u32).enter(deadline), None, "another call");
    let looser = || {
        let group = Group::<(), ()>::new().deadline(soon + MS);
        group.scope.deadline()
    };
    assert_eq!(call.enter(looser), Some(soon));
    let nested = async move {
        let mut outer = Group::<_, ()>::new();
        outer.spawn(async move {
            let looser = ambient::current().with_until(8_u32, soon + 9 * MS);
            Ok(looser.enter(deadline))
        });
        outer.join().await.all()
    };
    assert_eq!(call.scope(nested).await, Ok(vec![Some(soon)]));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_group_begins_nothing() {
    let mut group = Group::<(), Infallible>::new();
    group.cancel();
    group.spawn(async { unreachable!("never begins") });
    assert_eq!(group.join().await.failures()[0].error, TaskError::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn settings_after_a_spawn_hold_for_it_too() {
    let mut group = Group::<(), &str>::new();
    group.spawn(pending());
    group.spawn(async { Err("no matter") });
    let group = group.keep_going().timeout(MS);
    let joined = group.join().await;
    let errors: Vec<_> = joined.failures().iter().map(|f| f.error.clone()).collect();
    assert_eq!(
        errors,
        [TaskError::Failed("no matter"), TaskError::DeadlineExceeded]
    );
}

#[tokio::test(start_paused = true)]
async fn a_panicking_destructor_is_the_tasks_failure_too() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("while dropped");
        }
    }
    let mut group = Group::<(), Infallible>::new();
    group.spawn(async {
        let _panics = Panics;
        pending().await
    });
    yield_now().await;
    group.cancel();
    let message = "while dropped".to_owned();
    assert_eq!(
        group.join().await.failures()[0].error,
        TaskError::Panicked { message }
    );
}

#[tokio::test(start_paused = true)]
async fn ambient_values_follow_from_where_a_task_is_spawned() {
    let here = || ambient::current().get::<u32>().copied();
    let mut group = Group::<Option<u32>, Infallible>::new();
    group.spawn(async move { Ok(here()) });
    ambient::current()
        .with(1_u32)
        .enter(|| group.spawn(async move { Ok(here()) }));
    let nested = ambient::current().with(2_u32).scope(async move {
        let mut group = Group::<Option<u32>, Infallible>::new();
        group.spawn(async move { Ok(here()) });
        group.join().await.all().unwrap()[0]
    });
    group.spawn(async move { Ok(nested.await) });
    assert_eq!(group.join().await.all().unwrap(), [None, Some(1), Some(2)]);
    assert!(Scope::current().is_none());
}

#[tokio::test(start_paused = true)]
async fn next_hands_out_ends_as_they_come() {
    let mut group = Group::<u32, Infallible>::new().named("timers");
    for n in [3, 1, 2] {
        group.spawn_named(format!("after {n}"), async move {
            sleep(n * MS).await;
            Ok(n)
        });
    }
    let mut order = Vec::new();
    while let Some((task, result)) = group.next().await {
        order.push((task.to_string(), result.unwrap()));
    }
    let expected = [
        ("task 1 (after 1) of group `timers`", 1),
        ("task 2 (after 2) of group `timers`", 2),
        ("task 0 (after 3) of group `timers`", 3),
    ];
    assert_eq!(order, expected.map(|(task, n)| (task.to_owned(), n)));
}

#[tokio::test(start_paused = true)]
async fn wherever_a_join_is_dropped_no_task_is_left() {
    leak::check(async {
        let alive = Arc::new(());
        let polls = drop_after_each_poll(
            || {
                let mut group = Group::<(), Infallible>::new().limit(2);
                for n in 0..5_u32 {
                    let alive = alive.clone();
                    group.spawn(async move {
                        let _alive = alive;
                        sleep(n * MS).await;
                        Ok(())
                    });
                }
                group.join()
            },
            async |_| {
                // An ended task is dropped on its next turn.
                sleep(MS).await;
                assert_eq!(Arc::strong_count(&alive), 1);
            },
        )
        .await;
        assert!(polls > 3, "{polls}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_lives_long_keeps_nothing_of_tasks_that_were_taken() {
    let mut group = Group::<usize, Infallible>::new();
    group.spawn(async {
        sleep(MS).await;
        Ok(7)
    });
    for n in 1..=1_000 {
        group.spawn_named("short", async move { Ok(n) });
        let (task, result) = group.next().await.unwrap();
        assert_eq!((task.index, result), (n, Ok(n)));
    }
    group.spawn(async { Ok(8) });
    let joined = group.join().await;
    assert!(joined.succeeded.capacity() < 10 && joined.names.is_empty());
    assert_eq!(joined.all(), Ok(vec![7, 8]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_cancelled_by_token_or_time_begins_nothing_either() {
    let never = async || -> Result<(), Infallible> { unreachable!("never begins") };
    let ended = async |mut group: Group<(), Infallible>| {
        for _ in 0..100 {
            group.spawn(never());
        }
        let joined = group.join().await;
        assert_eq!(joined.failures().len(), 100);
        let (_, failed) = joined.split();
        failed.into_iter().map(|f| f.error).next()
    };
    let group = Group::new();
    group.token().cancel();
    assert_eq!(ended(group).await, Some(TaskError::Cancelled));
    let group = Group::new().limit(3);
    group.token().cancel();
    assert_eq!(ended(group).await, Some(TaskError::Cancelled));
    let group = Group::new().deadline(Instant::now());
    assert_eq!(ended(group).await, Some(TaskError::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_or_fails_gives_its_place_up_to_nobody() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("while dropped");
        }
    }
    for way in 0..3 {
        let mut group = Group::<(), &str>::new().limit(1);
        group.spawn(async move {
            yield_now().await;
            match way {
                0 => Err("fails"),
                1 => panic!("panics"),
                _ => {
                    let _panics = Panics;
                    Ok(())
                }
            }
        });
        group.spawn(async { unreachable!("never begins") });
        let joined = group.join().await;
        assert_eq!(joined.first_failed, Some(0));
        assert_eq!(joined.failures()[1].error, TaskError::Cancelled);
    }
}

proptest! {
    /// Whatever the tasks do and whatever the limit: each has exactly one end, in its own place.
    #[test]
    fn every_task_has_one_end(
        tasks in prop::collection::vec((0u32..4, 0u8..4), 0..40),
        limit in prop::option::of(1usize..5),
        keep_going: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut group = Group::<usize, usize>::new();
            if let Some(limit) = limit {
                group = group.limit(limit);
            }
            if keep_going {
                group = group.keep_going();
            }
            for (index, (time, kind)) in tasks.iter().copied().enumerate() {
                group.spawn(async move {
                    sleep(time * MS).await;
                    match kind {
                        0 => Err(index),
                        1 => std::panic::panic_any(format!("{index}")),
                        _ => Ok(index),
                    }
                });
            }
            let results = group.join().await.results();
            assert_eq!(results.len(), tasks.len());
            for (index, result) in results.into_iter().enumerate() {
                match (result, tasks[index].1) {
                    (Ok(value), 2..) => assert_eq!(value, index),
                    (Err(failure), kind) => {
                        assert_eq!(failure.task.index, index);
                        match failure.error {
                            TaskError::Failed(value) => assert_eq!((value, kind), (index, 0)),
                            TaskError::Panicked { message } => assert_eq!((message, kind), (index.to_string(), 1)),
                            TaskError::Cancelled => assert!(!keep_going),
                            TaskError::DeadlineExceeded => unreachable!("there is none"),
                        }
                    }
                    (Ok(_), kind) => panic!("task {index} of kind {kind} cannot succeed"),
                }
            }
        });
    }
}

#[tokio::test]
async fn failures_of_any_error_that_can_be_shown_are_errors() {
    async fn joined<E: Send + std::fmt::Display + std::fmt::Debug + 'static>(
        error: E,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut group = Group::<(), E>::new();
        group.spawn(async { Err(error) });
        group.join().await.all()?;
        Ok(())
    }
    let boxed: Box<dyn std::error::Error + Send + Sync> = "boxed".into();
    let told = joined(boxed).await.unwrap_err().to_string();
    assert_eq!(told, "task 0: boxed");
    let told = joined(String::from("text")).await.unwrap_err().to_string();
    assert_eq!(told, "task 0: text");
}
