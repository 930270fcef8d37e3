//! What hostile or careless use once broke.

use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use seawall_sync::group::TaskError;
use seawall_sync::pipeline::{Order, Pipeline, PipelineOptions};
use seawall_sync::shutdown::Life;
use seawall_sync::{Blocking, Flight, Group, Shutdown, Snapshot};
use tokio::task::yield_now;

/// A destructor that panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a destructor");
        }
    }
}

/// What `future` comes to without any waiting.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    future.now_or_never()
}

/// Runs `work` on a thread of its own; whether it ends.
fn ends(work: impl FnOnce() + Send + 'static) -> bool {
    let (send, ended) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        let _ = send.send(());
    });
    ended.recv_timeout(Duration::from_secs(5)).is_ok()
}

fn code_is(code: ExitCode, wanted: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(wanted))
}

// === shutdown ===

/// The child of `nobody_reads_what_is_told`.
#[test]
fn child_whose_stderr_is_closed() {
    if std::env::var_os("SEAWALL_ATTACK_CHILD").is_none() {
        return;
    }
    let code = Shutdown::new().run(async |life: Life| {
        life.on_exit("clean", async {
            println!("cleaned up");
        });
        life.stop();
        Ok::<(), String>(())
    });
    assert!(code_is(code, 0));
}

#[test]
fn a_stderr_that_is_gone_cuts_neither_drain_nor_clean_up() {
    let child = std::env::current_exe().unwrap();
    let mut child = Command::new(child)
        .args(["--exact", "child_whose_stderr_is_closed", "--nocapture"])
        .env("SEAWALL_ATTACK_CHILD", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("cleaned up"), "{said}");
    assert!(output.status.success());
}

#[test]
fn an_error_while_draining_is_told_and_shows_in_the_exit_code() {
    let shutdown = Shutdown::new().tell(|_| {});
    let fails = shutdown.run(async |life: Life| {
        life.stop();
        Err("cannot save")
    });
    assert!(code_is(fails, 1));
    let panics = shutdown.run(async |life: Life| {
        life.stop();
        life.stopping().await;
        yield_now().await;
        if life.is_stopping() {
            panic!("cannot save");
        }
        Ok::<(), String>(())
    });
    assert!(code_is(panics, 1));
}

#[test]
fn a_program_that_panics_before_its_first_await_is_cleaned_up_after() {
    static RAN: AtomicBool = AtomicBool::new(false);
    let code = catch_unwind(|| {
        Shutdown::new().tell(|_| {}).run(|life: Life| {
            life.on_exit("clean", async { RAN.store(true, Relaxed) });
            if life.is_stopping() {
                return pending::<Result<(), String>>();
            }
            panic!("before the first await");
        })
    });
    assert!(RAN.load(Relaxed));
    assert!(code_is(code.unwrap(), 1));
}

// === flight ===

#[tokio::test]
async fn a_flight_keeps_for_ever() {
    let flight = Flight::new().keep(Duration::MAX, |_| true);
    assert_eq!(flight.run("key", async { 1 }).await, Ok(1));
    assert_eq!(at_once(flight.run("key", async { 2 })), Some(Ok(1)));
}

struct ClonedOnce(Arc<AtomicBool>);

impl Clone for ClonedOnce {
    fn clone(&self) -> Self {
        assert!(!self.0.swap(false, Relaxed), "cannot be cloned");
        Self(self.0.clone())
    }
}

/// Two callers of a key: whatever becomes of the first, the second comes to its end.
async fn first_fails_and_strands_nobody<V: Clone + Send + 'static>(
    flight: &Flight<&'static str, V>,
    work: impl Future<Output = V> + Send + 'static,
) {
    let mut first = Box::pin(flight.run("key", work));
    let mut second = Box::pin(flight.run("key", async { unreachable!() }));
    assert!(at_once(&mut first).is_none() && at_once(&mut second).is_none());
    let _ = AssertUnwindSafe(&mut first).catch_unwind().await;
    drop(first);
    assert!(
        AssertUnwindSafe(second)
            .catch_unwind()
            .now_or_never()
            .is_some()
    );
}

#[tokio::test]
async fn a_value_whose_clone_panics_strands_nobody() {
    let panics = Arc::new(AtomicBool::new(true));
    let flight = Flight::new();
    let value = ClonedOnce(panics);
    let work = async move {
        yield_now().await;
        value
    };
    first_fails_and_strands_nobody(&flight, work).await;
}

#[tokio::test]
async fn a_panic_whose_payload_panics_strands_nobody() {
    let flight = Flight::<_, ()>::new();
    let work = async {
        yield_now().await;
        panic_any(Bomb);
    };
    first_fails_and_strands_nobody(&flight, work).await;
}

