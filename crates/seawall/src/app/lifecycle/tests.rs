//! Whatever fails, whenever a signal comes: what had started is stopped in reverse, and nothing else.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::super::part::{BoxError, Doing, Part};
use super::{Course, Hook, Phase, Register, Times};
use crate::sync::Shutdown;
use crate::sync::shutdown::{Life, Signal};

/// How a step goes; each takes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Goes {
    Well,
    Fails,
    Panics,
    /// For ever.
    Hangs,
}

type Log = Arc<Mutex<Vec<String>>>;

async fn step(log: Log, what: String, goes: Goes) -> Result<(), BoxError> {
    sleep(Duration::from_secs(1)).await;
    match goes {
        Goes::Well => {}
        Goes::Fails => return Err("as told".into()),
        Goes::Panics => panic!("as told"),
        Goes::Hangs => std::future::pending().await,
    }
    log.lock().push(what);
    Ok(())
}

struct Told {
    name: String,
    start: Goes,
    drain: Goes,
    stop: Goes,
    log: Log,
}

impl Part for Told {
    fn name(&self) -> Cow<'static, str> {
        self.name.clone().into()
    }

    async fn start(&self, _: Life) -> Result<(), BoxError> {
        step(self.log.clone(), format!("start {}", self.name), self.start).await
    }

    async fn drain(&self) -> Result<(), BoxError> {
        self.log.lock().push(format!("drain {}", self.name));
        step(Log::default(), String::new(), self.drain).await
    }

    async fn stop(&self) -> Result<(), BoxError> {
        self.log.lock().push(format!("stop {}", self.name));
        step(Log::default(), String::new(), self.stop).await
    }
}

#[derive(Clone, Debug)]
struct Case {
    before: Vec<Goes>,
    parts: Vec<[Goes; 3]>,
    servers: Vec<[Goes; 3]>,
    register: Vec<[Goes; 2]>,
    after: Vec<Goes>,
    before_stop: Vec<Goes>,
    /// Milliseconds until SIGTERM, and from then until another.
    signals: Vec<u64>,
}

fn hook(log: &Log, what: String, goes: Goes) -> Hook {
    let log = log.clone();
    Box::new(move || Box::pin(step(log, what, goes)))
}

fn part(log: &Log, name: String, [start, drain, stop]: [Goes; 3]) -> Arc<Told> {
    Arc::new(Told {
        name,
        start,
        drain,
        stop,
        log: log.clone(),
    })
}

fn register(log: &Log, n: usize, [goes, back]: [Goes; 2]) -> Register {
    let log = log.clone();
    Box::new(move || -> Doing<Hook> {
        Box::pin(async move {
            step(log.clone(), format!("register {n}"), goes).await?;
            // Told when it begins: who hears of it may hang.
            let undo: Hook = Box::new(move || {
                log.lock().push(format!("deregister {n}"));
                Box::pin(step(Log::default(), String::new(), back))
            });
            Ok(undo)
        })
    })
}

fn course(case: &Case, log: &Log) -> Course {
    let hooks = |what: &str, hooks: &[Goes]| -> Vec<Hook> {
        let hook = |(n, goes): (usize, &Goes)| hook(log, format!("{what} {n}"), *goes);
        hooks.iter().enumerate().map(hook).collect()
    };
    let mut course = Course {
        before_start: hooks("before-start", &case.before),
        after_start: hooks("after-start", &case.after),
        before_stop: hooks("before-stop", &case.before_stop),
        after_stop: hooks("after-stop", &[Goes::Well]),
        ..Course::default()
    };
    for (n, goes) in case.parts.iter().enumerate() {
        course.parts.push(part(log, format!("part-{n}"), *goes));
    }
    for (n, goes) in case.servers.iter().enumerate() {
        course.servers.push(part(log, format!("server-{n}"), *goes));
    }
    for (n, goes) in case.register.iter().enumerate() {
        course.register.push(register(log, n, *goes));
    }
    course
}

