//! Cancellation at every await point.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// What `future` returns, if it does so within `polls` polls; after them it is dropped.
pub(crate) async fn within_polls<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Calls `run` with 0, 1, 2, … polls until it answers that the future has come to its end.
/// Returns how many polls that took.
pub(crate) async fn at_every_poll<F: Future<Output = bool>>(
    mut run: impl FnMut(usize) -> F,
) -> usize {
    for polls in 0..10_000 {
        if run(polls).await {
            return polls;
        }
    }
    panic!("the future does not end");
}
