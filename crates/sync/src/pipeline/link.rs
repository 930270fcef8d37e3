//! What a stage has in hand: its input, its output, and where to report.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::control::{Control, PipelineError, panic_message};
use super::progress::Counters;

/// The stage after this one is gone, which it only is when all end.
pub(super) struct Gone;

pub(super) struct Inlet<T> {
    pub(super) chunks: mpsc::Receiver<Vec<T>>,
    pub(super) counters: Arc<Counters>,
}

impl<T> Inlet<T> {
    pub(super) async fn recv(&mut self) -> Option<Vec<T>> {
        let chunk = self.chunks.recv().await?;
        self.counters.count_taken(chunk.len());
        Some(chunk)
    }
}

pub(super) struct Outlet<U> {
    chunks: mpsc::Sender<Vec<U>>,
    counters: Arc<Counters>,
}

impl<U> Clone for Outlet<U> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl<U> Outlet<U> {
    pub(super) fn new(chunks: mpsc::Sender<Vec<U>>, counters: Arc<Counters>) -> Self {
        Self { chunks, counters }
    }

    pub(super) async fn send(&self, chunk: Vec<U>) -> Result<(), Gone> {
        let items = chunk.len();
        self.send_counted(chunk, items).await
    }

    /// For a chunk whose values stand for another number of items.
    pub(super) async fn send_counted(&self, chunk: Vec<U>, items: usize) -> Result<(), Gone> {
        if !chunk.is_empty() {
            self.room().await?.send(chunk);
            self.counters.count_emitted(items);
        }
        Ok(())
    }

    /// Waits for room for one chunk. Cancel-safe.
    pub(super) async fn room(&self) -> Result<mpsc::Permit<'_, Vec<U>>, Gone> {
        match self.chunks.try_reserve() {
            Ok(permit) => Ok(permit),
            Err(mpsc::error::TrySendError::Closed(())) => Err(Gone),
            Err(mpsc::error::TrySendError::Full(())) => {
                let waiting = self.counters.waiting();
                let room = self.chunks.reserve().await.map_err(|_| Gone)?;
                waiting.ended();
                Ok(room)
            }
        }
    }
}

/// A stage's place in its pipeline.
pub(super) struct Site<E> {
    pub(super) counters: Arc<Counters>,
    pub(super) control: Arc<Control<E>>,
    /// The most items in a chunk.
    pub(super) chunk: usize,
}

impl<E> Clone for Site<E> {
    fn clone(&self) -> Self {
        Self {
            counters: Arc::clone(&self.counters),
            control: Arc::clone(&self.control),
            chunk: self.chunk,
        }
    }
}

impl<E: Send + 'static> Site<E> {
    /// An item has failed.
    pub(super) fn failed(&self, error: E) {
        self.counters.count_failed();
        self.control.fail(PipelineError::Failed {
            stage: self.counters.stage,
            error,
        });
    }

    /// An item has panicked.
    pub(super) fn panicked(&self, panic: &(dyn Any + Send)) {
        self.counters.count_failed();
        self.source_panicked(panic);
    }

    /// A source has panicked, which takes no item.
    pub(super) fn source_panicked(&self, panic: &(dyn Any + Send)) {
        self.control.fail(PipelineError::Panicked {
            stage: self.counters.stage,
            message: panic_message(panic),
        });
    }

    /// Applies `call` to each item, less those that fail; `None` where a failure ends everything.
    pub(super) fn apply<T, U>(
        &self,
        chunk: Vec<T>,
        call: &mut impl FnMut(T) -> Result<U, E>,
    ) -> Option<Vec<U>> {
        // Both ways reuse the chunk's memory where the results fit: to allocate on one thread what
        // another frees would cost more than the channels do.
        if self.control.drains() {
            let each = |item| match catch_unwind(AssertUnwindSafe(|| call(item))) {
                Ok(Ok(result)) => Some(result),
                Ok(Err(error)) => {
                    self.failed(error);
                    None
                }
                Err(panic) => {
                    self.panicked(&*panic);
                    None
                }
            };
            return Some(chunk.into_iter().filter_map(each).collect());
        }
        // A panic may take the rest of the chunk with it, so one guard for all will do.
        let all = AssertUnwindSafe(|| chunk.into_iter().map(call).collect());
        match catch_unwind(all) {
            Ok(Ok(results)) => return Some(results),
            Ok(Err(error)) => self.failed(error),
            Err(panic) => self.panicked(&*panic),
        }
        None
    }
}