/// What happened, the exit code, and whether all finished in time.
fn run(case: &Case) -> (Vec<String>, u8, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let log = Log::default();
    let finished = Arc::new(AtomicBool::new(true));
    let code = runtime.block_on(async {
        let (send, heard) = mpsc::unbounded_channel();
        let signals = case.signals.clone();
        tokio::spawn(async move {
            for after in signals {
                sleep(Duration::from_millis(after)).await;
                let _ = send.send(Signal::Terminate);
            }
            std::future::pending::<()>().await;
        });
        let course = course(case, &log);
        let (phases, finished) = (log.clone(), finished.clone());
        let program = |life: Life| async move {
            life.set_drain_timeout(Duration::from_secs(60));
            let tell = move |phase: Phase| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
                phases.lock().push(phase.as_str().to_owned());
                Box::pin(std::future::ready(()))
            };
            let times = || Times {
                delay: Duration::from_secs(3),
                drain: Duration::from_secs(10),
            };
            let failed = Mutex::default();
            let all = super::run(course, &life, &tell, &times, &failed).await;
            finished.store(all, SeqCst);
            Ok::<(), String>(())
        };
        Shutdown::new()
            .tell(|_| {})
            .run_within(program, heard)
            .await
    });
    let log = log.lock().clone();
    (log, code, finished.load(SeqCst))
}

/// The names after `what`, in order.
fn of<'l>(log: &'l [String], what: &str) -> Vec<&'l str> {
    log.iter()
        .filter_map(|line| line.strip_prefix(what))
        .collect()
}

fn position(log: &[String], line: &str) -> Option<usize> {
    log.iter().position(|each| each == line)
}

/// What must hold however it went.
fn check(case: &Case) -> Result<(), TestCaseError> {
    let (log, code, _) = run(case);
    let mut started = of(&log, "start ");
    started.reverse();
    let stopped = of(&log, "stop ");
    // A second signal may come when the clean-up is under way, and break that off.
    let broken_off = case.signals.len() > 1;
    if broken_off {
        prop_assert!(started.starts_with(&stopped), "{:?}", log);
    } else {
        prop_assert_eq!(&started, &stopped, "{:?}", log);
    }
    // Each that is drained had started, and is drained once.
    let drained = of(&log, "drain ");
    let mut once = drained.clone();
    once.sort_unstable();
    once.dedup();
    prop_assert_eq!(once.len(), drained.len());
    prop_assert!(drained.iter().all(|name| started.contains(name)));
    // Nothing starts once anything stops, and nothing stops before it was taken out.
    let first_end = log
        .iter()
        .position(|line| line.starts_with("drain ") || line.starts_with("stop "));
    let first_end = first_end.unwrap_or(log.len());
    let late = log[first_end..]
        .iter()
        .any(|line| line.starts_with("start ") || line.starts_with("register "));
    prop_assert!(!late, "{:?}", log);
    let mut registered = of(&log, "register ");
    registered.reverse();
    prop_assert_eq!(registered, of(&log, "deregister "), "{:?}", log);
    for (at, line) in log.iter().enumerate() {
        if line.starts_with("deregister ") {
            prop_assert!(at < first_end, "{:?}", log);
        }
    }
    // Ready is false before anything else happens.
    let served = position(&log, "serving");
    let leaving = position(&log, "leaving");
    prop_assert_eq!(served.is_some(), leaving.is_some());
    if let Some(at) = served {
        prop_assert_eq!(log.get(at + 1).map(String::as_str), Some("leaving"));
        prop_assert_eq!(started.len(), case.parts.len() + case.servers.len());
    }
    prop_assert!(served.is_some() || of(&log, "before-stop ").is_empty());
    // The last of all, however it went.
    let last = log.last().map(String::as_str);
    prop_assert!(broken_off || last == Some("after-stop 0"), "{:?}", log);
    let steps = || {
        let starts = case.parts.iter().chain(&case.servers).map(|goes| goes[0]);
        let registers = case.register.iter().map(|goes| goes[0]);
        let starts = case.before.iter().copied().chain(starts).chain(registers);
        starts.chain(case.after.iter().copied())
    };
    if case.signals.is_empty() {
        prop_assert_eq!(code, 1, "nothing else ends it");
        prop_assert!(steps().any(|goes| goes != Goes::Well));
    } else if steps().all(|goes| goes == Goes::Well) && case.signals.len() == 1 {
        prop_assert_eq!(code, 0, "{:?}", log);
    }
    Ok(())
}

