//! Several futures as one: the first, the first that succeeds, what is there in time, all of them a
//! few at a time.
//!
//! All run in the calling task, one poll after another: cheap, free to borrow, and dropped with it.
//! What they compute uses one CPU; give these functions handles of spawned tasks where that is not
//! enough. Each is cancel-safe in that dropping it drops every future and nothing else happens; the
//! results that were there by then are dropped as well.
//!
//! Cost: one allocation for each future, and a future is polled only when it was woken.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::select;
use tokio::time::sleep;

/// The futures, each with its place.
fn numbered<I>(futures: I) -> FuturesUnordered<impl Future<Output = (usize, Output<I>)>>
where
    I: IntoIterator<Item: Future>,
{
    let number = |(place, future): (usize, I::Item)| async move { (place, future.await) };
    futures.into_iter().enumerate().map(number).collect()
}

type Output<I> = <<I as IntoIterator>::Item as Future>::Output;

/// The output of the future that ends first; the others are dropped. `None` where there are none.
///
/// ```
/// use seawall_sync::combine::race;
/// use std::future::{Ready, ready};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(race([ready("here")]).await, Some("here"));
/// assert_eq!(race(Vec::<Ready<()>>::new()).await, None);
/// # });
/// ```
pub async fn race<I>(futures: I) -> Option<Output<I>>
where
    I: IntoIterator<Item: Future>,
{
    let mut futures: FuturesUnordered<_> = futures.into_iter().collect();
    futures.next().await
}

/// The outputs of the `n` futures that end first, each with its place among the futures, in the
/// order in which they ended; the others are dropped. Fewer where there are fewer.
///
/// ```
/// use seawall_sync::combine::first_n;
/// use std::time::Duration;
///
/// # let mut runtime = tokio::runtime::Builder::new_current_thread();
/// # runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
/// let replicas = [30, 10, 20].map(|ms| async move {
///     tokio::time::sleep(Duration::from_millis(ms)).await;
///     ms
/// });
/// assert_eq!(first_n(2, replicas).await, [(1, 10), (2, 20)]);
/// # });
/// ```
pub async fn first_n<I>(n: usize, futures: I) -> Vec<(usize, Output<I>)>
where
    I: IntoIterator<Item: Future>,
{
    numbered(futures).take(n).collect().await
}

/// The first success; the others are dropped.
///
/// # Errors
///
/// Every error, in the order of the futures, when none succeeds; empty where there are none.
///
/// ```
/// use seawall_sync::combine::first_ok;
/// use std::future::ready;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mirrors = [ready(Err("down")), ready(Ok(7)), ready(Err("slow"))];
/// assert_eq!(first_ok(mirrors).await, Ok(7));
/// let mirrors: [_; 2] = [ready(Err::<(), _>("down")), ready(Err("slow"))];
/// assert_eq!(first_ok(mirrors).await, Err(vec!["down", "slow"]));
/// # });
/// ```
pub async fn first_ok<I, T, E>(futures: I) -> Result<T, Vec<E>>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    let (mut futures, mut errors) = (numbered(futures), Vec::new());
    while let Some((place, result)) = futures.next().await {
        match result {
            Ok(value) => return Ok(value),
            Err(error) => errors.push((place, error)),
        }
    }
    errors.sort_unstable_by_key(|(place, _)| *place);
    Err(errors.into_iter().map(|(_, error)| error).collect())
}

/// The outputs that are there within `limit`, in the order of the futures; `None` for those that
/// are not, which are dropped. Returns earlier when all are there.
///
/// An output that is ready when the time is up still counts.
///
/// ```
/// use seawall_sync::combine::timeout_or;
/// use std::time::Duration;
///
/// # let mut runtime = tokio::runtime::Builder::new_current_thread();
/// # runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
/// let parts = [10, 500].map(|ms| async move {
///     tokio::time::sleep(Duration::from_millis(ms)).await;
///     ms
/// });
/// assert_eq!(timeout_or(Duration::from_millis(100), parts).await, [Some(10), None]);
/// # });
/// ```
///
/// # Panics
///
/// Outside of a tokio runtime with its timer enabled.
pub async fn timeout_or<I>(limit: Duration, futures: I) -> Vec<Option<Output<I>>>
where
    I: IntoIterator<Item: Future>,
{
    let mut futures = numbered(futures);
    let mut outputs: Vec<_> = (0..futures.len()).map(|_| None).collect();
    let mut time_is_up = std::pin::pin!(sleep(limit));
    loop {
        select! {
            biased;
            next = futures.next() => match next {
                Some((place, output)) => outputs[place] = Some(output),
                None => return outputs,
            },
            () = &mut time_is_up => return outputs,
        }
    }
}

/// Applies `map` to each item, at most `limit` (at least 1) at once, and `reduce` to the results
/// as they come, in no particular order. Items are taken as there is room.
///
/// # Errors
///
/// The first error; what is under way is dropped, and no further item is taken.
///
/// ```
/// use seawall_sync::combine::map_reduce;
/// use std::convert::Infallible;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let square = |n: u64| async move { Ok::<_, Infallible>(n * n) };
/// let sum = map_reduce(1..=10, 4, square, 0, |sum, n| sum + n).await;
/// assert_eq!(sum, Ok(385));
/// # });
/// ```
pub async fn map_reduce<I, Fut, U, A, E>(
    items: I,
    limit: usize,
    mut map: impl FnMut(I::Item) -> Fut,
    start: A,
    mut reduce: impl FnMut(A, U) -> A,
) -> Result<A, E>
where
    I: IntoIterator,
    Fut: Future<Output = Result<U, E>>,
{
    let (mut items, mut sum) = (items.into_iter(), start);
    let mut under_way = FuturesUnordered::new();
    loop {
        let room = limit.max(1) - under_way.len();
        under_way.extend(items.by_ref().take(room).map(&mut map));
        match under_way.next().await {
            Some(result) => sum = reduce(sum, result?),
            None => return Ok(sum),
        }
    }
}
