//! A resource that there is only so much of, planted for benches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Slots, each held for a time; whoever finds none waits in line. Clones share them.
#[derive(Clone, Debug)]
pub struct Scarce {
    slots: Arc<Semaphore>,
    service_time: Duration,
}

impl Scarce {
    /// So many slots, each held for so long; costs nothing where that is no time at all.
    #[must_use]
    pub fn new(slots: usize, service_time: Duration) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            service_time,
        }
    }

    /// Waits for a slot and holds it. Whoever leaves while waiting leaves the line; whoever leaves
    /// later does not free the slot, as a statement goes on in a database that nobody waits for.
    pub async fn work(&self) {
        if self.service_time.is_zero() {
            return;
        }
        // Nobody closes it.
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return;
        };
        let held = self.service_time;
        let work = tokio::spawn(async move {
            tokio::time::sleep(held).await;
            drop(slot);
        });
        // It neither panics nor is it cancelled.
        let _ = work.await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::{Instant, timeout};

    use super::*;

    const HELD: Duration = Duration::from_millis(40);

    #[tokio::test(start_paused = true)]
    async fn capacity_is_slots_over_service_time() {
        let scarce = Scarce::new(4, HELD);
        let begin = Instant::now();
        futures_util::future::join_all((0..12).map(|_| scarce.work())).await;
        assert_eq!(begin.elapsed(), 3 * HELD);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_frees_the_line_and_not_the_slot() {
        let scarce = Scarce::new(1, HELD);
        assert!(timeout(HELD / 2, scarce.work()).await.is_err());
        assert!(
            scarce.work().now_or_never().is_none(),
            "left the line at once"
        );
        let begin = Instant::now();
        scarce.work().await;
        assert_eq!(begin.elapsed(), HELD / 2 + HELD);
    }

    #[tokio::test]
    async fn nothing_is_scarce_that_takes_no_time() {
        assert!(
            Scarce::new(1, Duration::ZERO)
                .work()
                .now_or_never()
                .is_some()
        );
    }
}
