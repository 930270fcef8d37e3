//! What a group passes down: the token that says it is cancelled, and its deadline.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Stopped;
use crate::ambient;

/// No task has failed.
const NONE: usize = usize::MAX;

/// The group that the running task belongs to.
///
/// ```
/// use seawall_sync::{Group, group::Scope};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// assert!(Scope::current().is_none());
/// let mut group = Group::<bool, ()>::new();
/// group.spawn(async {
///     let scope = Scope::current().expect("this is a task of a group");
///     Ok(scope.token().is_cancelled())
/// });
/// assert_eq!(group.join().await.all(), Ok(vec![false]));
/// # });
/// ```
pub struct Scope {
    token: CancellationToken,
    deadline: Option<Instant>,
    ends: Arc<Ends>,
}

/// What tasks tell their group of their end, apart from results.
#[derive(Debug)]
struct Ends {
    keep_going: AtomicBool,
    first_failed: AtomicUsize,
    /// Tasks that were dropped before they were done, with what their destructors' panics said.
    unfinished: Mutex<Vec<(usize, Option<String>)>>,
}

impl Scope {
    /// The scope of the group whose task is running, or none outside of a group. Costs one
    /// reference count.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        ambient::current().scope_of_group().cloned()
    }

    /// Says when the group is cancelled. A task is ended at its next await anyway; this is for
    /// work that awaits nothing, and for what has to hear of it elsewhere.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The tighter of the group's own deadline and those around it.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is left until the deadline: zero when it has passed, none without one.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.map(left)
    }

    pub(super) fn new(token: CancellationToken, deadline: Option<Instant>) -> Self {
        Self {
            token,
            deadline,
            ends: Arc::new(Ends {
                keep_going: AtomicBool::new(false),
                first_failed: AtomicUsize::new(NONE),
                unfinished: Mutex::default(),
            }),
        }
    }

    /// A group inside of this one, in a call with a deadline or without.
    pub(super) fn inner(&self, deadline: Option<Instant>) -> Self {
        Self::new(self.token.child_token(), self.tighter(deadline))
    }

    fn tighter(&self, deadline: Option<Instant>) -> Option<Instant> {
        self.deadline.into_iter().chain(deadline).min()
    }

    /// The same group with a deadline. A tighter one around it stands.
    pub(super) fn with_deadline(&self, deadline: Instant) -> Self {
        Self {
            token: self.token.clone(),
            deadline: self.tighter(Some(deadline)),
            ends: self.ends.clone(),
        }
    }

    // Flag and index stand for themselves: results are published by the join. So Relaxed.

    pub(super) fn keep_going(&self) {
        self.ends.keep_going.store(true, Relaxed);
    }

    /// A task has failed. Cancels the rest, unless the group keeps going.
    pub(super) fn failed(&self, index: usize) {
        let first = &self.ends.first_failed;
        let _ = first.compare_exchange(NONE, index, Relaxed, Relaxed);
        if !self.ends.keep_going.load(Relaxed) {
            self.token.cancel();
        }
    }

    pub(super) fn first_failed(&self) -> Option<usize> {
        Some(self.ends.first_failed.load(Relaxed)).filter(|index| *index != NONE)
    }

    /// Whether a failure ends the rest. Cheap enough to ask at every join.
    pub(super) fn has_failed(&self) -> bool {
        self.first_failed().is_some() && !self.ends.keep_going.load(Relaxed)
    }

    pub(super) fn dropped(&self, index: usize, panic: Option<String>) {
        self.ends.unfinished.lock().push((index, panic));
    }

    pub(super) fn take_dropped(&self) -> Option<(usize, Option<String>)> {
        self.ends.unfinished.lock().pop()
    }

    /// Whether the group is to stop, at the cost of a lock, and with a deadline of a look at the
    /// clock.
    pub(super) fn has_stopped(&self) -> Option<Stopped> {
        if self.token.is_cancelled() {
            return Some(Stopped::Cancelled);
        }
        let deadline = self.deadline?;
        (deadline <= Instant::now()).then_some(Stopped::DeadlineExceeded)
    }

    /// Returns when the group is to stop.
    pub(super) async fn stopped(self: Arc<Self>) -> Stopped {
        let time_is_up = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => Stopped::Cancelled,
            () = time_is_up => Stopped::DeadlineExceeded,
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("cancelled", &self.token.is_cancelled())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