/// A task that only its wakers hold.
struct HeldByWakers(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for HeldByWakers {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_dropped_by_a_flight_may_own_another_caller() {
    assert!(ends(|| {
        let flight = Arc::new(Flight::<_, ()>::new());
        let wait = {
            let flight = flight.clone();
            async move {
                let _ = flight.run("key", pending()).await;
            }
        };
        let task = Arc::new(HeldByWakers(Mutex::new(Some(Box::pin(wait)))));
        let alive: Weak<HeldByWakers> = Arc::downgrade(&task);
        let waker = Waker::from(task);
        let mut other = Box::pin(flight.run("key", pending()));
        let mut cx = Context::from_waker(&waker);
        assert!(other.as_mut().poll(&mut cx).is_pending());
        let task = alive.upgrade().unwrap();
        let mut future = task.0.lock().unwrap();
        let noop = &mut Context::from_waker(Waker::noop());
        assert!(future.as_mut().unwrap().as_mut().poll(noop).is_pending());
        drop(future);
        drop((task, waker));
        // The flight's is the last reference to the task, which waits for the same key.
        drop(other);
    }));
}

// === snapshot ===

struct StoresWhenWoken(Arc<Snapshot<u32>>);

impl Wake for StoresWhenWoken {
    fn wake(self: Arc<Self>) {
        self.0.store(2);
    }
}

#[test]
fn who_is_woken_by_a_store_may_store() {
    assert!(ends(|| {
        let snapshot = Arc::new(Snapshot::new(0));
        let waker = Waker::from(Arc::new(StoresWhenWoken(snapshot.clone())));
        let mut changed = pin!(snapshot.changed(0));
        let mut cx = Context::from_waker(&waker);
        assert!(changed.as_mut().poll(&mut cx).is_pending());
        snapshot.store(1);
        assert_eq!(**snapshot.load(), 2);
    }));
}

// === group ===

#[tokio::test]
async fn ready_waits_for_tasks_that_have_not_begun() {
    let mut group = Group::<(), ()>::new().limit(2);
    for _ in 0..2 {
        group.ready().await.unwrap();
        group.spawn(pending());
    }
    assert!(at_once(group.ready()).is_none());
}

#[tokio::test]
async fn limited_tasks_begin_in_order() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut group = Group::<(), ()>::new().limit(1);
    for n in 0..10 {
        let order = order.clone();
        group.spawn(async move {
            order.lock().unwrap().push(n);
            yield_now().await;
            Ok(())
        });
    }
    group.join().await.all().unwrap();
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_waits_for_a_place_does_not_begin_after_a_failure() {
    let began = Arc::new(AtomicBool::new(false));
    let mut group = Group::<(), &str>::new().limit(1);
    group.spawn(async {
        yield_now().await;
        Err("failed")
    });
    let begins = began.clone();
    group.spawn(async move {
        begins.store(true, Relaxed);
        Ok(())
    });
    assert!(group.join().await.all().is_err());
    assert!(!began.load(Relaxed));
}

#[tokio::test]
async fn a_group_may_have_all_the_time_there_is() {
    let mut group = Group::<u32, ()>::new().timeout(Duration::MAX);
    group.spawn(async { Ok(1) });
    assert_eq!(group.join().await.all(), Ok(vec![1]));
}

#[tokio::test]
async fn a_payload_that_panics_is_still_a_tasks_end() {
    let mut group = Group::<(), ()>::new();
    group.spawn(async { panic_any(Bomb) });
    let failed = group.join().await.all().unwrap_err();
    assert!(
        matches!(failed.error, TaskError::Panicked { .. }),
        "{failed:?}"
    );

    struct DropsBadly;
    impl Drop for DropsBadly {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }
    let mut group = Group::<(), ()>::new();
    group.spawn(async {
        let _held = DropsBadly;
        pending().await
    });
    yield_now().await;
    group.cancel();
    let joined = AssertUnwindSafe(group.join()).catch_unwind().await;
    assert!(joined.is_ok());
}

// === blocking ===

#[tokio::test]
async fn a_result_that_panics_when_nobody_takes_it_costs_no_thread() {
    let pool = Blocking::new("attack", 1, 1).unwrap();
    let (begun, running) = tokio::sync::oneshot::channel();
    let mut first = Box::pin(pool.run("first", move |stop| {
        let _ = begun.send(());
        while !stop.requested() {
            std::thread::yield_now();
        }
        Bomb
    }));
    tokio::select! {
        biased;
        _ = &mut first => unreachable!("nobody told it"),
        _ = running => {}
    }
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(2), pool.run("second", |_| 2));
    assert_eq!(second.await, Ok(Ok(2)));
}

// === pipeline ===

#[tokio::test]
async fn huge_numbers_mean_without_bound() {
    let options = PipelineOptions {
        chunk: usize::MAX,
        buffer: usize::MAX,
        ..PipelineOptions::default()
    };
    let mut batches = Vec::new();
    let run = async {
        Pipeline::<_, ()>::from_items(options, 0..10)
            .map_parallel("same", 1, Order::Kept, Ok)
            .batch("all", usize::MAX, Duration::MAX)
            .collect_into(&mut batches)
            .await
            .unwrap();
    };
    assert!(AssertUnwindSafe(run).catch_unwind().await.is_ok());
    assert_eq!(batches, [(0..10).collect::<Vec<_>>()]);
}
