//! Jobs in virtual time: the wall clock is tokio's, from a stated beginning.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::UNIX_EPOCH;

use super::*;
use crate::sync::Shutdown;
use crate::sync::shutdown::Signal;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// 30 s before a full five minutes.
const BEGIN: Duration = Duration::from_secs(1_709_164_770);

fn clock() -> impl Fn() -> SystemTime + Send + Sync + 'static {
    let begun = Instant::now();
    move || UNIX_EPOCH + BEGIN + begun.elapsed()
}

/// Runs `job` until a signal comes after `signal` seconds; how it fared, and how long it all took.
async fn run(job: Job, signal: u64) -> (Vec<u64>, u64) {
    let (send, heard) = mpsc::unbounded_channel();
    let begun = Instant::now();
    tokio::spawn(async move {
        sleep(Duration::from_secs(signal)).await;
        let _ = send.send(Signal::Terminate);
        std::future::pending::<()>().await;
    });
    let totals = job.totals();
    let program = |life: Life| async move {
        Part::start(&job, life.clone()).await?;
        life.stopping().await;
        // As long as a drain.
        let drained = timeout(Duration::from_secs(25), Part::drain(&job)).await;
        Part::stop(&job).await?;
        drained.unwrap_or(Ok(()))
    };
    let code = Shutdown::new()
        .tell(|_| {})
        .run_within(program, heard)
        .await;
    assert_eq!(code, 0);
    let counts = totals.read().map(|(_, count)| count);
    (counts.into(), begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn it_runs_when_it_is_due() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let (noted, begun) = (times.clone(), Instant::now());
    let job = Job::new("tick", "*/5 * * * *", move || {
        noted.lock().push(begun.elapsed().as_secs());
        std::future::ready(Ok(()))
    });
    let (counts, _) = run(job.clock(clock()), 700).await;
    assert_eq!(*times.lock(), [30, 330, 630]);
    assert_eq!(counts, [3, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn it_never_overlaps_and_what_was_missed_is_not_made_up_for() {
    let (running, runs) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (flag, count) = (running.clone(), runs.clone());
    let job = Job::new("slow", "every 10s", move || {
        let (flag, count) = (flag.clone(), count.clone());
        async move {
            assert!(!flag.swap(true, Relaxed), "two at once");
            count.fetch_add(1, Relaxed);
            sleep(Duration::from_secs(25)).await;
            flag.store(false, Relaxed);
            Ok(())
        }
    });
    // Due at 10, 20, 30, ...: it runs from 10 to 35, from 40 to 65, from 70 to 95.
    let (counts, _) = run(job.clock(clock()), 99).await;
    assert_eq!(counts, [3, 0, 0, 0, 6]);
    assert_eq!(runs.load(Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn errors_panics_and_endless_runs_end_only_themselves() {
    let mut n = 0;
    let job = Job::new("bad", "every 10s", move || {
        n += 1;
        let n = n;
        assert!(n != 2, "before its first await");
        async move {
            match n {
                1 => return Err("no".into()),
                3 => panic!("after its first await"),
                4 => std::future::pending().await,
                _ => {}
            }
            Ok(())
        }
    });
    let job = job.deadline(Duration::from_secs(5)).clock(clock());
    let (counts, _) = run(job, 61).await;
    assert_eq!(counts, [2, 1, 2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_finished_at_the_end_or_cut() {
    let sleeps = |seconds| {
        let job = Job::new("long", "every 10s", move || async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok(())
        });
        job.clock(clock())
    };
    let (counts, time) = run(sleeps(20), 12).await;
    assert_eq!((counts[0], time), (1, 30), "under way, and so finished");
    let (counts, time) = run(sleeps(500), 12).await;
    assert_eq!((counts[0], time), (0, 37), "cut with the drain's time");
    let (counts, time) = run(sleeps(1), 5).await;
    assert_eq!((counts[0], time), (0, 5), "none is begun");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_does_not_storm() {
    // An hour ahead after a minute, and a day back after two.
    let base = clock();
    let now = move || {
        let time = base();
        match time
            .duration_since(UNIX_EPOCH + BEGIN)
            .map_or(0, |t| t.as_secs())
        {
            0..60 => time,
            60..120 => time + Duration::from_secs(3_600),
            _ => time - Duration::from_secs(86_400),
        }
    };
    let job = Job::new("tick", "every 10s", || std::future::ready(Ok(())));
    let (counts, _) = run(job.clock(now), 179).await;
    assert!((16..=18).contains(&counts[0]), "{counts:?}");
    assert!(counts[4] <= 1_000, "{counts:?}");
}

#[tokio::test]
async fn a_schedule_without_sense_keeps_it_from_starting() {
    let job = Job::new("typo", "every5m", || std::future::ready(Ok(())));
    let (_send, heard) = mpsc::unbounded_channel();
    let program = |life: Life| async move { Part::start(&job, life).await };
    let code = Shutdown::new()
        .tell(|_| {})
        .run_within(program, heard)
        .await;
    assert_eq!(code, 1);
}
