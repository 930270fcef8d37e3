use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::*;
use crate::testing::drop_after_each_poll;
use crate::{Group, group::Scope};

const MS: Duration = Duration::from_millis(1);

/// Work that counts how often it runs, and takes a millisecond.
fn counted(runs: &Arc<AtomicUsize>) -> impl Future<Output = usize> + use<> {
    let runs = runs.clone();
    async move {
        let run = runs.fetch_add(1, Relaxed);
        sleep(MS).await;
        run
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_of_one_key_run_it_once() {
    let (flight, runs) = (Flight::new(), Arc::new(AtomicUsize::new(0)));
    let mut callers = Group::new();
    for _ in 0..10_000 {
        let (flight, work) = (flight.clone(), counted(&runs));
        callers.spawn(async move { flight.run("key", work).await });
    }
    assert_eq!(callers.join().await.all().unwrap(), vec![0; 10_000]);
    assert_eq!(runs.load(Relaxed), 1);
    assert!(flight.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_on_two_threads_run_it_once_while_any_waits() {
    for detached in [false, true] {
        let (flight, runs) = (Flight::new(), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let entered = Arc::new(AtomicUsize::new(0));
        let mut callers = Group::<usize, FlightError>::new();
        for _ in 0..10_000 {
            let (flight, gate, runs) = (flight.clone(), gate.clone(), runs.clone());
            let entered = entered.clone();
            callers.spawn(async move {
                let work = async move {
                    let run = runs.fetch_add(1, Relaxed);
                    let _ = gate.acquire().await;
                    run
                };
                entered.fetch_add(1, Relaxed);
                match detached {
                    true => flight.detached().run("key", work).await,
                    false => flight.run("key", work).await,
                }
            });
        }
        while entered.load(Relaxed) < 10_000 || runs.load(Relaxed) == 0 {
            yield_now().await;
        }
        assert_eq!(runs.load(Relaxed), 1);
        gate.close();
        assert_eq!(callers.join().await.all().unwrap().len(), 10_000);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_driver_leaves_another_goes_on() {
    let (flight, runs) = (Flight::new(), Arc::new(AtomicUsize::new(0)));
    let mut first = Box::pin(flight.run("key", counted(&runs)));
    let mut second = Box::pin(flight.run("key", counted(&runs)));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    drop(first);
    assert_eq!(second.await, Ok(0));
    assert_eq!(runs.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_put_aside_holds_nobody_back() {
    let (flight, runs) = (Flight::new(), Arc::new(AtomicUsize::new(0)));
    let mut aside = Box::pin(flight.run("key", counted(&runs)));
    assert!(poll_once(aside.as_mut()).is_pending());
    // Never polled again, never dropped.
    assert_eq!(flight.run("key", counted(&runs)).await, Ok(0));
    assert_eq!(aside.await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn with_its_last_waiter_the_work_is_dropped() {
    let flight = Flight::<_, ()>::new();
    let alive = Arc::new(());
    let work = |alive: &Arc<()>| {
        let alive = alive.clone();
        async move {
            let _alive = alive;
            pending::<()>().await;
        }
    };
    let mut first = Box::pin(flight.run("key", work(&alive)));
    let mut second = Box::pin(flight.run("key", work(&alive)));
    assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(first);
    assert_eq!((Arc::strong_count(&alive), flight.len()), (2, 1));
    drop(second);
    assert_eq!((Arc::strong_count(&alive), flight.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_reaches_every_waiter_and_frees_the_key() {
    let flight = Flight::<_, u32>::new();
    let panics = || async {
        sleep(MS).await;
        panic!("no such row")
    };
    let (a, b) = tokio::join!(flight.run(1, panics()), flight.run(1, panics()));
    let message = "no such row".into();
    assert_eq!(a, Err(FlightError::Panicked { message }));
    assert_eq!(a, b);
    assert_eq!(flight.run(1, async { 7 }).await, Ok(7));

    let detached = flight.clone().detached();
    assert_eq!(detached.run(1, panics()).await, a);
    assert_eq!(detached.run(1, async { 7 }).await, Ok(7));
    assert!(flight.is_empty());
}

#[tokio::test(start_paused = true)]
async fn results_live_as_long_as_stated() {
    let runs = Arc::new(AtomicUsize::new(0));
    let flight = Flight::new().keep(10 * MS, |_| true);
    assert_eq!(flight.run("key", counted(&runs)).await, Ok(0));
    sleep(9 * MS).await;
    assert_eq!(flight.run("key", counted(&runs)).await, Ok(0));
    sleep(MS).await;
    assert_eq!(flight.run("key", counted(&runs)).await, Ok(1));
    assert!(flight.forget("key") && !flight.forget("key"));
    assert_eq!(flight.run("key", counted(&runs)).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_worth_keeping_is_not_kept() {
    let flight = Flight::new().keep(10 * MS, Result::is_ok);
    for run in 0..2 {
        assert_eq!(
            flight.run("key", async move { Err(run) }).await,
            Ok(Err(run))
        );
    }
    assert!(flight.is_empty());
    assert_eq!(flight.run("key", async { Ok(2) }).await, Ok(Ok(2)));
    assert_eq!(flight.run("key", async { Ok(3) }).await, Ok(Ok(2)));
    let undecided = Flight::new().keep(10 * MS, |_| panic!("on purpose"));
    assert_eq!(undecided.run("key", async { 1 }).await, Ok(1));
    assert!(undecided.is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_that_waits_for_itself_is_told_so() {
    let itself = Err(FlightError::WaitsForItself);
    let flight = Flight::<_, Outcome<u32>>::new();
    let detached = flight.clone().detached();
    let again = {
        let flight = flight.clone();
        async move {
            yield_now().await;
            flight.run(1, async { Ok(0) }).await?
        }
    };
    assert_eq!(detached.run(1, again).await, Ok(itself.clone()));
    // By way of another key; and the work may go on.
    let around = {
        let (flight, inner) = (flight.clone(), flight.clone());
        async move {
            let back = flight.run(2, async move { inner.run(1, async { Ok(0) }).await? });
            assert_eq!(back.await, Ok(Err(FlightError::WaitsForItself)));
            flight.run(3, async { Ok(7) }).await?
        }
    };
    assert_eq!(flight.run(1, around).await, Ok(Ok(7)));
    assert!(flight.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_in_flight_is_begun_anew_and_not_kept() {
    let runs = Arc::new(AtomicUsize::new(0));
    let flight = Flight::new().keep(10 * MS, |_| true);
    let mut old = Box::pin(flight.run("key", counted(&runs)));
    assert!(poll_once(old.as_mut()).is_pending());
    assert!(flight.forget("key"));
    let (old, new) = tokio::join!(old, flight.run("key", counted(&runs)));
    assert_eq!((old, new), (Ok(0), Ok(1)));
    assert_eq!(flight.run("key", counted(&runs)).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_the_oldest_result_goes_and_calls_in_flight_run_alone() {
    let runs = Arc::new(AtomicUsize::new(0));
    let flight = Flight::new().keep(10 * MS, |_| true).capacity(2);
    for key in 0..3 {
        assert_eq!(flight.run(key, counted(&runs)).await, Ok(key));
    }
    assert_eq!(flight.len(), 2);
    assert_eq!(flight.run(2, counted(&runs)).await, Ok(2));
    assert_eq!(flight.run(0, counted(&runs)).await, Ok(3));

    let full = Flight::<_, ()>::new().capacity(1);
    let mut held = Box::pin(full.run(0, pending()));
    assert!(poll_once(held.as_mut()).is_pending());
    let alone = || async { yield_now().await };
    let (a, b) = tokio::join!(full.run(1, alone()), full.run(1, alone()));
    assert_eq!((a, b, full.len()), (Ok(()), Ok(()), 1));
}

#[tokio::test(start_paused = true)]
async fn detached_work_goes_on_without_waiters() {
    let runs = Arc::new(AtomicUsize::new(0));
    let flight = Flight::new().keep(10 * MS, |_| true).detached();
    let mut caller = Box::pin(flight.run("key", counted(&runs)));
    assert!(poll_once(caller.as_mut()).is_pending());
    drop(caller);
    sleep(2 * MS).await;
    assert_eq!(flight.run("key", counted(&runs)).await, Ok(0));
}

#[test]
fn a_runtime_that_ends_strands_nobody() {
    let builder = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let (runtime, other) = (builder(), builder());
    let flight = Flight::<_, ()>::new().detached();
    let mut caller = Box::pin(flight.run("key", pending()));
    runtime.block_on(async { assert!(poll_once(caller.as_mut()).is_pending()) });
    drop(runtime);
    assert_eq!(other.block_on(caller), Err(FlightError::RuntimeEnded));
    assert!(flight.flight().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_work_carries_the_value_but_not_the_group_or_deadline_of_who_began_it() {
    let flight = Flight::<_, (Option<u32>, bool)>::new();
    let mut group = Group::<_, FlightError>::new();
    let call = ambient::current().with_until(7_u32, tokio::time::Instant::now() + MS);
    let look = async {
        let ambient = ambient::current();
        let bound = Scope::current().is_some() || ambient.deadline().is_some();
        (ambient.get::<u32>().copied(), bound)
    };
    call.enter(|| {
        group.spawn(async move { flight.run("key", look).await });
    });
    assert_eq!(group.join().await.all(), Ok(vec![(Some(7), false)]));
}

#[tokio::test(start_paused = true)]
async fn wherever_a_caller_is_dropped_the_other_has_its_result() {
    let runs = Arc::new(AtomicUsize::new(0));
    let flight = Flight::new();
    let three_waits = || {
        let work = counted(&runs);
        async move {
            yield_now().await;
            sleep(MS).await;
            work.await
        }
    };
    let other = std::cell::RefCell::new(None);
    let polls = drop_after_each_poll(
        || {
            let mut waiting = Box::pin(flight.run("key", three_waits()));
            assert!(poll_once(waiting.as_mut()).is_pending());
            *other.borrow_mut() = Some(waiting);
            flight.run("key", three_waits())
        },
        async |_| {
            let waiting = other.borrow_mut().take().unwrap();
            waiting.await.unwrap();
            assert!(flight.is_empty());
        },
    )
    .await;
    assert!(polls >= 3, "{polls}");
    assert_eq!(runs.load(Relaxed), polls + 1);
}

#[tokio::test]
async fn a_waker_called_while_the_work_is_polled_is_not_lost() {
    let flight = Flight::<_, ()>::new();
    let mut left = 3;
    let work = poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        left -= 1;
        if left == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    assert_eq!(flight.run("key", work).await, Ok(()));
}

proptest! {
    /// Callers come, are polled and leave in any order: work that is waited for always ends, there
    /// is never more than one execution of a key at a time, and nothing stays behind.
    #[test]
    fn any_order_of_coming_polling_and_leaving(steps in prop::collection::vec((0u8..3, 0usize..6), 0..60)) {
        let flight = Flight::<usize, usize>::new();
        let running: Arc<[AtomicUsize; 2]> = Arc::default();
        let mut callers = HashMap::new();
        struct Running(Arc<[AtomicUsize; 2]>, usize);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0[self.1].fetch_sub(1, Relaxed);
            }
        }
        for (step, caller) in steps {
            let key = caller % 2;
            match step {
                0 => {
                    let running = running.clone();
                    let work = async move {
                        assert_eq!(running[key].fetch_add(1, Relaxed), 0);
                        let _running = Running(running, key);
                        for _ in 0..3 {
                            yield_now().await;
                        }
                        key
                    };
                    let flight = flight.clone();
                    callers.entry(caller).or_insert_with(|| Box::pin(async move { flight.run(key, work).await }));
                }
                1 => {
                    if let Some(call) = callers.get_mut(&caller)
                        && let Poll::Ready(outcome) = poll_once(call.as_mut())
                    {
                        prop_assert_eq!(outcome, Ok(key));
                        callers.remove(&caller);
                    }
                }
                _ => drop(callers.remove(&caller)),
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (caller, call) in callers {
            prop_assert_eq!(runtime.block_on(call), Ok(caller % 2));
        }
        prop_assert!(flight.is_empty());
    }
}
