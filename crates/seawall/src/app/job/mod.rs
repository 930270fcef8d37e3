//! Work on a schedule.
//!
//! A job runs once at a time. While it runs, what would be due is skipped and counted, and after it
//! the next time is counted from now: whatever was missed, by a long run or by a machine that slept,
//! is not made up for by a storm. Each run has a deadline and a panic of its own. That a job runs
//! once *among replicas* is for a lock to say, taken in the job.

mod schedule;

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

pub use schedule::{Schedule, ScheduleError};

use super::part::{BoxError, Doing, Part, message};
use super::running::Running;
use crate::sync::shutdown::Life;
use crate::sync::tasks::{self, About, Kind};

/// The wall clock is looked at this often, since it may be set.
const LOOK: Duration = Duration::from_secs(30);

/// Unless told otherwise, a run may take this long.
const DEADLINE: Duration = Duration::from_secs(600);

type Run = Box<dyn FnMut() -> Doing + Send>;
type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How a job has fared.
#[derive(Debug, Default)]
pub struct JobTotals {
    done: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    timed_out: AtomicU64,
    skipped: AtomicU64,
}

impl JobTotals {
    /// Each outcome by its name, with how often it came: `done`, `failed`, `panicked`, `timed_out`,
    /// and `skipped` for times at which the run before still went on.
    #[must_use]
    pub fn read(&self) -> [(&'static str, u64); 5] {
        [
            ("done", self.done.load(Relaxed)),
            ("failed", self.failed.load(Relaxed)),
            ("panicked", self.panicked.load(Relaxed)),
            ("timed_out", self.timed_out.load(Relaxed)),
            ("skipped", self.skipped.load(Relaxed)),
        ]
    }
}

/// Work on a [`Schedule`].
///
/// ```
/// use seawall::app::Job;
/// use std::time::Duration;
///
/// let job = Job::new("expire", "*/5 * * * *", async || {
///     // Expire what is old.
///     Ok(())
/// });
/// let job = job.deadline(Duration::from_secs(60));
/// ```
pub struct Job {
    name: Cow<'static, str>,
    schedule: String,
    deadline: Duration,
    run: Mutex<Option<Run>>,
    now: Now,
    totals: Arc<JobTotals>,
    running: Running,
}

impl Job {
    /// A schedule that makes no sense keeps the program from starting.
    pub fn new<F, Fut>(
        name: impl Into<Cow<'static, str>>,
        schedule: impl Into<String>,
        mut run: F,
    ) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self {
            name: name.into(),
            schedule: schedule.into(),
            deadline: DEADLINE,
            run: Mutex::new(Some(Box::new(move || Box::pin(run())))),
            now: Arc::new(SystemTime::now),
            totals: Arc::default(),
            running: Running::default(),
        }
    }

    /// How long one run may take before it is dropped at its next await. Default ten minutes.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Another wall clock, for tests.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    /// How it fares.
    #[must_use]
    pub fn totals(&self) -> Arc<JobTotals> {
        self.totals.clone()
    }

    pub(super) fn title(&self) -> &str {
        &self.name
    }
}

impl Part for Job {
    fn name(&self) -> Cow<'static, str> {
        self.name.clone()
    }

    async fn start(&self, life: Life) -> Result<(), BoxError> {
        let schedule = self.schedule.parse()?;
        let Some(run) = self.run.lock().take() else {
            return Err("is started already".into());
        };
        let turn = Turn {
            name: self.name.clone(),
            schedule,
            deadline: self.deadline,
            run,
            now: self.now.clone(),
            totals: self.totals.clone(),
        };
        self.running.start(async move { turn.go_on(life).await });
        Ok(())
    }

    async fn drain(&self) -> Result<(), BoxError> {
        self.running.ended().await;
        Ok(())
    }

    async fn stop(&self) -> Result<(), BoxError> {
        self.running.cut().await;
        Ok(())
    }
}

struct Turn {
    name: Cow<'static, str>,
    schedule: Schedule,
    deadline: Duration,
    run: Run,
    now: Now,
    totals: Arc<JobTotals>,
}

impl Turn {
    /// One run after the other, until the program begins to end: then no other is begun.
    async fn go_on(mut self, life: Life) {
        loop {
            let Some(due) = self.schedule.after((self.now)()) else {
                tracing::warn!(job = %self.name, schedule = %self.schedule, "is never due");
                return life.stopping().await;
            };
            let due = tokio::select! {
                biased;
                () = life.stopping() => return,
                due = wait(&self.schedule, &*self.now, due) => due,
            };
            self.once().await;
            self.skip(due);
        }
    }

    async fn once(&mut self) {
        let (name, began) = (&self.name, Instant::now());
        // A panic before its first await is one of the run as well.
        let run = &mut self.run;
        let mut about = About::new(Kind::Job, name.clone(), began.into_std());
        about.until = began.checked_add(self.deadline).map(Instant::into_std);
        let work = tasks::enter(about).track(async { run().await });
        let work = AssertUnwindSafe(work).catch_unwind();
        let outcome = match timeout(self.deadline, work).await {
            Ok(Ok(Ok(()))) => {
                let seconds = began.elapsed().as_secs_f64();
                tracing::debug!(job = %name, seconds, "done");
                &self.totals.done
            }
            Ok(Ok(Err(error))) => {
                tracing::error!(job = %name, %error, "failed");
                &self.totals.failed
            }
            Ok(Err(panic)) => {
                tracing::error!(job = %name, panic = message(&*panic), "panicked");
                &self.totals.panicked
            }
            Err(_) => {
                let seconds = self.deadline.as_secs_f64();
                tracing::error!(job = %name, seconds, "did not finish in time and was dropped");
                &self.totals.timed_out
            }
        };
        outcome.fetch_add(1, Relaxed);
    }

    /// Counts what was due meanwhile. Where that is very many, the machine slept or the clock was
    /// set.
    fn skip(&self, mut due: SystemTime) {
        let now = (self.now)();
        let mut skipped = 0;
        while skipped < 1_000 {
            match self.schedule.after(due) {
                Some(next) if next <= now => due = next,
                _ => break,
            }
            skipped += 1;
        }
        if skipped > 0 {
            tracing::warn!(job = %self.name, skipped, "was due again before it could run: not made up for");
            self.totals.skipped.fetch_add(skipped, Relaxed);
        }
    }
}

/// Returns when it is due, and when that was: sooner than at first, where the clock is set back.
async fn wait(
    schedule: &Schedule,
    now: &(dyn Fn() -> SystemTime + Send + Sync),
    mut due: SystemTime,
) -> SystemTime {
    loop {
        let now = now();
        let left = due.duration_since(now).unwrap_or_default();
        if left.is_zero() {
            return due;
        }
        due = schedule.after(now).map_or(due, |next| next.min(due));
        let left = due.duration_since(now).unwrap_or_default();
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

#[cfg(test)]
mod tests;
