use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Signal::{Hangup, Interrupt, Terminate};
use super::*;

const S: Duration = Duration::from_secs(1);

type Log = Arc<Mutex<Vec<&'static str>>>;

/// Runs a program in virtual time, with interrupts after the given seconds. Exit code and seconds.
async fn run<F>(program: impl FnOnce(Life) -> F, signals: &[u64]) -> (u8, u64)
where
    F: Future<Output = Result<(), &'static str>> + Send + 'static,
{
    let signals: Vec<_> = signals.iter().map(|s| (s * 1000, Interrupt)).collect();
    let (code, time) = run_with(program, &signals).await;
    (code, time.as_secs())
}

/// As `run`, with signals after milliseconds.
async fn run_with<F>(program: impl FnOnce(Life) -> F, signals: &[(u64, Signal)]) -> (u8, Duration)
where
    F: Future<Output = Result<(), &'static str>> + Send + 'static,
{
    let begun = Instant::now();
    let (send, received) = mpsc::unbounded_channel();
    for (after, signal) in signals.iter().copied() {
        let send = send.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(after)).await;
            let _ = send.send(signal);
        });
    }
    let shutdown = Shutdown::new().tell(|_| {});
    let life = Life::new(shutdown.drain);
    let program = program(life.clone());
    let code = shutdown
        .supervise(&Handle::current(), life, program, received)
        .await;
    (code, begun.elapsed())
}

fn noting(log: &Log, what: &'static str) -> impl Future<Output = ()> + Send + use<> {
    let log = log.clone();
    async move { log.lock().push(what) }
}

#[tokio::test(start_paused = true)]
async fn a_signal_stops_drains_cancels_and_cleans_up_in_reverse() {
    let log = Log::default();
    let program = |life: Life| {
        life.on_exit("first", noting(&log, "first made, last cleaned"));
        life.on_exit("second", noting(&log, "second made, first cleaned"));
        life.on_drain("server", noting(&log, "drained"));
        let busy = life.busy();
        tokio::spawn(async move {
            sleep(7 * S).await;
            drop(busy);
        });
        let (log, cancelled) = (log.clone(), life.cancelled().clone());
        async move {
            life.stopping().await;
            log.lock().push("stopped accepting");
            assert!(!cancelled.is_cancelled());
            Ok(())
        }
    };
    assert_eq!(run(program, &[3]).await, (0, 7));
    let log = log.lock();
    assert!(log[..2].contains(&"stopped accepting") && log[..2].contains(&"drained"));
    assert_eq!(
        log[2..],
        ["second made, first cleaned", "first made, last cleaned"]
    );
}

