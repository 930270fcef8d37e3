//! A place within a group's limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;

use super::Scope;

type Permit = Option<OwnedSemaphorePermit>;

/// Taken, or stood in line for, when the task is spawned and not only when it is first polled: so
/// the line is that of the spawns, and who asks whether there is room sees those before it.
pub(super) enum Place {
    Taken(OwnedSemaphorePermit),
    InLine(Pin<Box<dyn Future<Output = Permit> + Send>>),
}

impl Place {
    pub(super) fn stand_in_line(limit: Arc<Semaphore>) -> Self {
        if let Ok(permit) = limit.clone().try_acquire_owned() {
            return Self::Taken(permit);
        }
        // Nobody closes it.
        let turn = async move { limit.acquire_owned().await.ok() };
        let mut turn: Pin<Box<dyn Future<Output = Permit> + Send>> = Box::pin(unconstrained(turn));
        // The task's first poll brings the waker.
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(permit)) => Self::Taken(permit),
            Poll::Ready(None) => Self::InLine(Box::pin(std::future::ready(None))),
            Poll::Pending => Self::InLine(turn),
        }
    }

    pub(super) async fn taken(self) -> Permit {
        match self {
            Self::Taken(permit) => Some(permit),
            Self::InLine(turn) => turn.await,
        }
    }
}

/// Tells the scope of a failure before the place is given up, lest who waits for it begin.
pub(super) struct Failing<'a> {
    pub(super) scope: &'a Scope,
    pub(super) index: usize,
}

impl Failing<'_> {
    pub(super) fn tell(&self) {
        self.scope.failed(self.index);
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
    }
}
