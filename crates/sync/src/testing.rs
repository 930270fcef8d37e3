//! What tests of asynchronous code need.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Runs the future that `make` makes again and again, drops it after 0, 1, 2, … polls, until it
/// completes before its turn to be dropped; calls `check` after each drop with the number of polls.
/// So the future is cancelled at every await point that it waits at. Returns the number of polls
/// that it takes to complete.
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
    let mut allowed = 0;
    loop {
        let polls = polls_until(make(), allowed).await;
        check(allowed).await;
        match polls {
            Some(polls) => return polls,
            None => allowed += 1,
        }
    }
}

/// Polls until completion, at most `allowed` times, and drops the future. How many polls it took,
/// or none if it did not complete.
async fn polls_until<F: Future>(future: F, allowed: usize) -> Option<usize> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        if polls == allowed {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(Some(polls)),
            // After the last one it is not worth waiting for a wake.
            Poll::Pending if polls == allowed => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
