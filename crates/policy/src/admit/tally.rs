//! What every request writes, one copy per thread.
//!
//! The fields of one call lie in as few words as possible, because each costs one locked
//! addition (about 5 ns uncontended): a count and a sum of latencies share a word, and the time
//! integral of in-flight is kept as one running difference of finish and start times.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::lane::{LANES, Lane};
use crate::{Criticality, Outcome, Reason, Tick};

/// Interned routes that a gate can tell apart.
pub(super) const KEYS: usize = 256;
/// User cohorts within a criticality.
pub(super) const COHORTS: usize = 128;
/// Cells of the arrival histogram: cohorts by criticality, then one per criticality for calls
/// without a tenant, which are spread evenly.
pub(super) const CELLS: usize = 4 * COHORTS + 4;

/// A count (upper 20 bits) and a sum of durations in units of 64 ns (lower 44 bits, 13 days).
#[derive(Debug, Default)]
pub(super) struct CountSum(AtomicU64);

impl CountSum {
    #[inline]
    fn add(&self, nanos: u64) {
        self.0.fetch_add((1 << 44) | (nanos >> 6), Relaxed);
    }

    /// Takes the count and the sum in seconds, leaving zero.
    fn take(&self) -> (u32, f64) {
        if self.0.load(Relaxed) == 0 {
            return (0, 0.0);
        }
        let word = self.0.swap(0, Relaxed);
        ((word >> 44) as u32, (word & ((1 << 44) - 1)) as f64 * 64e-9)
    }
}

/// One thread's share of a gate's statistics.
#[derive(Debug)]
pub(super) struct Tally {
    /// Sum of finish times less sum of start times, weighted by cost, wrapping: with the number
    /// in flight at both ends it gives the integral of in-flight over a window.
    area: AtomicU64,
    stale: CountSum,
    fresh: CountSum,
    least: AtomicU64,
    other: [AtomicU32; 3],
    lanes: [AtomicI32; LANES],
    keys: [CountSum; KEYS],
    busy: [AtomicU64; LANES],
    cells: [AtomicU32; CELLS],
    under_way: AtomicU32,
    sequence: AtomicU32,
    admitted: [AtomicU64; 4],
    rejected: [[AtomicU64; 4]; Reason::ALL.len()],
    shadowed: [AtomicU64; Reason::ALL.len()],
}

