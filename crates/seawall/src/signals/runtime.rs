//! How long a ready task waits for its turn.

use std::convert::Infallible;
use std::time::Duration;

use super::gauge::PeakGauge;
use crate::clock::Clock;

/// How often the delay is probed.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// Measures the scheduling delay of the runtime that it runs on, for ever: spawn one on each.
///
/// Every [`PROBE_INTERVAL`] it yields once and records how long it takes to be run again, which is
/// what any task waits that has just become ready: the tasks before it in the queue, and a task
/// that blocks. Unlike the lateness of a timer this has no granularity of its own: tokio's timers
/// round up to a millisecond, the yield costs microseconds when the runtime is idle.
///
/// Cancel-safe: dropping it ends the measuring.
///
/// ```
/// use seawall::clock::Clock;
/// use seawall::signals::{PeakGauge, scheduling_delay};
/// use std::{sync::Arc, time::Duration};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let delay = Arc::new(PeakGauge::new(Duration::from_secs(1)));
/// let probe = delay.clone();
/// let task = tokio::spawn(async move { scheduling_delay(&probe, &Clock::system()).await });
/// // delay.get(now) tells from now on
/// task.abort();
/// # });
/// ```
pub async fn scheduling_delay(gauge: &PeakGauge, clock: &Clock) -> Infallible {
    loop {
        let ready = clock.now();
        tokio::task::yield_now().await;
        let now = clock.now();
        gauge.record(now.since(ready), now);
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_task_that_blocks_shows() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (clock, gauge) = (
                Clock::manual(),
                Arc::new(PeakGauge::new(Duration::from_secs(1))),
            );
            let (probe, probe_clock) = (Arc::clone(&gauge), clock.clone());
            let task = tokio::spawn(async move { scheduling_delay(&probe, &probe_clock).await });
            // Spawned behind it, so it runs while the probe waits for its next turn.
            let blocker_clock = clock.clone();
            let blocker =
                tokio::spawn(async move { blocker_clock.advance(Duration::from_millis(7)) });
            blocker.await.unwrap();
            while gauge.get(clock.now()).is_zero() {
                tokio::task::yield_now().await;
            }
            let delay = gauge.get(clock.now());
            assert!(
                delay.abs_diff(Duration::from_millis(7)) < Duration::from_micros(1),
                "{delay:?}"
            );
            task.abort();
        });
    }
}
