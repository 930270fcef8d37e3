//! The future around each task: its place, its ambient, its panics, its end.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::TaskError;
use super::place::Hold;
use crate::ambient::{Ambient, Entered};
use crate::panics;

pin_project! {
    /// Holds the ambient of its group, which leads to the group's scope, so that a waiting task
    /// costs its future and three words, and whatever `H` is.
    pub(super) struct Task<F, H> {
        #[pin]
        future: Option<F>,
        ambient: Ambient,
        index: usize,
        hold: H,
    }

    impl<F, H> PinnedDrop for Task<F, H> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_none() {
                return;
            }
            let panic = {
                let _entered = Entered::new(this.ambient);
                catch(|| this.future.set(None)).err()
            };
            if let Some(scope) = this.ambient.scope_of_group() {
                if panic.is_some() {
                    scope.failed(*this.index);
                }
                scope.dropped(*this.index, panic);
            }
        }
    }
}

impl<F, H> Task<F, H> {
    pub(super) fn new(index: usize, future: F, ambient: Ambient, hold: H) -> Self {
        Self {
            future: Some(future),
            ambient,
            index,
            hold,
        }
    }
}

/// The index of a task that was not dropped, and how it ended. The error is boxed, so that tasks
/// with small results stay within two cache lines.
pub(super) type Ended<T, E> = (usize, Result<T, Box<TaskError<E>>>);

impl<F, H, T, E> Future for Task<F, H>
where
    F: Future<Output = Result<T, E>>,
    H: Hold,
{
    type Output = Ended<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.hold.poll_begin(this.ambient, cx).is_pending() {
            return Poll::Pending;
        }
        let polled = {
            let _turn = this.hold.turn();
            let _entered = Entered::new(this.ambient);
            catch(|| {
                let future = this.future.as_mut().as_pin_mut();
                let polled = future.expect("a task is not polled after its end").poll(cx);
                if polled.is_ready() {
                    this.future.set(None);
                }
                polled
            })
        };
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result.map_err(|error| Box::new(TaskError::Failed(error))),
            Err(message) => {
                // What the panic left of the task is dropped once more with its ambient.
                let _entered = Entered::new(this.ambient);
                let _ = catch(|| this.future.set(None));
                Err(Box::new(TaskError::Panicked { message }))
            }
        };
        // Before the place is given up, which `hold` is until this is dropped: who waits for it must
        // not begin.
        if result.is_err()
            && let Some(scope) = this.ambient.scope_of_group()
        {
            scope.failed(*this.index);
        }
        Poll::Ready((*this.index, result))
    }
}

fn catch<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload: Box<dyn Any + Send>| panics::message(payload))
}
