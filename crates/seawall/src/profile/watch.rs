//! Polls that keep a worker from other tasks.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use axum::response::Response;
use http::Uri;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use super::{process, runtime};
use crate::app::admin::asked::json_or_text;
use crate::app::admin::refused::Refused;
use crate::sync::tasks::{self, Kind, Seen};

/// How often the watch looks. A poll is told of that is there at two looks: one of twice this length
/// always, one that is shorter than this never.
const INTERVAL: Duration = Duration::from_millis(20);
/// Looks between two readings of the runtimes: a second.
const READINGS: u32 = 50;
/// Names that are told apart; names may be made from input.
const NAMES: usize = 1_024;

/// The polls of one name that kept a worker from other tasks, since the start.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Blocked {
    /// Of what kind it is.
    pub kind: &'static str,
    /// The name it is on the board by: a method, a job, a task.
    pub name: String,
    /// The group it belongs to.
    pub group: Option<String>,
    /// How many polls.
    pub polls: u64,
    /// How long they took in all, seen from outside: each up to 20 ms too short.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub time: Duration,
    /// The longest.
    #[serde(rename = "longest_seconds", serialize_with = "as_seconds")]
    pub longest: Duration,
    /// What the thread did at the last of them: `computes`, or `waits in` a function of the kernel.
    pub thread: Option<String>,
    /// Whether one of them is not over.
    pub now: bool,
}

fn as_seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

type Key = (Kind, String, Option<String>);

#[derive(Default)]
struct Watch {
    /// What ran at the last look: the poll's number, since which look, and how much was told of.
    running: HashMap<u64, Running>,
    table: HashMap<Key, Blocked>,
}

struct Running {
    poll: u64,
    since: Instant,
    told: Option<Duration>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Starts the watch, once a process.
pub(super) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let watch = || {
            for look in 0_u32.. {
                if look.is_multiple_of(READINGS) {
                    runtime::read_all(Instant::now());
                }
                let running = tasks::running();
                WATCH
                    .lock()
                    .get_or_insert_default()
                    .look(running, Instant::now(), process::thread);
                thread::sleep(INTERVAL);
            }
        };
        let thread = thread::Builder::new().name("seawall-watch".to_owned());
        if let Err(error) = thread.spawn(watch) {
            tracing::warn!(%error, "no watch on what blocks: its thread cannot be started");
        }
    });
}

/// What kept a worker from other tasks, the longest in all first. Empty where nothing is watched:
/// [`router`](super::router) starts the watch.
#[must_use]
pub fn blocked() -> Vec<Blocked> {
    let watch = WATCH.lock();
    let table = watch.iter().flat_map(|watch| watch.table.values());
    let mut all: Vec<Blocked> = table.cloned().collect();
    all.sort_by(|a, b| (b.time, &a.name).cmp(&(a.time, &b.name)));
    all
}

impl Watch {
    fn look(&mut self, running: Vec<Seen>, now: Instant, thread: impl Fn(u32) -> Option<String>) {
        self.table.values_mut().for_each(|row| row.now = false);
        let mut before = std::mem::take(&mut self.running);
        for seen in running {
            // A closure of a blocking pool keeps nobody from anything.
            if seen.about.kind == Kind::Blocking {
                continue;
            }
            let same = before.remove(&seen.id).filter(|r| r.poll == seen.polls);
            let mut poll = same.unwrap_or(Running {
                poll: seen.polls,
                since: now,
                told: None,
            });
            let time = now.saturating_duration_since(poll.since);
            if time >= INTERVAL / 2 {
                self.tell(&seen, time, &mut poll.told, &thread);
            }
            self.running.insert(seen.id, poll);
        }
    }

    fn tell(
        &mut self,
        seen: &Seen,
        time: Duration,
        told: &mut Option<Duration>,
        thread: impl Fn(u32) -> Option<String>,
    ) {
        let about = &seen.about;
        let group = about.group.as_deref().map(str::to_owned);
        let mut key = (about.kind, about.name.clone().into_owned(), group);
        if self.table.len() >= NAMES && !self.table.contains_key(&key) {
            key = (about.kind, "(others)".to_owned(), None);
        }
        let row = self
            .table
            .entry(key)
            .or_insert_with_key(|(_, name, group)| Blocked {
                kind: about.kind.as_str(),
                name: name.clone(),
                group: group.clone(),
                polls: 0,
                time: Duration::ZERO,
                longest: Duration::ZERO,
                thread: None,
                now: false,
            });
        if told.is_none() {
            row.polls += 1;
            row.thread = seen.polled_by.and_then(thread);
        }
        row.time += time.saturating_sub(told.unwrap_or_default());
        row.longest = row.longest.max(time);
        row.now = true;
        *told = Some(time);
    }
}

pub(super) async fn answer(uri: Uri) -> Result<Response, Refused> {
    json_or_text(&uri, &blocked(), |blocked| text(blocked))
}

fn text(blocked: &[Blocked]) -> String {
    let mut out = String::new();
    for row in blocked {
        // Writing to a string does not fail, here and below.
        let _ = write!(out, "{} {}", row.kind, row.name);
        if let Some(group) = &row.group {
            let _ = write!(out, " of `{group}`");
        }
        let _ = write!(
            out,
            ": {} polls blocked a worker, {:.3} s in all (longest {:.3} s)",
            row.polls,
            row.time.as_secs_f64(),
            row.longest.as_secs_f64()
        );
        if let Some(thread) = &row.thread {
            let _ = write!(out, "; its thread {thread}");
        }
        out.push_str(if row.now { ", now\n" } else { "\n" });
    }
    if out.is_empty() {
        out.push_str("no poll of what has a name took longer than 40 ms\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tasks::About;

    /// What a look at one entry shows that has been in a turn since it was entered.
    fn looks(name: &'static str, kind: Kind) -> (tasks::Entry, impl Fn() -> Vec<Seen>) {
        let entry = tasks::enter(About::new(kind, name, Instant::now()));
        let seen = move || {
            let mut seen = tasks::running();
            seen.retain(|seen| seen.about.name == name);
            seen
        };
        (entry, seen)
    }

    #[test]
    fn a_poll_that_is_there_at_two_looks_is_told_of_once_with_its_length() {
        let (entry, seen) = looks("long", Kind::Request);
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let computes = |_| Some("computes".to_owned());
        let turn = entry.turn();
        for millis in [0, 20, 40, 100] {
            watch.look(seen(), at(millis), computes);
        }
        drop(turn);
        // Another poll of the same task, which is short.
        let turn = entry.turn();
        watch.look(seen(), at(120), computes);
        drop(turn);
        watch.look(seen(), at(140), computes);
        let rows: Vec<_> = watch.table.into_values().collect();
        assert_eq!((rows.len(), rows[0].polls), (1, 1));
        assert_eq!(rows[0].time, Duration::from_millis(100));
        assert_eq!(rows[0].longest, rows[0].time);
        assert_eq!(
            (rows[0].now, rows[0].thread.as_deref()),
            (false, Some("computes"))
        );
    }

    #[test]
    fn closures_of_blocking_pools_and_waiting_tasks_are_not_told_of() {
        let (entry, seen) = looks("closure", Kind::Blocking);
        let (_waiting, none) = looks("waits", Kind::Task);
        let (mut watch, start) = (Watch::default(), Instant::now());
        let _turn = entry.turn();
        for millis in [0, 20, 40] {
            let seen = seen().into_iter().chain(none()).collect();
            watch.look(seen, start + Duration::from_millis(millis), |_| None);
        }
        assert!(watch.table.is_empty());
    }
}
