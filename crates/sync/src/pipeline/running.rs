//! A pipeline under way.

use std::fmt;
use std::sync::Arc;
use std::vec;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::control::{Control, PipelineControl, PipelineError, panic_message};

/// A pipeline under way, and its output. Dropped, it ends every stage.
///
/// ```
/// use seawall_sync::pipeline::{Pipeline, PipelineOptions};
/// use std::convert::Infallible;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut running = Pipeline::<u64, Infallible>::from_items(PipelineOptions::default(), 0..)
///     .map("double", |n| Ok(2 * n))
///     .start();
/// assert_eq!(running.recv().await.unwrap(), Some(0));
/// running.control().stop();
/// let mut rest = 0;
/// while running.recv().await.unwrap().is_some() {
///     rest += 1;
/// }
/// let source = &running.control().progress()[0];
/// assert_eq!(source.taken, rest + 1);
/// # });
/// ```
pub struct Running<T, E> {
    control: Arc<Control<E>>,
    tasks: JoinSet<()>,
    output: mpsc::Receiver<Vec<T>>,
    chunk: vec::IntoIter<T>,
}

impl<T, E: Send + 'static> Running<T, E> {
    pub(super) fn new(
        control: Arc<Control<E>>,
        tasks: JoinSet<()>,
        output: mpsc::Receiver<Vec<T>>,
    ) -> Self {
        Self {
            control,
            tasks,
            output,
            chunk: Vec::new().into_iter(),
        }
    }

    /// The next item; `None` once the source has ended, everything has come out and every stage
    /// has ended. Not to read is what pushes back.
    ///
    /// Cancel-safe: an item that is not returned comes with the next call.
    ///
    /// # Errors
    ///
    /// The first failure, once, after what came out in spite of it.
    pub async fn recv(&mut self) -> Result<Option<T>, PipelineError<E>> {
        if self.chunk.len() == 0 {
            match self.recv_chunk().await? {
                Some(chunk) => self.chunk = chunk.into_iter(),
                None => return Ok(None),
            }
        }
        Ok(self.chunk.next())
    }

    /// The next items together, at least one; otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_chunk(&mut self) -> Result<Option<Vec<T>>, PipelineError<E>> {
        if self.chunk.len() > 0 {
            return Ok(Some(self.chunk.by_ref().collect()));
        }
        if let Some(chunk) = self.output.recv().await {
            return Ok(Some(chunk));
        }
        while let Some(ended) = self.tasks.join_next().await {
            // Calls into the caller's code are guarded; what is left is destructors.
            if let Some(panic) = ended.err().and_then(|e| e.try_into_panic().ok()) {
                self.control.fail(PipelineError::Panicked {
                    stage: "drop",
                    message: panic_message(&*panic),
                });
            }
        }
        self.control.take_failure().map_or(Ok(None), Err)
    }

    /// Stops it from elsewhere, and tells how far it is.
    #[must_use]
    pub fn control(&self) -> PipelineControl<E> {
        PipelineControl(Arc::clone(&self.control))
    }
}

impl<T, E> fmt::Debug for Running<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}
