//! What is being worked on.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

use axum::response::Response;
use http::Uri;
use parking_lot::Mutex;
use serde::Serialize;

use crate::app::admin::asked::json_or_text;
use crate::app::admin::refused::Refused;
use crate::sync::tasks::{self, Seen};

/// Polls as they were at the look before, and since which look they have been so.
static LOOKS: Mutex<Option<HashMap<u64, (u64, Instant)>>> = Mutex::new(None);

#[derive(Serialize)]
struct Task {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    state: &'static str,
    seconds: f64,
    polls: u64,
    /// For how long it has certainly not been polled: since an earlier look, which found as many
    /// polls. Zero at the first.
    unpolled_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_left_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
}

#[derive(Serialize)]
struct Tasks {
    tasks: Vec<Task>,
    /// Entered since the start when the board was full.
    unseen: u64,
}

pub(super) async fn answer(uri: Uri) -> Result<Response, Refused> {
    let tasks = Tasks {
        tasks: look(tasks::all(), Instant::now()),
        unseen: tasks::unseen(),
    };
    json_or_text(&uri, &tasks, text)
}

/// The oldest first.
fn look(mut seen: Vec<Seen>, now: Instant) -> Vec<Task> {
    seen.sort_by_key(|seen| (seen.about.since, seen.id));
    let mut looks = LOOKS.lock();
    let before = looks.take().unwrap_or_default();
    let mut after = HashMap::with_capacity(seen.len());
    let tasks = seen.into_iter().map(|seen| {
        let same = before.get(&seen.id).filter(|look| look.0 == seen.polls);
        let since = same.map_or(now, |look| look.1);
        after.insert(seen.id, (seen.polls, since));
        task(seen, since, now)
    });
    let tasks = tasks.collect();
    *looks = Some(after);
    tasks
}

fn task(seen: Seen, unpolled: Instant, now: Instant) -> Task {
    let about = seen.about;
    let left = |until: Instant| match until.checked_duration_since(now) {
        Some(left) => left.as_secs_f64(),
        None => -now.saturating_duration_since(until).as_secs_f64(),
    };
    let waited = now.saturating_duration_since(unpolled).as_secs_f64();
    Task {
        kind: about.kind.as_str(),
        name: about.name.into_owned(),
        group: about.group.map(|group| group.to_string()),
        state: match (seen.polled_by, seen.polls) {
            (Some(_), _) => "running",
            (None, 0) => "queued",
            (None, _) => "waiting",
        },
        seconds: now.saturating_duration_since(about.since).as_secs_f64(),
        polls: seen.polls,
        unpolled_seconds: if seen.polled_by.is_some() {
            0.0
        } else {
            waited
        },
        deadline_left_seconds: about.until.map(left),
        trace_id: (about.trace != 0).then(|| format!("{:032x}", about.trace)),
        thread: seen.polled_by.filter(|thread| *thread != 0),
        started: about.started.map(ToString::to_string),
    }
}

fn text(tasks: &Tasks) -> String {
    let mut out = String::new();
    for task in &tasks.tasks {
        // Writing to a string does not fail, here and below.
        let _ = write!(
            out,
            "{:>10.3} s  {:<8} {:<8} {}",
            task.seconds, task.state, task.kind, task.name
        );
        if let Some(group) = &task.group {
            let _ = write!(out, " of `{group}`");
        }
        let _ = write!(out, ", {} polls", task.polls);
        if task.unpolled_seconds > 0.0 {
            let _ = write!(out, ", none for {:.3} s", task.unpolled_seconds);
        }
        if let Some(left) = task.deadline_left_seconds {
            let _ = write!(out, ", {left:.3} s left");
        }
        if let Some(trace) = &task.trace_id {
            let _ = write!(out, ", trace {trace}");
        }
        if let Some(started) = &task.started {
            let _ = write!(out, ", started at {started}");
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{} in all, {} unseen", tasks.tasks.len(), tasks.unseen);
    out
}
