//! Structured tasks: a group starts them, and when it is gone, so are they.
//!
//! Built on tokio's `JoinSet`, which already ends its tasks when it is dropped. What a group adds is
//! what every use of a `JoinSet` otherwise writes anew: a limit, a rule for errors, panics as values,
//! names, and a scope that flows down. Decisions:
//!
//! - *The rule for errors is one bit* ([`Group::keep_going`]): does the first failure end the rest?
//!   What to make of several results is asked afterwards, of [`Joined`].
//! - *Cancelled means dropped.* Other languages can only tell a task; here its future is dropped at
//!   its next await. The token is for who awaits nothing.
//! - *The group acts while it is awaited* ([`join`](Group::join), [`next`](Group::next),
//!   [`ready`](Group::ready)) or dropped. A watcher of its own would cost each group a task more;
//!   an owner that awaits something else for long passes [`Group::token`] to it.
//! - *A limit bounds what runs, [`ready`](Group::ready) bounds what waits.* Spawning never waits, so
//!   it can be called anywhere; a source of unknown length awaits `ready` before each spawn.

mod error;
mod joined;
mod place;
mod scope;
mod task;

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::{Failure, Stopped, TaskError, TaskId};
pub use joined::Joined;
pub use scope::Scope;

use crate::FOREVER;
use crate::ambient::{self, Ambient};
use crate::leak::Live;
use crate::tasks::{self, About, Entry, Kind};
use joined::{Names, Succeeded};
use place::{Held, Place};
use task::{Ended, Task};

#[cfg(test)]
mod tests;

/// How many tasks share one copy of the ambient. With a single copy for all, its reference count is
/// what the spawning thread and the workers fight over.
const SHARING: usize = 64;

type Watch = Pin<Box<dyn Future<Output = Stopped> + Send>>;

/// Tasks that end together.
///
/// A group made inside a task of another inherits its cancellation and the tightest deadline: of its
/// own, that of the group around it, and that of the call around it
/// ([`Ambient::with_until`](crate::Ambient::with_until)); ambient values follow into the tasks from where they are spawned. Dropping the group
/// ends its tasks at their next await.
///
/// A task costs about 1.06 times what it costs in a `JoinSet` (`cargo xtask bench sync --only
/// spawn`), and as many bytes while it waits (195 and its future's state: `examples/group.rs`).
///
/// ```
/// use seawall_sync::Group;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut group = Group::new().limit(4);
/// for n in 1..=3_u32 {
///     group.spawn(async move { n.checked_mul(10).ok_or("too large") });
/// }
/// assert_eq!(group.join().await.all()?, [10, 20, 30]);
/// # Ok::<(), seawall_sync::group::Failure<&str>>(())
/// # }).unwrap();
/// ```
///
/// What a panic said reaches the joiner, with the task's name:
///
/// ```
/// # use seawall_sync::Group;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut group = Group::<(), std::io::Error>::new();
/// group.spawn_named("import", async { panic!("row 7 has no key") });
/// let failure = group.join().await.all().unwrap_err();
/// assert_eq!(failure.to_string(), "task 0 (import): panicked: row 7 has no key");
/// # });
/// ```
#[must_use = "dropping a group ends its tasks"]
pub struct Group<T, E> {
    tasks: JoinSet<Ended<T, E>>,
    scope: Arc<Scope>,
    /// What was ambient when the group was made, with the group's scope: almost every spawn finds
    /// the same values around it, and then costs a reference count and no allocation.
    inner: Ambient,
    limit: Option<Arc<Semaphore>>,
    name: Option<Arc<str>>,
    names: Names,
    spawned: usize,
    watch: Option<Watch>,
    stopped: Option<Stopped>,
}

// === setting up ===

impl<T: Send + 'static, E: Send + 'static> Default for Group<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + 'static, E: Send + 'static> Group<T, E> {
    /// A group without a limit, whose first failure ends the rest.
    pub fn new() -> Self {
        let outer = ambient::current();
        let scope = Arc::new(match outer.scope_of_group() {
            Some(scope) => scope.inner(outer.deadline()),
            None => Scope::new(CancellationToken::new(), outer.deadline()),
        });
        Self {
            tasks: JoinSet::new(),
            inner: outer.with_scope(scope.clone()),
            scope,
            limit: None,
            name: None,
            names: Names::new(),
            spawned: 0,
            watch: None,
            stopped: None,
        }
    }

