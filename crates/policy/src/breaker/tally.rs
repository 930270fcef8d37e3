//! What every call writes, and what a window remembers of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_sync::{Shard, Sharded};

/// How many calls ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were answered.
    pub success: u64,
    /// Calls that failed, were refused by an overloaded origin, or were given up after
    /// `patience`.
    pub failure: u64,
    /// Of both, those that took as long as `slow.after`.
    pub slow: u64,
    /// Calls turned away here. Never part of a ratio of failures.
    pub rejected: u64,
    /// Calls let through as probes. Those that reported are among the successes and failures of a
    /// [`Throttle`](super::Throttle); a [`Window`](super::Window) keeps them apart.
    pub probes: u64,
}

impl Counts {
    /// Calls that measured the origin.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.success.saturating_add(self.failure)
    }

    fn each(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            success: op(self.success, other.success),
            failure: op(self.failure, other.failure),
            slow: op(self.slow, other.slow),
            rejected: op(self.rejected, other.rejected),
            probes: op(self.probes, other.probes),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.each(other, u64::wrapping_sub)
    }
}

#[derive(Debug, Default)]
struct Cell {
    success: AtomicU64,
    failure: AtomicU64,
    slow: AtomicU64,
    rejected: AtomicU64,
    probes: AtomicU64,
}

/// Counts since the beginning, one copy a thread. They only grow: a window is the difference of
/// two readings, so nobody has to reset what others write.
#[derive(Debug)]
pub(super) struct Tally(Sharded<Cell>);

impl Tally {
    pub(super) fn new(shards: usize) -> Self {
        Self(Sharded::new(shards, Cell::default))
    }

    pub(super) fn shards(&self) -> u64 {
        self.0.count() as u64
    }

    /// Counts a success; the calls on this shard so far.
    #[inline]
    pub(super) fn success(&self) -> u64 {
        let cell = self.0.get(Shard::current());
        cell.success
            .fetch_add(1, Relaxed)
            .wrapping_add(1)
            .wrapping_add(cell.failure.load(Relaxed))
    }

    #[inline]
    pub(super) fn failure(&self) {
        let cell = self.0.get(Shard::current());
        cell.failure.fetch_add(1, Relaxed);
    }

    pub(super) fn slow(&self) {
        self.0.get(Shard::current()).slow.fetch_add(1, Relaxed);
    }

    #[inline]
    pub(super) fn rejected(&self) {
        let cell = self.0.get(Shard::current());
        cell.rejected.fetch_add(1, Relaxed);
    }

    pub(super) fn probe(&self) {
        self.0.get(Shard::current()).probes.fetch_add(1, Relaxed);
    }

    pub(super) fn total(&self) -> Counts {
        self.0.iter().fold(Counts::default(), |sum, cell| {
            sum.plus(Counts {
                success: cell.success.load(Relaxed),
                failure: cell.failure.load(Relaxed),
                slow: cell.slow.load(Relaxed),
                rejected: cell.rejected.load(Relaxed),
                probes: cell.probes.load(Relaxed),
            })
        })
    }
}

/// The end of the present bucket, as a call looks at it.
#[derive(Debug)]
pub(super) struct Edge {
    began: AtomicU64,
    width: u64,
}

impl Edge {
    pub(super) fn new(history: &History) -> Self {
        let width = match history.slide {
            Slide::Time { width, .. } => width,
            Slide::Count { .. } => u64::MAX / 4,
        };
        Self {
            began: AtomicU64::new(history.began()),
            width,
        }
    }

    /// Whether the bucket is over. Not in the one before it: another thread has read the clock a
    /// little later; but further back, where the clock was set back.
    #[inline]
    pub(super) fn is_past(&self, now: u64) -> bool {
        let since = now.wrapping_sub(self.began.load(Relaxed));
        since.wrapping_add(self.width) >= 2 * self.width
    }

    pub(super) fn set(&self, history: &History) {
        self.began.store(history.began(), Relaxed);
    }
}

/// The past of a window, in buckets, and how it slides.
///
/// Off the hot path: a call only notices that the present bucket is over.
#[derive(Debug)]
pub(super) struct History {
    slide: Slide,
    buckets: VecDeque<(u64, Counts)>,
    /// Sum of the buckets.
    past: Counts,
    /// The tally when the present bucket began.
    base: Counts,
    /// The present bucket, where buckets are times.
    at: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Slide {
    /// The present bucket of `width` nanoseconds and the `keep` − 1 before it.
    Time { width: u64, keep: u64 },
    /// At least the latest `calls`, in chunks of at least `chunk`.
    Count { calls: u64, chunk: u64 },
}

impl History {
    pub(super) fn new(slide: Slide, now: u64) -> Self {
        let room = match slide {
            Slide::Time { keep, .. } => keep,
            Slide::Count { calls, chunk } => calls.div_ceil(chunk) + 1,
        };
        Self {
            slide,
            buckets: VecDeque::with_capacity(room as usize),
            past: Counts::default(),
            base: Counts::default(),
            at: Self::bucket(slide, now),
        }
    }

    fn bucket(slide: Slide, now: u64) -> u64 {
        match slide {
            Slide::Time { width, .. } => now / width,
            Slide::Count { .. } => 0,
        }
    }

    /// When the present bucket began; zero where buckets are counts.
    pub(super) fn began(&self) -> u64 {
        match self.slide {
            Slide::Time { width, .. } => self.at.saturating_mul(width),
            Slide::Count { .. } => 0,
        }
    }

    /// Forgets everything up to `total`.
    pub(super) fn clear(&mut self, total: Counts, now: u64) {
        self.buckets.clear();
        self.past = Counts::default();
        self.base = total;
        self.at = Self::bucket(self.slide, now);
    }

    /// Slides to `now`. A step back of up to a window is a thread's older reading of the clock and
    /// changes nothing; a longer one is a clock that was set back, and clears the past.
    pub(super) fn slide(&mut self, total: Counts, now: u64) {
        match self.slide {
            Slide::Time { keep, .. } => {
                let at = Self::bucket(self.slide, now);
                if at > self.at {
                    self.close(total);
                    self.at = at;
                } else if self.at - at > keep {
                    self.clear(total, now);
                }
                while let Some(&(old, counts)) = self.buckets.front()
                    && self.at - old >= keep
                {
                    self.drop_front(counts);
                }
            }
            Slide::Count { calls, chunk } => {
                if total.minus(self.base).calls() < chunk {
                    return;
                }
                self.close(total);
                while let Some(&(_, oldest)) = self.buckets.front()
                    && self.past.calls() - oldest.calls() >= calls
                {
                    self.drop_front(oldest);
                }
            }
        }
    }

    fn close(&mut self, total: Counts) {
        let counts = total.minus(self.base);
        self.base = total;
        self.past = self.past.plus(counts);
        self.buckets.push_back((self.at, counts));
    }

    fn drop_front(&mut self, counts: Counts) {
        self.past = self.past.minus(counts);
        self.buckets.pop_front();
    }

    /// The window's counts, the present bucket's among them.
    pub(super) fn window(&self, total: Counts) -> Counts {
        self.past.plus(total.minus(self.base))
    }

    /// The past, the newest bucket first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Counts> {
        self.buckets.iter().rev().map(|(_, counts)| counts)
    }
}
