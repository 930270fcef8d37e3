//! What the program's parts know of its life: when to stop, what to wait for, what to clean up.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Cause;

pub(super) type Step = (Cow<'static, str>, Pin<Box<dyn Future<Output = ()> + Send>>);

/// A handle on the program's life; clones are of the same one.
#[derive(Clone)]
pub struct Life(Arc<Shared>);

struct Shared {
    stopping: CancellationToken,
    cancelled: CancellationToken,
    cause: Mutex<Option<Cause>>,
    /// The time that the drain will have.
    drain: Mutex<Duration>,
    /// The program failed, be it after its end had begun.
    failed: AtomicBool,
    /// Errors that came after the first cause, and are yet to be told.
    late: Mutex<Vec<String>>,
    drains: Mutex<Vec<Step>>,
    cleanups: Mutex<Vec<Step>>,
    busy: watch::Sender<usize>,
}

/// Something under way, which the drain waits for until this is dropped.
#[must_use = "the drain waits only while it is held"]
#[derive(Debug)]
pub struct Busy(watch::Sender<usize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

impl Life {
    pub(super) fn new(drain: Duration) -> Self {
        Self(Arc::new(Shared {
            stopping: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            cause: Mutex::default(),
            drain: Mutex::new(drain),
            failed: AtomicBool::new(false),
            late: Mutex::default(),
            drains: Mutex::default(),
            cleanups: Mutex::default(),
            busy: watch::Sender::new(0),
        }))
    }

    /// Returns when the program begins to end: stop accepting then. Cancel-safe.
    pub async fn stopping(&self) {
        self.0.stopping.cancelled().await;
    }

    /// Whether the program has begun to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Cancelled when the drain is over, whether everything had finished or not.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.0.cancelled
    }

    /// Ends the program in good order, as a signal does.
    pub fn stop(&self) {
        self.begin(Cause::Asked);
    }

    /// Ends the program in good order, and with exit code 1, since it cannot go on.
    pub fn fatal(&self, error: impl fmt::Display) {
        self.begin(Cause::Fatal(error.to_string()));
    }

    /// Changes how long the drain may take, for a program that learns of another time while it runs.
    /// A drain that has begun keeps the time that it began with.
    pub fn set_drain_timeout(&self, drain: Duration) {
        *self.0.drain.lock() = drain;
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        *self.0.drain.lock()
    }

    /// Something is under way: the drain waits until the guard is dropped.
    pub fn busy(&self) -> Busy {
        self.0.busy.send_modify(|busy| *busy += 1);
        Busy(self.0.busy.clone())
    }

    /// Runs `step` when the program begins to end, beside the other drains and within their time.
    /// For what is told to drain instead of being waited for: a server, a consumer. Registered when
    /// the end has begun, it runs once the program or another step has ended; when the drain is
    /// over, never.
    pub fn on_drain<F>(&self, name: impl Into<Cow<'static, str>>, step: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.drains.lock().push((name.into(), Box::pin(step)));
    }

    /// Runs `step` at the end, however the end came about; the one registered last comes first, as
    /// it may need what was there before it.
    pub fn on_exit<F>(&self, name: impl Into<Cow<'static, str>>, step: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.cleanups.lock().push((name.into(), Box::pin(step)));
    }

    /// The first cause stands; an error after it is told all the same.
    pub(super) fn begin(&self, cause: Cause) {
        if matches!(cause, Cause::Fatal(_) | Cause::Panic(_)) {
            self.failed();
        }
        {
            let mut first = self.0.cause.lock();
            match (&*first, cause) {
                (Some(_), Cause::Fatal(error)) => self.0.late.lock().push(error),
                (Some(_), _) => {}
                (None, cause) => *first = Some(cause),
            }
        }
        self.0.stopping.cancel();
    }

    pub(super) fn failed(&self) {
        // Read after the task that set it was joined, or not at all.
        self.0.failed.store(true, Relaxed);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.failed.load(Relaxed)
    }

    pub(super) fn take_late(&self) -> Vec<String> {
        std::mem::take(&mut self.0.late.lock())
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.0.cause.lock().clone()
    }

    pub(super) fn take_drains(&self) -> Vec<Step> {
        std::mem::take(&mut self.0.drains.lock())
    }

    pub(super) fn has_drains(&self) -> bool {
        !self.0.drains.lock().is_empty()
    }

    pub(super) fn pop_cleanup(&self) -> Option<Step> {
        self.0.cleanups.lock().pop()
    }

    pub(super) async fn idle(&self) {
        // The sender is held by `self`.
        let _ = self.0.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life")
            .field("stopping", &self.is_stopping())
            .field("busy", &*self.0.busy.borrow())
            .finish_non_exhaustive()
    }
}