fn goes() -> impl Strategy<Value = Goes> {
    prop_oneof![
        8 => Just(Goes::Well),
        1 => Just(Goes::Fails),
        1 => Just(Goes::Panics),
        1 => Just(Goes::Hangs),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let three = || [goes(), goes(), goes()];
    (
        prop::collection::vec(goes(), 0..2),
        prop::collection::vec(three(), 0..4),
        prop::collection::vec(three(), 0..3),
        prop::collection::vec([goes(), goes()], 0..2),
        prop::collection::vec(goes(), 0..2),
        prop::collection::vec(goes(), 0..2),
        prop::collection::vec(0_u64..20_000, 1..3),
    )
        .prop_map(
            |(before, parts, servers, register, after, before_stop, signals)| Case {
                before,
                parts,
                servers,
                register,
                after,
                before_stop,
                signals,
            },
        )
}

proptest! {
    #[test]
    fn what_had_started_is_stopped_in_reverse(case in case()) {
        check(&case)?;
    }
}

const WELL: [Goes; 3] = [Goes::Well; 3];

fn well() -> Case {
    Case {
        before: vec![Goes::Well],
        parts: vec![WELL, WELL],
        servers: vec![WELL],
        register: vec![[Goes::Well; 2]],
        after: vec![Goes::Well],
        before_stop: vec![Goes::Well],
        signals: vec![20_000],
    }
}

#[test]
fn the_way_there_and_back() {
    let (log, code, finished) = run(&well());
    let expected = [
        "before-start 0",
        "start part-0",
        "start part-1",
        "start server-0",
        "register 0",
        "after-start 0",
        "serving",
        "leaving",
        "deregister 0",
        "draining",
        "before-stop 0",
        "drain server-0",
        "drain part-1",
        "drain part-0",
        "stop server-0",
        "stop part-1",
        "stop part-0",
        "after-stop 0",
    ];
    assert_eq!(
        (log, code, finished),
        (expected.map(str::to_owned).into(), 0, true)
    );
}

/// Each step of the start failing or panicking in its turn, with nobody to send a signal.
#[test]
fn a_failure_at_each_step() {
    for goes in [Goes::Fails, Goes::Panics] {
        for step in 0..6 {
            let mut case = Case {
                signals: Vec::new(),
                ..well()
            };
            match step {
                0 => case.before[0] = goes,
                1 | 2 => case.parts[step - 1][0] = goes,
                3 => case.servers[0][0] = goes,
                4 => case.register[0][0] = goes,
                _ => case.after[0] = goes,
            }
            check(&case).unwrap();
            let (log, ..) = run(&case);
            let started = of(&log, "start ").len();
            assert_eq!(started, [0, 0, 1, 2, 3, 3][step], "{log:?}");
            assert_eq!(position(&log, "serving"), None);
        }
    }
}

/// A signal while each step is under way, and again while the end is.
#[test]
fn a_signal_in_each_phase() {
    for at in 0..24 {
        for second in [None, Some(600), Some(5_000)] {
            let case = Case {
                signals: [at * 500 + 250].into_iter().chain(second).collect(),
                ..well()
            };
            check(&case).unwrap();
        }
    }
}

#[test]
fn what_hangs_is_cut_and_stopped() {
    let mut case = well();
    case.servers[0][1] = Goes::Hangs;
    let (log, code, finished) = run(&case);
    assert_eq!((code, finished), (0, false));
    assert_eq!(
        of(&log, "drain "),
        ["server-0"],
        "its time was all the time there was"
    );
    check(&case).unwrap();
}
