//! The task behind a part of a program.

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::sync::CancellationToken;

/// A task that is started once, waited for at the drain, and cut at the stop.
#[derive(Debug, Default)]
pub(super) struct Running {
    task: Mutex<Option<AbortHandle>>,
    ended: CancellationToken,
}

impl Running {
    /// Starts it.
    pub(super) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        let task = tokio::spawn(async move {
            // However it ends: by itself, by a panic or cut.
            let _ended = ended.drop_guard();
            work.await;
        });
        *self.task.lock() = Some(task.abort_handle());
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Cuts it at its next await, and waits until it has ended.
    pub(super) async fn cut(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.ended().await;
    }
}
