//! A check that no task outlives the test that started it.
//!
//! Dropping a group tells its tasks to end, and a task can only hear that where it awaits. So three
//! things can outlive a group: a task that never yields, a blocking closure that does not ask its
//! [`Stop`](crate::blocking::Stop), and a bare spawn. The check follows the ambient into everything
//! started under it (tasks of groups, closures of a [`Blocking`](crate::Blocking) pool, spawns with
//! [`in_current_call`](crate::AmbientExt::in_current_call)), waits until all have ended, and names
//! what has not. A spawn without ambient it cannot see.
//!
//! It wraps a future instead of being a guard, because what has been told to end needs a turn of
//! the runtime to do so, and a destructor cannot give it one.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::ambient;

/// How long what was told to end may take. On a paused clock that is no time at all: the clock
/// moves on when no task has anything left to do.
const GRACE: Duration = Duration::from_secs(1);

/// Something that still runs although what started it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaked {
    /// What it is: the name of the task and its group.
    pub name: String,
    /// Where it was started.
    pub started: &'static Location<'static>,
}

impl fmt::Display for Leaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, started at {}", self.name, self.started)
    }
}

/// Runs `future`, and fails the test if anything started under it is still running a second after
/// its end (tokio's time, so a paused clock does not wait).
///
/// ```
/// use seawall_sync::{Group, leak};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// leak::check(async {
///     let mut group = Group::<(), ()>::new();
///     group.spawn(std::future::pending());
///     drop(group); // ends its task
/// })
/// .await;
/// # });
/// ```
///
/// # Panics
/// When something leaked, naming all of it.
pub async fn check<F: Future>(future: F) -> F::Output {
    let (output, leaked) = find(future).await;
    let names: Vec<String> = leaked.iter().map(Leaked::to_string).collect();
    assert!(
        leaked.is_empty(),
        "{} outlived the test: {}. End them (drop or join the group, ask `Stop`, let the task \
         yield) before it returns",
        names.len(),
        names.join("; ")
    );
    output
}

/// As [`check`], but returns what leaked.
pub async fn find<F: Future>(future: F) -> (F::Output, Vec<Leaked>) {
    let tracker = Tracker::default();
    let output = ambient::current()
        .with_tracker(tracker.clone())
        .scope(future)
        .await;
    let until = Instant::now() + GRACE;
    loop {
        let changed = tracker.0.changed.notified();
        let alive: Vec<Leaked> = tracker.alive();
        if alive.is_empty() || timeout_at(until, changed).await.is_err() {
            return (output, alive);
        }
    }
}

/// What runs under a check.
#[derive(Clone, Default)]
pub(crate) struct Tracker(Arc<Tracked>);

#[derive(Default)]
struct Tracked {
    running: Mutex<Slab<Leaked>>,
    changed: Notify,
}

impl Tracker {
    pub(crate) fn track(
        &self,
        name: impl Into<String>,
        started: &'static Location<'static>,
    ) -> Live {
        let name = name.into();
        let entry = Leaked { name, started };
        Live {
            key: self.0.running.lock().insert(entry),
            tracker: self.clone(),
        }
    }

    /// Tells trackers apart.
    pub(crate) fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    fn alive(&self) -> Vec<Leaked> {
        let running = self.0.running.lock();
        running.iter().map(|(_, entry)| entry.clone()).collect()
    }
}

/// Something that runs; it has ended when this is dropped.
pub(crate) struct Live {
    tracker: Tracker,
    key: usize,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tracker.0.running.lock().remove(self.key);
        self.tracker.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AmbientExt, Group};

    #[tokio::test(start_paused = true)]
    async fn a_bare_spawn_that_goes_on_is_named_with_its_place() {
        let spawn = async {
            let task = tokio::spawn(std::future::pending::<()>().in_current_call());
            task.abort_handle()
        };
        let (task, leaked) = find(spawn).await;
        assert_eq!(leaked.len(), 1);
        assert_eq!(leaked[0].name, "a bare task");
        assert!(leaked[0].started.file().ends_with("leak.rs"));
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_kept_beyond_the_test_leaks_its_tasks() {
        let (_group, leaked) = find(async {
            let mut group = Group::<(), ()>::new().named("fetch");
            group.spawn_named("user 7", std::future::pending());
            group
        })
        .await;
        let names: Vec<_> = leaked.into_iter().map(|leaked| leaked.name).collect();
        assert_eq!(names, ["task 0 (user 7) of group `fetch`"]);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "1 outlived the test: task 0 of a group")]
    async fn a_leak_fails_the_test() {
        let _group = check(async {
            let mut group = Group::<(), ()>::new();
            group.spawn(std::future::pending());
            group
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_to_end_gets_its_turn() {
        check(async {
            for _ in 0..10 {
                let mut group = Group::<(), ()>::new();
                group.spawn(std::future::pending());
            }
        })
        .await;
    }
}
