//! Lanes on threads of their own.
#![cfg(feature = "rt")]

use std::collections::BTreeSet;
use std::time::Duration;

use seawall_sync::threads::{Cpus, Single, Threads, ThreadsError, ThreadsOptions, Unfinished};
use seawall_sync::{Blocking, ambient};
use tokio::sync::{mpsc, oneshot};

const LONG: Duration = Duration::from_secs(60);

fn options(name: &str, workers: usize, cpus: Cpus) -> ThreadsOptions {
    ThreadsOptions {
        name: name.to_owned(),
        workers: Some(workers),
        cpus,
    }
}

#[tokio::test]
async fn tasks_run_on_threads_of_their_own() {
    let lane = Threads::start(options("lane-of-a-test", 2, Cpus::Shared)).unwrap();
    let name = lane.spawn(async { std::thread::current().name().map(str::to_owned) });
    assert_eq!(name.await.unwrap().as_deref(), Some("lane-of-a-test"));
    assert_eq!(
        (lane.workers(), lane.cpus(), lane.strays()),
        (2, &[][..], 0)
    );
    assert_eq!(lane.shutdown(LONG).await, Ok(()));
}

#[tokio::test]
async fn shutdown_waits_for_tasks_and_cancels_those_that_do_not_end() {
    let lane = Threads::start(options("ends", 1, Cpus::Shared)).unwrap();
    let (go, wait) = oneshot::channel::<()>();
    let task = lane.spawn(async { wait.await.is_ok() });
    let end = lane.shutdown(LONG);
    let (ended, ()) = tokio::join!(end, async { go.send(()).unwrap() });
    assert_eq!(ended, Ok(()));
    assert!(task.await.unwrap());

    let lane = Threads::start(options("never", 1, Cpus::Shared)).unwrap();
    let task = lane.spawn(std::future::pending::<()>());
    assert_eq!(lane.tasks(), 1);
    assert_eq!(
        lane.shutdown(Duration::ZERO).await,
        Err(Unfinished { tasks: 1 })
    );
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn dropped_in_async_code_it_cancels_its_tasks() {
    let lane = Threads::start(options("dropped", 1, Cpus::Shared)).unwrap();
    let task = lane.spawn(std::future::pending::<()>());
    drop(lane);
    assert!(task.await.unwrap_err().is_cancelled());
}

#[test]
fn by_default_there_are_as_many_workers_as_usable_cpus() {
    let lane = Threads::start(ThreadsOptions::default()).unwrap();
    assert_eq!(
        lane.workers(),
        std::thread::available_parallelism().unwrap().get()
    );
}

#[test]
fn one_thread_runs_one_future_and_tells_when_it_is_idle() {
    let (send, mut received) = mpsc::unbounded_channel();
    let idle = send.clone();
    let (go, wait) = oneshot::channel::<()>();
    let work = async move {
        let name = std::thread::current().name().map(str::to_owned);
        let tenant = ambient::current().get::<u32>().copied();
        let spawned = tokio::spawn(async { 1 }).await.unwrap();
        send.send(format!("{name:?} {tenant:?} {spawned}")).unwrap();
        let _ = wait.await;
    };
    let core = ambient::current().with(7_u32).enter(|| {
        Single::start("core-of-a-test", Cpus::Shared, work, move || {
            let _ = idle.send("idle".to_owned());
        })
    });
    let core = core.unwrap();
    let told = received.blocking_recv().unwrap();
    assert_eq!(told, "Some(\"core-of-a-test\") Some(7) 1");
    assert_eq!(received.blocking_recv().unwrap(), "idle");
    go.send(()).unwrap();
    core.join().unwrap();
    let (panics, _) = mpsc::unbounded_channel::<()>();
    let work = async move { panics.send(()).expect("on purpose") };
    let core = Single::start("panics", Cpus::Shared, work, || {});
    assert!(core.unwrap().join().is_err());
}

#[test]
fn one_thread_that_is_dropped_ends_its_future_and_what_that_spawned() {
    let (alive, mut ended) = mpsc::unbounded_channel::<()>();
    let (begun, begin) = oneshot::channel();
    let work = async move {
        let spawned = alive.clone();
        tokio::spawn(async move {
            let _alive = spawned;
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        let _alive = alive;
        std::future::pending::<()>().await;
    };
    let core = Single::start("dropped", Cpus::Shared, work, || {}).unwrap();
    begin.blocking_recv().unwrap();
    drop(core);
    assert_eq!(ended.blocking_recv(), None);
}

#[test]
fn a_name_that_no_thread_can_have_is_an_error() {
    let named = |result: Result<(), ThreadsError>| matches!(result, Err(ThreadsError::Name(_)));
    assert!(named(
        Threads::start(options("a\0b", 1, Cpus::Shared)).map(drop)
    ));
    assert!(named(
        Single::start("a\0b", Cpus::Shared, async {}, || {}).map(drop)
    ));
    let blocking = Blocking::new("a\0b", 1, 1).map(drop);
    assert_eq!(
        blocking.unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
}

/// The CPUs that the thread of a task may use.
#[cfg(target_os = "linux")]
async fn cpus_of(lane: &Threads) -> BTreeSet<usize> {
    let read = || std::fs::read_to_string("/proc/thread-self/status");
    let status = lane.spawn(async move { read() }).await;
    let status = status.expect("the task ends").expect("Linux has /proc");
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = list.expect("Linux lists the CPUs").trim().split(',');
    let number = |text: &str| text.parse::<usize>().expect("a CPU is a number");
    ranges
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            number(first)..=number(last)
        })
        .collect()
}

/// One test, since what is reserved is so for the whole process.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn exclusive_cpus_are_used_by_no_other_lane() {
    let before = Threads::start(options("before", 1, Cpus::Shared)).unwrap();
    let all = cpus_of(&before).await;
    let too_many = Threads::start(options("all", all.len(), Cpus::Exclusive));
    assert!(matches!(too_many, Err(ThreadsError::TooFewCpus { .. })));
    if all.len() == 1 {
        // There is nothing to divide.
        return;
    }
    let lane = Threads::start(options("own", 1, Cpus::Exclusive)).unwrap();
    let own = cpus_of(&lane).await;
    assert_eq!(own, lane.cpus().iter().copied().collect());
    assert_eq!(own.len(), 1);
    let after = Threads::start(options("after", 1, Cpus::Shared)).unwrap();
    for other in [&before, &after] {
        let cpus = cpus_of(other).await;
        assert!(cpus.is_disjoint(&own));
        assert_eq!(cpus.len(), all.len() - 1);
        assert_eq!(other.strays(), 0);
    }
    // Its threads end, and the others are moved, some time after.
    drop(lane);
    for other in [&before, &after] {
        while cpus_of(other).await != all {
            tokio::task::yield_now().await;
        }
    }
}
