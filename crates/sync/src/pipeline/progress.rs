//! How far each stage is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What one stage has done so far. Read while the stage runs, the figures may lag one another by a
/// chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageProgress {
    /// The stage's name.
    pub stage: &'static str,
    /// Items taken from the stage before, or from outside by the source.
    pub taken: u64,
    /// Of these, the items whose results the stage after has room for; for a batch, the items in
    /// it.
    pub emitted: u64,
    /// Of these, the items that ended in an error or a panic.
    pub failed: u64,
    /// The rest: in the stage, or waiting for room after it.
    pub in_flight: u64,
    /// How long the stage has waited for room in the stage after, up to now; the sum over its
    /// workers. That of a source is time under back-pressure; the stage after the last one that
    /// was blocked is the narrowest.
    pub blocked: Duration,
}

#[derive(Debug)]
pub(super) struct Counters {
    pub(super) stage: &'static str,
    taken: AtomicU64,
    emitted: AtomicU64,
    failed: AtomicU64,
    /// Touched only when a stage has to wait.
    blocked: Mutex<BlockedTime>,
}

#[derive(Debug)]
struct BlockedTime {
    workers: u32,
    total: Duration,
    /// Up to when `total` has been counted.
    counted: Instant,
}

impl BlockedTime {
    fn count(&mut self) -> Duration {
        let now = Instant::now();
        self.total += self.workers * now.saturating_duration_since(self.counted);
        self.counted = now;
        self.total
    }
}

impl Counters {
    pub(super) fn new(stage: &'static str) -> Self {
        Self {
            stage,
            taken: AtomicU64::new(0),
            emitted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            blocked: Mutex::new(BlockedTime {
                workers: 0,
                total: Duration::ZERO,
                counted: Instant::now(),
            }),
        }
    }

    pub(super) fn count_taken(&self, items: usize) {
        self.taken.fetch_add(items as u64, Relaxed);
    }

    pub(super) fn count_emitted(&self, items: usize) {
        self.emitted.fetch_add(items as u64, Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Counts the time until it is dropped.
    pub(super) fn blocked(&self) -> Blocked<'_> {
        let mut blocked = self.blocked.lock();
        blocked.count();
        blocked.workers += 1;
        Blocked(self)
    }

    pub(super) fn progress(&self) -> StageProgress {
        // What an item adds to last is read first, so that nothing seems to leave before it came.
        let (emitted, failed) = (self.emitted.load(Relaxed), self.failed.load(Relaxed));
        let taken = self.taken.load(Relaxed);
        StageProgress {
            stage: self.stage,
            taken,
            emitted,
            failed,
            in_flight: taken.saturating_sub(emitted + failed),
            blocked: self.blocked.lock().count(),
        }
    }
}

pub(super) struct Blocked<'a>(&'a Counters);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        let mut blocked = self.0.blocked.lock();
        blocked.count();
        blocked.workers -= 1;
    }
}