#[tokio::test(start_paused = true)]
async fn errors_and_panics_end_in_the_same_order() {
    let log = Log::default();
    let clean = |life: &Life| {
        life.on_drain("drain", noting(&log, "drain"));
        life.on_exit("clean", noting(&log, "clean"));
    };
    let fails = |life: Life| {
        clean(&life);
        async { Err("no disk") }
    };
    assert_eq!(run(fails, &[]).await, (1, 0));
    let panics = |life: Life| {
        clean(&life);
        async { panic!("on purpose") }
    };
    assert_eq!(run(panics, &[]).await, (1, 0));
    let fatal = |life: Life| {
        clean(&life);
        life.fatal("no disk");
        async move {
            life.stopping().await;
            Ok(())
        }
    };
    assert_eq!(run(fatal, &[]).await, (1, 0));
    let done = |life: Life| {
        clean(&life);
        async { Ok(()) }
    };
    assert_eq!(run(done, &[]).await, (0, 0));
    assert_eq!(*log.lock(), ["drain", "clean"].repeat(4));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_drain_in_time_is_cancelled() {
    let log = Log::default();
    let program = |life: Life| {
        life.on_exit("clean", noting(&log, "clean"));
        life.on_drain("stuck", pending());
        async { pending().await }
    };
    assert_eq!(run(program, &[1]).await, (0, 31));
    assert_eq!(*log.lock(), ["clean"]);
}

#[tokio::test(start_paused = true)]
async fn the_drain_has_the_time_that_was_last_set_before_it_began() {
    let program = |life: Life| async move {
        life.set_drain_timeout(50 * S);
        life.set_drain_timeout(5 * S);
        life.stopping().await;
        life.set_drain_timeout(100 * S);
        pending().await
    };
    assert_eq!(run(program, &[1]).await, (0, 6));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_the_drain_and_a_third_the_clean_up() {
    let log = Log::default();
    let stuck = |life: Life| {
        life.on_exit("clean", noting(&log, "clean"));
        async { pending().await }
    };
    assert_eq!(run(stuck, &[1, 2]).await, (BROKEN_OFF, 2));
    assert_eq!(*log.lock(), ["clean"]);
    let stuck_twice = |life: Life| {
        life.on_exit("stuck", pending());
        async { pending().await }
    };
    assert_eq!(run(stuck_twice, &[1, 2, 3]).await, (BROKEN_OFF, 3));
}

/// What breaks off the drain, and when, after a first signal at 0.
async fn broken_off(signals: &[(u64, Signal)]) -> Option<u64> {
    let stuck = |_| async { pending().await };
    let (code, time) = run_with(stuck, signals).await;
    (code == BROKEN_OFF).then_some(time.as_millis() as u64)
}

#[tokio::test(start_paused = true)]
async fn signals_that_come_together_are_one() {
    let (now, soon, late) = (0, 499, 500);
    // As systemd sends them with `SendSIGHUP=yes`.
    assert_eq!(broken_off(&[(now, Terminate), (now, Hangup)]).await, None);
    assert_eq!(broken_off(&[(now, Hangup), (soon, Terminate)]).await, None);
    let twice = [(now, Interrupt), (soon, Interrupt), (late, Interrupt)];
    assert_eq!(broken_off(&twice).await, Some(late));
    assert_eq!(
        broken_off(&[(now, Hangup), (late, Terminate)]).await,
        Some(late)
    );
    assert_eq!(broken_off(&[(now, Terminate), (9_000, Hangup)]).await, None);
    // What does not count puts nothing off.
    let beside = [(now, Terminate), (400, Hangup), (600, Terminate)];
    assert_eq!(broken_off(&beside).await, Some(600));
}

#[tokio::test(start_paused = true)]
async fn where_no_signal_began_the_end_the_first_breaks_nothing_off() {
    let asked = |life: Life| async move {
        life.stop();
        sleep(4 * S).await;
        Ok(())
    };
    assert_eq!(run(asked, &[1]).await, (0, 4));
    assert_eq!(run(asked, &[1, 2]).await, (BROKEN_OFF, 2));
}

/// A manager that sees a program fail tells the rest of it to end, which is no impatience.
#[tokio::test(start_paused = true)]
async fn the_first_signal_of_all_breaks_off_no_clean_up() {
    let cleaned = Log::default();
    let program = |life: Life| {
        life.on_exit("slow", {
            let log = cleaned.clone();
            async move {
                sleep(4 * S).await;
                log.lock().push("cleaned");
            }
        });
        async { Err("no disk") }
    };
    assert_eq!(run(program, &[2]).await, (1, 4));
    assert_eq!(*cleaned.lock(), ["cleaned"]);
    assert_eq!(run(program, &[1, 2]).await, (1, 2));
    assert_eq!(cleaned.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_registered_while_the_program_ends_runs() {
    let log = Log::default();
    let program = |life: Life| {
        let log = log.clone();
        async move {
            life.stopping().await;
            life.on_drain("late", noting(&log, "late"));
            Ok(())
        }
    };
    assert_eq!(run(program, &[1]).await, (0, 1));
    assert_eq!(*log.lock(), ["late"]);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_or_panicking_clean_up_keeps_no_other_from_its_turn() {
    let log = Log::default();
    let program = |life: Life| {
        life.on_exit("quick", noting(&log, "quick"));
        life.on_exit("stuck", pending());
        life.on_exit("panics", async { panic!("on purpose") });
        async { Ok(()) }
    };
    assert_eq!(run(program, &[]).await, (0, 5));
    assert_eq!(*log.lock(), ["quick"]);
}

/// Says so when it has ended, in the time that it takes.
struct Ends(Log);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.lock().push("ended");
    }
}

#[tokio::test(start_paused = true)]
async fn clean_up_begins_when_what_was_cut_has_ended() {
    let log = Log::default();
    let cut = |life: Life| {
        life.on_exit("clean", noting(&log, "clean"));
        let (step, program) = (Ends(log.clone()), Ends(log.clone()));
        life.on_drain("stuck", async move {
            let _step = step;
            pending().await
        });
        let (busy, cancelled) = (life.busy(), life.cancelled().clone());
        let told = Ends(log.clone());
        tokio::spawn(async move {
            cancelled.cancelled().await;
            sleep(S / 2).await;
            drop(told);
            drop(busy);
        });
        async move {
            let _program = program;
            pending().await
        }
    };
    let (code, time) = run_with(cut, &[(0, Terminate)]).await;
    assert_eq!((code, time), (0, 30 * S + S / 2));
    assert_eq!(*log.lock(), ["ended", "ended", "ended", "clean"]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_when_it_is_cut_keeps_clean_up_waiting_for_a_second() {
    let log = Log::default();
    let deaf = |life: Life| {
        life.on_exit("clean", noting(&log, "clean"));
        std::mem::forget(life.busy());
        async { Ok(()) }
    };
    assert_eq!(run(deaf, &[]).await, (0, 31));
    assert_eq!(run(deaf, &[1, 2]).await, (BROKEN_OFF, 3));
    assert_eq!(*log.lock(), ["clean", "clean"]);
}

#[test]
fn a_program_runs_on_threads_of_its_own() {
    let main = std::thread::current().id();
    let code = Shutdown::new().tell(|_| {}).run(async move |life| {
        assert_ne!(std::thread::current().id(), main);
        life.stop();
        Ok::<(), std::io::Error>(())
    });
    assert_eq!(code, ExitCode::SUCCESS);
}

/// The only test here that a signal reaches: it goes to all programs of a process.
#[test]
fn a_signal_of_the_system_ends_it_but_not_one_that_is_left_to_the_program() {
    let code = Shutdown::new()
        .leave_hangup()
        .tell(|_| {})
        .run(async |life| {
            let send = |signal| {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, signal).unwrap();
            };
            let mut hangups = Signals::only(&[Hangup])?;
            send(rustix::process::Signal::HUP);
            assert_eq!(hangups.next().await, Hangup);
            assert!(!life.is_stopping());
            send(rustix::process::Signal::TERM);
            life.stopping().await;
            Ok::<(), std::io::Error>(())
        });
    assert_eq!(code, ExitCode::SUCCESS);
}