    /// At most `tasks` (at least 1) run at a time; what is spawned beyond them waits, in order.
    pub fn limit(mut self, tasks: usize) -> Self {
        let permits = tasks.clamp(1, Semaphore::MAX_PERMITS);
        self.limit = Some(Arc::new(Semaphore::new(permits)));
        self
    }

    /// A failure ends nothing but its own task.
    pub fn keep_going(self) -> Self {
        self.scope.keep_going();
        self
    }

    /// Ends what is not done at `deadline`. A tighter one around the group stands.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.scope = Arc::new(self.scope.with_deadline(deadline));
        self.inner = self.inner.with_scope(self.scope.clone());
        self.watch = None;
        self
    }

    /// As [`deadline`](Self::deadline), counted from now.
    pub fn timeout(self, time: Duration) -> Self {
        self.deadline(Instant::now() + time.min(FOREVER))
    }

    /// A name, which failures and leaks carry, and under which its tasks are on the [board](crate::tasks).
    ///
    /// ```
    /// # use seawall_sync::Group;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let mut group = Group::<(), &str>::new().named("refresh");
    /// group.spawn(async { Err("unavailable") });
    /// let failure = group.join().await.all().unwrap_err();
    /// assert_eq!(failure.to_string(), "task 0 of group `refresh`: unavailable");
    /// # });
    /// ```
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }
}

// === use ===