/// What a window collected over all threads.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    pub(super) area: u64,
    pub(super) succeeded: (u32, f64),
    pub(super) fresh: (u32, f64),
    pub(super) least: Option<Duration>,
    pub(super) failed: u32,
    pub(super) overloaded: u32,
    pub(super) ignored: u32,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            area: AtomicU64::new(0),
            stale: CountSum::default(),
            fresh: CountSum::default(),
            least: AtomicU64::new(u64::MAX),
            other: Default::default(),
            lanes: Default::default(),
            keys: std::array::from_fn(|_| CountSum::default()),
            busy: Default::default(),
            cells: std::array::from_fn(|_| AtomicU32::new(0)),
            under_way: AtomicU32::new(0),
            sequence: AtomicU32::new(0),
            admitted: Default::default(),
            rejected: Default::default(),
            shadowed: Default::default(),
        }
    }

    #[inline]
    pub(super) fn started(&self, lane: Lane, criticality: Criticality, cost: u32, now: Tick) {
        self.area
            .fetch_sub(now.0.wrapping_mul(u64::from(cost)), Relaxed);
        self.lanes[lane.index()].fetch_add(cost as i32, Relaxed);
        self.admitted[criticality as usize].fetch_add(1, Relaxed);
    }

    #[inline]
    pub(super) fn finished(&self, call: &Finished, now: Tick) {
        let cost = u64::from(call.cost);
        self.area.fetch_add(now.0.wrapping_mul(cost), Relaxed);
        self.lanes[call.lane.index()].fetch_sub(call.cost as i32, Relaxed);
        match call.outcome {
            Outcome::Success => {
                let slot = if call.fresh { &self.fresh } else { &self.stale };
                slot.add(call.nanos);
                if call.nanos < self.least.load(Relaxed) {
                    self.least.fetch_min(call.nanos, Relaxed);
                }
            }
            other => {
                self.other[other as usize - 1].fetch_add(1, Relaxed);
            }
        }
        if call.outcome != Outcome::Ignored {
            self.keys[call.key].add(call.nanos);
            // Only a second lane needs telling apart; the default lane's time is the rest.
            if call.lane != Lane::DEFAULT {
                self.busy[call.lane.index()].fetch_add(call.nanos, Relaxed);
            }
        }
    }

    pub(super) fn lane_inflight(&self, lane: Lane) -> i32 {
        self.lanes[lane.index()].load(Relaxed)
    }

    /// A number that walks evenly through `0..=u32::MAX` (a Weyl sequence), one step a call.
    #[inline]
    pub(super) fn spread(&self) -> u32 {
        self.sequence
            .fetch_add(1, Relaxed)
            .wrapping_mul(0x9E37_79B1)
    }

    #[inline]
    pub(super) fn arrived(&self, cell: usize) {
        self.cells[cell].fetch_add(1, Relaxed);
    }

    #[inline]
    pub(super) fn arrived_under_way(&self) {
        self.under_way.fetch_add(1, Relaxed);
    }

    #[inline]
    pub(super) fn rejected(&self, reason: Reason, criticality: Criticality) {
        self.rejected[reason as usize][criticality as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn shadowed(&self, reason: Reason) {
        self.shadowed[reason as usize].fetch_add(1, Relaxed);
    }

    /// Moves the window's figures out.
    pub(super) fn harvest(&self, into: &mut Harvest) {
        into.area = into.area.wrapping_add(self.area.swap(0, Relaxed));
        let (stale, fresh) = (self.stale.take(), self.fresh.take());
        into.succeeded.0 += stale.0 + fresh.0;
        into.succeeded.1 += stale.1 + fresh.1;
        into.fresh.0 += fresh.0;
        into.fresh.1 += fresh.1;
        let least = self.least.swap(u64::MAX, Relaxed);
        if least != u64::MAX {
            let least = Duration::from_nanos(least);
            into.least = Some(into.least.map_or(least, |l| l.min(least)));
        }
        into.failed += self.other[0].swap(0, Relaxed);
        into.overloaded += self.other[1].swap(0, Relaxed);
        into.ignored += self.other[2].swap(0, Relaxed);
    }

    /// Adds the routes' calls and seconds, and the lanes' seconds, since the last review.
    pub(super) fn review(&self, routes: &mut [(f64, f64)], lanes: &mut [f64; LANES]) {
        for (route, key) in routes.iter_mut().zip(&self.keys) {
            let (calls, seconds) = key.take();
            route.0 += f64::from(calls);
            route.1 += seconds;
            lanes[0] += seconds;
        }
        for (lane, busy) in self.busy.iter().enumerate().skip(1) {
            let seconds = busy.swap(0, Relaxed) as f64 / 1e9;
            lanes[lane] += seconds;
            lanes[0] = (lanes[0] - seconds).max(0.0);
        }
    }

    /// Adds the arrivals by cell and the calls under way since the last control step.
    pub(super) fn arrivals(&self, cells: &mut [u32; CELLS], under_way: &mut u32) {
        for (sum, cell) in cells.iter_mut().zip(&self.cells) {
            *sum += cell.swap(0, Relaxed);
        }
        *under_way += self.under_way.swap(0, Relaxed);
    }

    pub(super) fn add_totals(&self, totals: &mut Totals) {
        for (c, admitted) in self.admitted.iter().enumerate() {
            totals.admitted[c] += admitted.load(Relaxed);
        }
        for (r, by_criticality) in self.rejected.iter().enumerate() {
            for (c, rejected) in by_criticality.iter().enumerate() {
                totals.rejected[r][c] += rejected.load(Relaxed);
            }
            totals.shadowed[r] += self.shadowed[r].load(Relaxed);
        }
    }
}

/// What a finished call leaves behind.
pub(super) struct Finished {
    pub(super) nanos: u64,
    pub(super) outcome: Outcome,
    pub(super) lane: Lane,
    pub(super) key: usize,
    pub(super) cost: u32,
    pub(super) fresh: bool,
}

/// Counts since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls that got a place, by criticality.
    pub admitted: [u64; 4],
    /// Calls turned away, by [`Reason`] and criticality.
    pub rejected: [[u64; 4]; Reason::ALL.len()],
    /// Calls that would have been turned away or made to wait, had the gate not been in shadow.
    pub shadowed: [u64; Reason::ALL.len()],
}

/// The state of a gate, for metrics and explanations. Cheap, but not for every request.
#[derive(Clone, Debug)]
pub struct GateSnapshot {
    /// The algorithm that sets the limit.
    pub algorithm: &'static str,
    /// Places in all.
    pub limit: u32,
    /// The concurrency that the origin really works on, where it is known.
    pub knee: Option<u32>,
    /// Places taken.
    pub inflight: u32,
    /// Calls in the queue.
    pub queued: u32,
    /// The longest that a call may wait in the queue at present.
    pub max_wait: Duration,
    /// Newest first: the queue did not empty for a whole interval.
    pub backed_up: bool,
    /// Share of each criticality that is admitted, 0 to 1, highest criticality first.
    pub level: [f64; 4],
    /// Long-lived replies that hold no place.
    pub streams: u32,
    /// The lanes in use.
    pub lanes: Vec<LaneSnapshot>,
    /// Routes that turned out slow.
    pub slow_keys: Vec<u8>,
    /// Counts since the start.
    pub totals: Totals,
}

/// The state of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneSnapshot {
    /// Which.
    pub lane: Lane,
    /// Places taken.
    pub inflight: u32,
    /// Calls in the queue.
    pub queued: u32,
    /// The most places it may take at present; `None` for all.
    pub cap: Option<u32>,
}
