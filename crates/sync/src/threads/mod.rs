//! A lane's tasks on threads of their own.
//!
//! Tasks of one runtime share its workers, and one that computes for long delays every other that
//! waits for its worker. Limits do not help: the delay is there with a single such task. So a lane
//! that may compute for long gets a runtime of its own, and the kernel divides the CPUs, by time
//! slices or, where asked, outright.
//!
//! Without a stated number there are as many workers as the program may use CPUs: std's
//! `available_parallelism`, which on Linux is the least of the CPUs of the affinity mask and the
//! cgroup's quota (v1 and v2, rounded down, at least 1). More would be throttled by the quota, all
//! at once, for the rest of each period.

mod cpus;
mod single;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::AmbientExt as _;
use cpus::Reservation;
pub use single::Single;

/// Which CPUs a lane's threads may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cpus {
    /// Those that no lane has to itself.
    #[default]
    Shared,
    /// As many as it has workers, which no other lane uses meanwhile. Threads that belong to no
    /// lane, such as those of a runtime built otherwise, are not kept off. Linux only.
    Exclusive,
}

/// How a lane is run.
#[derive(Clone, Debug, Default)]
pub struct ThreadsOptions {
    /// Names the threads; Linux shows the first 15 bytes.
    pub name: String,
    /// Worker threads, at least 1. By default as many as the cgroup's quota and the affinity mask allow, or 1
    /// with [`Cpus::Exclusive`].
    pub workers: Option<usize>,
    /// Which CPUs they may use.
    pub cpus: Cpus,
}

/// Why a lane could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ThreadsError {
    /// Exclusive CPUs would leave none to others.
    #[error(
        "{wanted} exclusive CPUs are wanted where {free} are free, one of which is left to others; \
         ask for fewer workers, or share"
    )]
    TooFewCpus {
        /// CPUs that were asked for.
        wanted: usize,
        /// CPUs that no lane has to itself.
        free: usize,
    },
    /// The platform does not tell which CPUs may be used.
    #[error("CPUs cannot be reserved here: {0}; share them")]
    Affinity(#[source] io::Error),
    /// No thread can have this name.
    #[error("{0:?} cannot name a thread: it holds a NUL byte")]
    Name(String),
    /// The threads could not be started.
    #[error("cannot start threads: {0}")]
    Start(#[source] io::Error),
}

impl From<ThreadsError> for io::Error {
    fn from(error: ThreadsError) -> Self {
        match error {
            ThreadsError::Start(error) => error,
            ThreadsError::Name(_) => Self::new(io::ErrorKind::InvalidInput, error),
            ThreadsError::TooFewCpus { .. } | ThreadsError::Affinity(_) => Self::other(error),
        }
    }
}

/// std panics at such a name.
pub(crate) fn check_name(name: String) -> Result<String, ThreadsError> {
    if name.contains('\0') {
        return Err(ThreadsError::Name(name));
    }
    Ok(name)
}

/// Tasks had not ended when the time for it was up; they were cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tasks} tasks had not ended in time and were cancelled")]
pub struct Unfinished {
    /// How many.
    pub tasks: usize,
}

/// A runtime of one lane. Dropped, it cancels its tasks at their next await, and waits for nothing.
///
/// ```
/// use seawall_sync::threads::{Threads, ThreadsOptions};
/// use std::time::Duration;
///
/// # let mut runtime = tokio::runtime::Builder::new_current_thread();
/// # runtime.enable_time().build().unwrap().block_on(async {
/// let heavy = Threads::start(ThreadsOptions {
///     name: "heavy".into(),
///     workers: Some(2),
///     ..ThreadsOptions::default()
/// })?;
/// let sum = heavy.spawn(async { (1..=1_000u64).sum::<u64>() }).await?;
/// assert_eq!(sum, 500_500);
/// heavy.shutdown(Duration::from_secs(5)).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Threads {
    /// `None` only once dropped.
    runtime: Option<Runtime>,
    tasks: TaskTracker,
    workers: usize,
    cpus: Vec<usize>,
    /// Threads that could not be confined to their CPUs.
    strays: Arc<AtomicUsize>,
}

impl Threads {
    /// Starts a lane's threads, with tokio's timers and, where the program enables them, its I/O.
    ///
    /// # Errors
    ///
    /// [`ThreadsError`] when CPUs cannot be reserved, threads not started, or not so named.
    pub fn start(options: ThreadsOptions) -> Result<Self, ThreadsError> {
        let default = || match options.cpus {
            Cpus::Shared => std::thread::available_parallelism().map_or(1, usize::from),
            Cpus::Exclusive => 1,
        };
        let workers = options.workers.unwrap_or_else(default).max(1);
        let strays = Arc::new(AtomicUsize::new(0));
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(workers)
            .thread_name(check_name(options.name)?)
            .enable_all();
        let counted = Arc::clone(&strays);
        let cpus = match options.cpus {
            Cpus::Shared => {
                builder.on_thread_start(move || cpus::share(&counted));
                builder.on_thread_stop(cpus::leave);
                Vec::new()
            }
            Cpus::Exclusive => {
                let reservation = Reservation::new(workers)?;
                let cpus = reservation.cpus().to_vec();
                // Owned by the runtime, so that the CPUs are free once its last thread has ended.
                builder.on_thread_start(move || {
                    if reservation.confine().is_err() {
                        counted.fetch_add(1, Relaxed);
                    }
                });
                cpus
            }
        };
        Ok(Self {
            runtime: Some(builder.build().map_err(ThreadsError::Start)?),
            tasks: TaskTracker::new(),
            workers,
            cpus,
            strays,
        })
    }

    /// Runs a task on this lane, with the ambient values of the caller. What it spawns with tokio's
    /// own functions runs here as well, but [`shutdown`](Self::shutdown) does not wait for it.
    ///
    /// Dropping the handle leaves the task running. Costs as tokio's spawn, and two counted
    /// references.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let future = self.tasks.track_future(future.in_current_call());
        self.runtime().spawn(future)
    }

    /// Worker threads.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The CPUs that this lane has to itself; none where it shares.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// How often a thread could not be confined to the CPUs it should use, because the system
    /// refused: 0 unless what the process may use has changed.
    #[must_use]
    pub fn strays(&self) -> usize {
        self.strays.load(Relaxed)
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Waits up to `grace` for the tasks to end, then cancels the rest at their next await. Does
    /// not wait for those, nor for threads: one may be computing. Blocks no thread.
    ///
    /// Dropped before its end, it cancels all tasks.
    ///
    /// # Errors
    ///
    /// [`Unfinished`] says how many tasks were cancelled.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled.
    pub async fn shutdown(self, grace: Duration) -> Result<(), Unfinished> {
        self.tasks.close();
        let ended = timeout(grace, self.tasks.wait()).await;
        ended.map_err(|_| Unfinished {
            tasks: self.tasks.len(),
        })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("the runtime is there until this is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it instead would wait for its threads, which async code must not.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("workers", &self.workers)
            .field("cpus", &self.cpus)
            .field("tasks", &self.tasks())
            .finish_non_exhaustive()
    }
}
