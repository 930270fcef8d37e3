//! What tests of asynchronous code need: a future cancelled at every await point.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// What `future` returns, if it completes within `polls` polls; after them it is dropped, without
/// waiting for a wake that could not come any more.
pub async fn within_polls<F: Future>(future: F, polls: usize) -> Option<F::Output> {
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

/// Calls `run` with 0, 1, 2, … polls until it answers that what it gave them to
/// ([`within_polls`]) has completed. Returns how many polls that took.
///
/// # Panics
/// After 10,000 polls: the future does not end.
pub async fn at_every_poll(mut run: impl AsyncFnMut(usize) -> bool) -> usize {
    for polls in 0..10_000 {
        if run(polls).await {
            return polls;
        }
    }
    panic!("the future does not end");
}

/// Runs the future that `make` makes again and again, drops it after 0, 1, 2, … polls, until it
/// completes before its turn to be dropped; calls `check` after each drop with the number of polls.
/// So the future is cancelled at every await point that it waits at. Returns the number of polls
/// that it takes to complete.
///
/// # Panics
/// As [`at_every_poll`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use seawall_sync::testing::drop_after_each_poll;
/// use tokio::sync::Semaphore;
///
/// let places = Semaphore::new(1);
/// let polls = drop_after_each_poll(
///     || async {
///         let _place = places.acquire().await;
///         tokio::task::yield_now().await;
///     },
///     async |_polls| assert_eq!(places.available_permits(), 1),
/// )
/// .await;
/// assert_eq!(polls, 2);
/// # });
/// ```
pub async fn drop_after_each_poll<F: Future>(
    mut make: impl FnMut() -> F,
    mut check: impl AsyncFnMut(usize),
) -> usize {
    at_every_poll(async |polls| {
        let completed = within_polls(make(), polls).await.is_some();
        check(polls).await;
        completed
    })
    .await
}
