//! How a pipeline ends: the first failure decides, and everyone learns of it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Task;
use super::progress::{Counters, StageProgress};
use crate::AmbientExt;

/// What a failure of one item does to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Every stage ends at once; what is between source and output is dropped.
    #[default]
    Abort,
    /// The source is asked no more; what was taken from it and can be worked off comes out. Only
    /// the items that failed do not: their errors hold what is to be kept of them, and the
    /// counters say how many they were.
    Drain,
}

/// Why a pipeline ended before its source did.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError<E> {
    /// A stage, or the source, returned an error. The first one, if there were several.
    #[error("stage {stage} failed: {error}")]
    Failed {
        /// The stage's name; `source` for the source.
        stage: &'static str,
        /// What it returned.
        error: E,
    },
    /// A stage, or the source, panicked.
    #[error("stage {stage} panicked: {message}")]
    Panicked {
        /// The stage's name; `source` for the source, `drop` for the destructor of an item.
        stage: &'static str,
        /// The panic's message.
        message: String,
    },
    /// [`PipelineControl::abort`] was called.
    #[error("the pipeline was aborted")]
    Aborted,
}

pub(super) struct Control<E> {
    on_error: OnError,
    /// Sources take no more.
    pub(super) stopping: CancellationToken,
    /// As `stopping`, for a source that looks before each chunk: the token's answer costs a lock.
    stopped: AtomicBool,
    failure: Mutex<Option<PipelineError<E>>>,
    tasks: Mutex<Vec<AbortHandle>>,
    stages: Mutex<Vec<Arc<Counters>>>,
}

impl<E: Send + 'static> Control<E> {
    pub(super) fn new(on_error: OnError) -> Self {
        Self {
            on_error,
            stopping: CancellationToken::new(),
            stopped: AtomicBool::new(false),
            failure: Mutex::new(None),
            tasks: Mutex::new(Vec::new()),
            stages: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn add_stage(&self, counters: &Arc<Counters>) {
        self.stages.lock().push(Arc::clone(counters));
    }

    pub(super) fn adopt_stages(&self, of: &Self) {
        self.stages.lock().extend(of.stages.lock().iter().cloned());
    }

    pub(super) fn progress(&self) -> Vec<StageProgress> {
        self.stages.lock().iter().map(|s| s.progress()).collect()
    }

    pub(super) fn start(&self, stages: Vec<Task>) -> JoinSet<()> {
        // Held to the end, so that a failure of the first task finds the last.
        let mut handles = self.tasks.lock();
        let mut tasks = JoinSet::new();
        let stages = stages.into_iter().map(AmbientExt::in_current_call);
        handles.extend(stages.map(|stage| tasks.spawn(stage)));
        tasks
    }

    /// Records the first failure and ends the others as was asked for.
    pub(super) fn fail(&self, error: PipelineError<E>) {
        self.failure.lock().get_or_insert(error);
        match self.on_error {
            OnError::Abort => self.end_tasks(),
            OnError::Drain => self.stop(),
        }
    }

    pub(super) fn drains(&self) -> bool {
        self.on_error == OnError::Drain
    }

    pub(super) fn take_failure(&self) -> Option<PipelineError<E>> {
        self.failure.lock().take()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    fn stop(&self) {
        self.stopped.store(true, Relaxed);
        self.stopping.cancel();
    }

    fn end_tasks(&self) {
        self.stop();
        self.tasks.lock().iter().for_each(AbortHandle::abort);
    }
}

/// Stops a running pipeline from outside, and tells how far it is.
pub struct PipelineControl<E>(pub(super) Arc<Control<E>>);

impl<E: Send + 'static> PipelineControl<E> {
    /// Takes nothing more from the source. What was taken comes out, and so does what a source
    /// channel holds, which is closed to its senders.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Ends every stage at its next await. What is between source and output is dropped, and the
    /// output ends with [`PipelineError::Aborted`].
    pub fn abort(&self) {
        self.0.failure.lock().get_or_insert(PipelineError::Aborted);
        self.0.end_tasks();
    }

    /// How far each stage is, from the source on.
    #[must_use]
    pub fn progress(&self) -> Vec<StageProgress> {
        self.0.progress()
    }
}

impl<E> Clone for PipelineControl<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for PipelineControl<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineControl").finish_non_exhaustive()
    }
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}