impl<T: Send + 'static, E: Send + 'static> Group<T, E> {
    /// Starts a task on the current runtime. Returns at once. In a group that has stopped the task
    /// never begins, and its error says why.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let ambient = self.ambient();
        let live = self.live(&ambient);
        let entry = self.entry();
        let index = self.spawned;
        self.spawned += 1;
        if self.limit.is_none() && live.is_none() && entry.is_none() {
            self.start(Task::new(index, future, ambient, ()));
        } else {
            let place = self.limit.clone().map(Place::stand_in_line);
            let held = Held {
                place,
                begun: false,
                _live: live,
                entry,
            };
            self.start(Task::new(index, future, ambient, held));
        }
    }

    fn start<F>(&mut self, task: F)
    where
        F: Future<Output = Ended<T, E>> + Send + 'static,
    {
        if self.stopped.is_none()
            && let Some(why) = self.scope.has_stopped()
        {
            self.stop(why);
        }
        if self.stopped.is_some() {
            // It notes its end as it is dropped; one that is handed to the runtime, and ended there,
            // might have begun by then.
            drop(task);
            self.tasks.spawn(pending()).abort();
        } else {
            self.tasks.spawn(task);
        }
    }

    /// As [`spawn`](Self::spawn), with a name that failures and leaks carry, and under which the task
    /// is on the [board](crate::tasks).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn_named<F>(&mut self, name: impl Into<Cow<'static, str>>, future: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.names.insert(self.spawned, name.into());
        self.spawn(future);
    }

    /// Waits until a task spawned now could begin: back-pressure for a source of unknown length.
    /// At once in a group without a limit. Cancel-safe.
    ///
    /// # Errors
    /// The group has stopped: a task failed, it was cancelled, or its time is up.
    ///
    /// ```
    /// # use seawall_sync::Group;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let mut group = Group::<u32, ()>::new().limit(2);
    /// for n in 0..100 {
    ///     if group.ready().await.is_err() {
    ///         break; // join says why
    ///     }
    ///     group.spawn(async move { Ok(n) });
    /// }
    /// assert_eq!(group.join().await.all().map(|all| all.len()), Ok(100));
    /// # });
    /// ```
    pub async fn ready(&mut self) -> Result<(), Stopped> {
        let limit = self.limit.clone();
        let room = async {
            if let Some(limit) = limit {
                drop(limit.acquire().await);
            }
        };
        let mut room = pin!(room);
        poll_fn(|cx| {
            if let Some(stopped) = self.poll_stopped(cx) {
                return Poll::Ready(Err(stopped));
            }
            room.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// The next task that ends, in the order in which they do; none when all have. For groups that
    /// live long: what is taken here is not kept for [`join`](Self::join). Cancel-safe.
    pub async fn next(&mut self) -> Option<(TaskId, Result<T, TaskError<E>>)> {
        let (index, result) = poll_fn(|cx| self.poll_next(cx)).await?;
        let task = self.take_id(index);
        Some((task, result.map_err(|error| *error)))
    }

    /// Waits until every task has ended. A task that is told to end does so at its next await; one
    /// that never awaits is waited for. Dropping this future ends the tasks.
    pub async fn join(mut self) -> Joined<T, E> {
        let mut succeeded = Succeeded::new(self.spawned, self.tasks.len());
        let mut failed = Vec::new();
        while let Some((index, result)) = poll_fn(|cx| self.poll_next(cx)).await {
            match result {
                Ok(value) => succeeded.insert(index, value),
                Err(error) => {
                    let task = self.take_id(index);
                    let error = *error;
                    failed.push(Failure { task, error });
                }
            }
        }
        Joined {
            succeeded: succeeded.in_order(),
            failed,
            first_failed: self.scope.first_failed(),
            names: std::mem::take(&mut self.names),
            group: self.name.clone(),
        }
    }

    /// Tells every task to end. [`join`](Self::join) then waits for that.
    pub fn cancel(&mut self) {
        self.stop(Stopped::Cancelled);
    }

    /// Cancelled together with the group; cancelling it cancels the group.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        self.scope.token()
    }

    /// Tasks that have not ended, or whose end has not been taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn take_id(&mut self, index: usize) -> TaskId {
        TaskId {
            index,
            name: self.names.remove(&index),
            group: self.name.clone(),
        }
    }

    fn ambient(&mut self) -> Ambient {
        if self.spawned.is_multiple_of(SHARING) {
            self.inner = self.inner.with_scope(self.scope.clone());
        }
        ambient::peek(|here| {
            if here.same_values(&self.inner) {
                self.inner.clone()
            } else {
                here.with_scope(self.scope.clone())
            }
        })
    }

    #[track_caller]
    fn live(&self, ambient: &Ambient) -> Option<Live> {
        let tracker = ambient.tracker()?;
        let task = TaskId {
            index: self.spawned,
            name: self.names.get(&self.spawned).cloned(),
            group: self.name.clone(),
        };
        let what = match &self.name {
            Some(_) => task.to_string(),
            None => format!("{task} of a group"),
        };
        Some(tracker.track(what, Location::caller()))
    }

    /// On the board, where there is a name to enter it by.
    #[track_caller]
    fn entry(&self) -> Option<Entry> {
        // Most groups have no names, and their spawns look none up.
        let own = match self.names.is_empty() {
            true => None,
            false => self.names.get(&self.spawned),
        };
        if own.is_none() && self.name.is_none() {
            return None;
        }
        let name = own.cloned().unwrap_or(Cow::Borrowed("task"));
        let mut about = About::new(Kind::Task, name, std::time::Instant::now());
        about.group = self.name.clone();
        about.until = self.scope.deadline().map(Instant::into_std);
        about.started = Some(Location::caller());
        Some(tasks::enter(about))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended<T, E>>> {
        if self.stopped.is_none() && self.scope.has_failed() {
            self.stop(Stopped::Cancelled);
        }
        loop {
            if let Poll::Ready(joined) = self.tasks.poll_join_next(cx) {
                let ended = joined.map(|joined| joined.unwrap_or_else(|_| self.dropped()));
                return Poll::Ready(ended);
            }
            // Once stopped, only the tasks' ends are waited for.
            if self.stopped.is_some() {
                return Poll::Pending;
            }
            if self.poll_stopped(cx).is_none() {
                return Poll::Pending;
            }
        }
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Option<Stopped> {
        if self.stopped.is_none() {
            let scope = &self.scope;
            let watch = self
                .watch
                .get_or_insert_with(|| Box::pin(scope.clone().stopped()));
            if let Poll::Ready(stopped) = watch.as_mut().poll(cx) {
                self.stop(stopped);
            }
        }
        self.stopped
    }

    fn stop(&mut self, why: Stopped) {
        self.stopped.get_or_insert(why);
        self.watch = None;
        self.scope.token().cancel();
        self.tasks.abort_all();
    }

    /// The end of a task that was dropped before it was done: by `stop`, or with its runtime.
    fn dropped(&self) -> Ended<T, E> {
        let (index, panic) = self
            .scope
            .take_dropped()
            .expect("each dropped task is noted");
        let error = match panic {
            Some(message) => TaskError::Panicked { message },
            None => self.stopped.unwrap_or(Stopped::Cancelled).into(),
        };
        (index, Err(Box::new(error)))
    }
}

impl<T, E> fmt::Debug for Group<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("tasks", &self.tasks.len())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
