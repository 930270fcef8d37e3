//! Combinators: laws, and cancellation at every poll.
#![cfg(feature = "rt")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use seawall_sync::combine::{first_n, first_ok, map_reduce, race, timeout_or};
use seawall_sync::testing::{at_every_poll, within_polls};
use tokio::time::{Instant, sleep};

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(future)
}

/// Ends after as many milliseconds.
async fn after(millis: u64) -> u64 {
    sleep(Duration::from_millis(millis)).await;
    millis
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Who ends first is first, and nobody waits for more than was asked for.
    #[test]
    fn the_first_come_first(times in prop::collection::vec(0u64..50, 0..20), n in 0usize..25) {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        block_on(async {
            let start = Instant::now();
            prop_assert_eq!(race(times.iter().copied().map(after)).await, sorted.first().copied());
            prop_assert_eq!(start.elapsed().as_millis() as u64, sorted.first().copied().unwrap_or(0));

            let start = Instant::now();
            let first = first_n(n, times.iter().copied().map(after)).await;
            let n = n.min(times.len());
            prop_assert_eq!(first.iter().map(|(_, time)| *time).collect::<Vec<_>>(), &sorted[..n]);
            prop_assert!(first.iter().all(|(place, time)| times[*place] == *time));
            prop_assert_eq!(start.elapsed().as_millis() as u64, if n == 0 { 0 } else { sorted[n - 1] });
            Ok(())
        })?;
    }

    /// What is there in time is there, in its place.
    #[test]
    fn late_ones_are_left_out(times in prop::collection::vec(0u64..50, 0..20), limit in 0u64..50) {
        let out = block_on(timeout_or(Duration::from_millis(limit), times.iter().copied().map(after)));
        for (output, time) in out.iter().zip(&times) {
            // At the very millisecond either may be first.
            prop_assert!(output.is_none() || *time <= limit);
            prop_assert!(output.is_some() || *time >= limit);
        }
        prop_assert_eq!(out.len(), times.len());
    }

    /// The sum is that of an iterator, and the limit holds.
    #[test]
    fn map_reduce_is_a_fold(times in prop::collection::vec(0u64..50, 0..40), limit in 0usize..6) {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let map = |time| {
            let (now, most) = (&now, &most);
            async move {
                most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                let time = after(time).await;
                now.fetch_sub(1, Relaxed);
                Ok::<_, ()>(time)
            }
        };
        let sum = block_on(map_reduce(times.iter().copied(), limit, map, 0, |sum, n| sum + n));
        prop_assert_eq!(sum, Ok(times.iter().sum::<u64>()));
        prop_assert!(most.load(Relaxed) <= limit.max(1));
    }
}

#[test]
fn an_error_takes_no_further_item() {
    let mut taken = 0;
    let items = (0..100).inspect(|_| taken += 1);
    let map = |n| async move { if n == 10 { Err(n) } else { Ok(n) } };
    assert_eq!(
        block_on(map_reduce(items, 4, map, 0, |sum, n| sum + n)),
        Err(10)
    );
    assert!(taken <= 14);
}

#[test]
fn a_success_need_not_be_first() {
    let futures = [(1, Err(1)), (2, Err(2)), (3, Ok(3)), (9, Ok(9))];
    let futures = futures.map(|(time, result)| async move {
        after(time).await;
        result
    });
    assert_eq!(block_on(first_ok(futures)), Ok(3));
}

#[tokio::test(start_paused = true)]
async fn dropped_at_every_poll_they_leave_nothing() {
    async fn leaves_nothing<F: Future>(polls: usize, make: impl FnOnce(Arc<()>) -> F) -> bool {
        let held = Arc::new(());
        let ended = within_polls(make(Arc::clone(&held)), polls).await.is_some();
        assert_eq!(Arc::strong_count(&held), 1);
        ended
    }
    fn futures(held: &Arc<()>) -> Vec<impl Future<Output = Result<u64, u64>> + use<>> {
        let wait = |time| {
            let held = Arc::clone(held);
            async move {
                after(time).await;
                drop(held);
                Err(time)
            }
        };
        [3, 1, 2].map(wait).into()
    }
    at_every_poll(|n| leaves_nothing(n, |held| race(futures(&held)))).await;
    at_every_poll(|n| leaves_nothing(n, |held| first_n(2, futures(&held)))).await;
    at_every_poll(|n| leaves_nothing(n, |held| first_ok(futures(&held)))).await;
    let limit = Duration::from_millis(2);
    at_every_poll(|n| leaves_nothing(n, |held| timeout_or(limit, futures(&held)))).await;
    at_every_poll(|n| {
        leaves_nothing(n, |held| {
            let invert = |result| Ok::<_, ()>(result);
            map_reduce(
                futures(&held),
                2,
                move |future| future.map(invert),
                (),
                |(), _| (),
            )
        })
    })
    .await;
}
