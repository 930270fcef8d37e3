//! How far each stage is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// Chunks that had to wait for room in the stage after. For a source these are signs of
    /// back-pressure; the stage after the last one that is often blocked is the narrowest.
    pub blocked: u64,
    /// Of the stage's workers, those that wait for room now.
    pub waiting: u64,
}

/// How many tasks count at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    One,
    Several,
}

#[derive(Debug)]
pub(super) struct Counters {
    pub(super) stage: &'static str,
    writers: Writers,
    taken: AtomicU64,
    emitted: AtomicU64,
    failed: AtomicU64,
    // Counted, not timed: reading the clock twice for each costs a tenth of the throughput.
    blocked: AtomicU64,
    waiting: AtomicU64,
}

impl Counters {
    pub(super) fn new(stage: &'static str, writers: Writers) -> Self {
        Self {
            stage,
            writers,
            taken: AtomicU64::new(0),
            emitted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }
    }

    pub(super) fn count_taken(&self, items: usize) {
        self.add(&self.taken, items);
    }

    pub(super) fn count_emitted(&self, items: usize) {
        self.add(&self.emitted, items);
    }

    fn add(&self, counter: &AtomicU64, items: usize) {
        // Twice a chunk in each stage, so that a locked instruction is felt.
        if self.writers == Writers::One {
            counter.store(counter.load(Relaxed) + items as u64, Relaxed);
        } else {
            counter.fetch_add(items as u64, Relaxed);
        }
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// A worker waits for room, until this is dropped.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self)
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
            blocked: self.blocked.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
        }
    }
}

pub(super) struct Waiting<'a>(&'a Counters);

impl Waiting<'_> {
    /// There is room: it was worth counting.
    pub(super) fn ended(self) {
        self.0.blocked.fetch_add(1, Relaxed);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
