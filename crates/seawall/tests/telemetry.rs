//! Errors get through, whatever else is being written and however slow the output is.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use seawall::telemetry::{Log, LogGuard, LogLane, LogSettings};
use serde_json::Value;
use tracing::{error, info, info_span};
use tracing_subscriber::layer::SubscriberExt;

/// An output that stands still in every write until the test lets it go on.
struct Gated {
    begun: Sender<String>,
    go_on: Receiver<()>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(String::from_utf8_lossy(bytes).into_owned());
        // A test that has ended lets everything through.
        let _ = self.go_on.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Test {
    log: Log,
    guard: LogGuard,
    begun: Receiver<String>,
    go_on: Sender<()>,
}

fn gated(settings: LogSettings) -> Test {
    let ((begun, seen), (go_on, gate)) = (channel(), channel());
    let (log, guard) = Log::start(Gated { begun, go_on: gate }, settings).expect("a thread starts");
    Test {
        log,
        guard,
        begun: seen,
        go_on,
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn an_error_passes_a_flood_into_a_stalled_output() {
    const THREADS: usize = 4;
    const LINES: usize = 5_000;
    let capacity = [16, 256, 16];
    let Test {
        log,
        guard,
        begun,
        go_on,
    } = gated(LogSettings {
        capacity,
        ..LogSettings::default()
    });
    let subscriber = tracing_subscriber::registry().with(log.layer());
    let dispatch = tracing::Dispatch::new(subscriber);

    tracing::dispatcher::with_default(&dispatch, || info!("first"));
    let stalled = begun.recv().unwrap();
    assert_eq!(lines(&stalled)[0]["message"], "first");

    // The output stands still from here on; nobody who writes may.
    thread::scope(|scope| {
        for t in 0..THREADS {
            let dispatch = &dispatch;
            scope.spawn(move || {
                tracing::dispatcher::with_default(dispatch, || {
                    (0..LINES).for_each(|n| info!(t, n, "flood"))
                })
            });
        }
    });
    assert_eq!(log.dropped(LogLane::Info), (THREADS * LINES - 256) as u64);
    tracing::dispatcher::with_default(&dispatch, || error!(code = 7, "it broke"));
    assert_eq!(log.dropped(LogLane::Urgent), 0);

    go_on.send(()).unwrap();
    let next = lines(&begun.recv().unwrap());
    assert_eq!(
        (next[0]["message"].as_str(), next[0]["level"].as_str()),
        (Some("it broke"), Some("ERROR"))
    );
    assert_eq!(next[0]["fields"]["code"], 7);
    // Then the report of what was dropped, exactly.
    assert_eq!(next[1]["lane"], "info");
    assert_eq!(next[1]["dropped"], (THREADS * LINES - 256) as u64);

    // Then the flood, as much of it as was kept.
    drop(go_on);
    drop(guard);
    let rest: usize = begun.try_iter().map(|text| lines(&text).len()).sum();
    assert_eq!(rest, 256);
}

#[test]
fn between_two_batches_errors_are_looked_for_again() {
    let Test {
        log,
        guard,
        begun,
        go_on,
    } = gated(LogSettings {
        batch_bytes: 1,
        ..LogSettings::default()
    });
    let subscriber = tracing_subscriber::registry().with(log.layer());
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..10 {
            info!(n, "info");
        }
        assert!(begun.recv().unwrap().contains("\"n\":0"));
        go_on.send(()).unwrap();
        assert!(begun.recv().unwrap().contains("\"n\":1"));
        error!("now");
        go_on.send(()).unwrap();
        assert!(
            begun.recv().unwrap().contains("now"),
            "before the eight that wait"
        );
    });
    drop(go_on);
    drop(guard);
    assert_eq!(begun.try_iter().count(), 8);
}

#[test]
fn a_flood_of_errors_is_bounded_too_and_ending_reports_it() {
    let Test {
        log,
        guard,
        begun,
        go_on,
    } = gated(LogSettings {
        capacity: [10, 10, 10],
        ..LogSettings::default()
    });
    let subscriber = tracing_subscriber::registry().with(log.layer());
    tracing::subscriber::with_default(subscriber, || {
        error!("first");
        begun.recv().unwrap();
        (0..100).for_each(|n| error!(n, "broken"));
    });
    assert_eq!(log.dropped(LogLane::Urgent), 90);
    drop(go_on);
    drop(guard);
    let all: Vec<Value> = begun.try_iter().flat_map(|text| lines(&text)).collect();
    assert_eq!(all.iter().filter(|l| l["message"] == "broken").count(), 10);
    assert!(
        all.iter()
            .any(|l| l["lane"] == "urgent" && l["dropped"] == 90)
    );
}

#[test]
fn a_guard_does_not_wait_for_an_output_that_never_returns() {
    let Test {
        log,
        guard,
        begun,
        go_on,
    } = gated(LogSettings::default());
    let subscriber = tracing_subscriber::registry().with(log.layer());
    tracing::subscriber::with_default(subscriber, || info!("stuck"));
    begun.recv().unwrap();
    drop(guard); // gives up by itself
    drop(go_on);
}

#[test]
fn fields_spans_and_hostile_text() {
    let Test {
        log,
        guard,
        begun,
        go_on,
    } = gated(LogSettings {
        report_every: Duration::ZERO,
        ..LogSettings::default()
    });
    drop(go_on);
    let subscriber = tracing_subscriber::registry().with(log.layer());
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("request", id = 9, late = tracing::field::Empty);
        let _in = span.enter();
        span.record("late", "yes");
        info!(
            ratio = 0.5,
            nan = f64::NAN,
            ok = true,
            name = "a\"b\nc",
            "served {}",
            1
        );
        info!(long = "ä".repeat(100_000), "{}", "ü".repeat(100_000));
    });
    drop(guard);
    let all: Vec<Value> = begun.try_iter().flat_map(|text| lines(&text)).collect();
    assert_eq!(all[0]["message"], "served 1");
    assert_eq!(
        all[0]["fields"],
        serde_json::json!({ "ratio": 0.5, "nan": null, "ok": true, "name": "a\"b\nc" })
    );
    assert_eq!(
        all[0]["spans"]["request"],
        serde_json::json!({ "id": 9, "late": "yes" })
    );
    assert!(all[1].to_string().len() < 10_000, "bounded");
    assert!(all[1]["message"].as_str().is_some_and(|m| m.len() > 8_000));
}
