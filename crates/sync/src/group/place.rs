//! A place within a group's limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;

use crate::ambient::Ambient;
use crate::leak::Live;
use crate::tasks::{Entry, Turn};

type Permit = Option<OwnedSemaphorePermit>;

/// Taken, or stood in line for, when the task is spawned and not only when it is first polled: so
/// the line is that of the spawns, and who asks whether there is room sees those before it.
pub(super) enum Place {
    Taken { _permit: Permit },
    InLine(Pin<Box<dyn Future<Output = Permit> + Send>>),
}

impl Place {
    pub(super) fn stand_in_line(limit: Arc<Semaphore>) -> Self {
        if let Ok(permit) = limit.clone().try_acquire_owned() {
            return Self::Taken {
                _permit: Some(permit),
            };
        }
        // Nobody closes it.
        let turn = async move { limit.acquire_owned().await.ok() };
        let mut turn: Pin<Box<dyn Future<Output = Permit> + Send>> = Box::pin(unconstrained(turn));
        // The task's first poll brings the waker.
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(_permit) => Self::Taken { _permit },
            Poll::Pending => Self::InLine(turn),
        }
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::InLine(turn) = self {
            *self = match turn.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_permit) => Self::Taken { _permit },
            };
        }
        Poll::Ready(())
    }
}

/// What a task holds from its spawn to its end beside its future.
pub(super) trait Hold {
    /// Ready when the task may run.
    fn poll_begin(&mut self, ambient: &Ambient, cx: &mut Context<'_>) -> Poll<()>;

    /// Around each poll of what has begun.
    fn turn(&self) -> Option<Turn<'_>>;
}

/// Nothing, as without a limit: it costs no byte.
impl Hold for () {
    fn poll_begin(&mut self, _: &Ambient, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn turn(&self) -> Option<Turn<'_>> {
        None
    }
}

/// A place, and an entry in a leak check and on the board.
pub(super) struct Held {
    pub(super) place: Option<Place>,
    pub(super) begun: bool,
    pub(super) _live: Option<Live>,
    pub(super) entry: Option<Entry>,
}

impl Hold for Held {
    fn poll_begin(&mut self, ambient: &Ambient, cx: &mut Context<'_>) -> Poll<()> {
        if self.begun {
            return Poll::Ready(());
        }
        if let Some(place) = &mut self.place
            && place.poll_taken(cx).is_pending()
        {
            return Poll::Pending;
        }
        let scope = ambient.scope_of_group();
        if scope.is_some_and(|scope| scope.token().is_cancelled()) {
            // What gave this place up may have ended the group, which is yet to act.
            return Poll::Pending;
        }
        self.begun = true;
        Poll::Ready(())
    }
    fn turn(&self) -> Option<Turn<'_>> {
        self.entry.as_ref().map(Entry::turn)
    }
}
