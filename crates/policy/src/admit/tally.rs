//! What every request writes, one copy per thread.
//!
//! A copy lies behind a lock of its own, which is all but never contended: taking and releasing
//! it are the only locked instructions that a call pays for, twice, and everything else is plain
//! arithmetic. (One atomic addition per figure came to eight of them, and twice the time.)

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
// Here for the places, which `tests/loom.rs` compiles a second time over words of loom's.
pub(super) use std::sync::atomic::AtomicU32;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::lane::{LANES, Lane};
use crate::{Criticality, Outcome, Reason, Tick};

/// Interned routes that a gate can tell apart.
pub(super) const KEYS: usize = 256;
/// User cohorts within a criticality.
pub(super) const COHORTS: usize = 128;
/// Cells of the arrival histogram: cohorts by criticality, then one per criticality for calls
/// without a tenant, which are spread evenly.
pub(super) const CELLS: usize = 4 * COHORTS + 4;

/// A count and a sum of seconds.
pub(super) type CountSum = (u32, f64);

/// One thread's share of a gate's statistics.
#[derive(Debug)]
pub(super) struct Tally {
    figures: Mutex<Figures>,
    /// Places at hand for this shard's calls. Written under the lock, read by anyone.
    spare: AtomicU32,
    /// Places taken by lane, less those given back on this shard. Written under the lock.
    lanes: [AtomicI32; LANES],
}

#[derive(Debug)]
pub(super) struct Figures {
    /// Sum of finish times less sum of start times, weighted by cost, wrapping: with the number
    /// in flight at both ends it gives the integral of in-flight over a window.
    area: u64,
    /// Successes by route: admitted under an earlier limit, and under the present one.
    stale: [(u32, u64); KEYS],
    fresh: [(u32, u64); KEYS],
    least: u64,
    other: [u32; 3],
    gave_up: u32,
    busy: [u64; LANES],
    /// Calls that ended, by lane, but for the ignored.
    done: [u32; LANES],
    /// Arrivals by lane and cell; a lane's table is there from its first overload on.
    cells: [Option<Box<[u32; CELLS]>>; LANES],
    under_way: [u32; LANES],
    sequence: u32,
    totals: Totals,
}

/// What was collected over all threads: the window's figures, and since the last review the calls
/// and seconds of each route.
#[derive(Debug)]
pub(super) struct Harvest {
    pub(super) area: u64,
    pub(super) succeeded: CountSum,
    pub(super) fresh: CountSum,
    pub(super) least: Option<Duration>,
    pub(super) failed: u32,
    pub(super) overloaded: u32,
    pub(super) ignored: u32,
    pub(super) gave_up: u32,
    pub(super) done: [u32; LANES],
    pub(super) routes: Box<[(f64, f64); KEYS]>,
}

impl Harvest {
    pub(super) fn new() -> Self {
        Self {
            area: 0,
            succeeded: (0, 0.0),
            fresh: (0, 0.0),
            least: None,
            failed: 0,
            overloaded: 0,
            ignored: 0,
            gave_up: 0,
            done: [0; LANES],
            routes: Box::new([(0.0, 0.0); KEYS]),
        }
    }

    /// Begins a new window; what the next review looks at stays.
    pub(super) fn next_window(&mut self) {
        (self.area, self.succeeded, self.fresh, self.least) = (0, (0, 0.0), (0, 0.0), None);
        (self.failed, self.overloaded) = (0, 0);
        (self.ignored, self.gave_up) = (0, 0);
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        let figures = Figures {
            area: 0,
            stale: [(0, 0); KEYS],
            fresh: [(0, 0); KEYS],
            least: u64::MAX,
            other: [0; 3],
            gave_up: 0,
            busy: [0; LANES],
            done: [0; LANES],
            cells: Default::default(),
            under_way: [0; LANES],
            sequence: 0,
            totals: Totals::default(),
        };
        Self {
            figures: Mutex::new(figures),
            spare: AtomicU32::new(0),
            lanes: Default::default(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> Held<'_> {
        Held {
            figures: self.figures.lock(),
            tally: self,
        }
    }

    pub(super) fn lane_inflight(&self, lane: Lane) -> i32 {
        self.lanes[lane.index()].load(Relaxed)
    }

    pub(super) fn spare(&self) -> u32 {
        self.spare.load(Relaxed)
    }
}

/// A shard's figures, held.
pub(super) struct Held<'a> {
    figures: MutexGuard<'a, Figures>,
    tally: &'a Tally,
}

impl Held<'_> {
    #[inline]
    pub(super) fn spare(&self) -> u32 {
        self.tally.spare.load(Relaxed)
    }

    #[inline]
    pub(super) fn set_spare(&mut self, spare: u32) {
        self.tally.spare.store(spare, Relaxed);
    }

    #[inline]
    fn add_to_lane(&mut self, lane: Lane, cost: i32) {
        let held = &self.tally.lanes[lane.index()];
        held.store(held.load(Relaxed).wrapping_add(cost), Relaxed);
    }

    #[inline]
    pub(super) fn started(&mut self, lane: Lane, criticality: Criticality, cost: u32, now: Tick) {
        self.add_to_lane(lane, cost as i32);
        let figures = &mut *self.figures;
        figures.area = figures
            .area
            .wrapping_sub(now.0.wrapping_mul(u64::from(cost)));
        figures.totals.admitted[criticality as usize] += 1;
    }

    #[inline]
    pub(super) fn finished(&mut self, call: &Finished, now: Tick) {
        self.add_to_lane(call.lane, -(call.cost as i32));
        let figures = &mut *self.figures;
        figures.area = figures
            .area
            .wrapping_add(now.0.wrapping_mul(u64::from(call.cost)));
        figures.done[call.lane.index()] += u32::from(call.outcome != Outcome::Ignored);
        if call.outcome != Outcome::Success {
            figures.other[call.outcome as usize - 1] += 1;
            figures.gave_up += u32::from(call.gave_up && call.outcome == Outcome::Ignored);
            return;
        }
        let keys = if call.fresh {
            &mut figures.fresh
        } else {
            &mut figures.stale
        };
        let (count, nanos) = &mut keys[call.key];
        *count += 1;
        *nanos += call.nanos;
        figures.least = figures.least.min(call.nanos);
        // Only a second lane needs telling apart; the default lane's time is the rest.
        if call.lane != Lane::DEFAULT {
            figures.busy[call.lane.index()] += call.nanos;
        }
    }

    /// A number that walks evenly through `0..=u32::MAX` (a Weyl sequence), one step a call.
    #[inline]
    pub(super) fn spread(&mut self) -> u32 {
        self.figures.sequence = self.figures.sequence.wrapping_add(0x9E37_79B1);
        self.figures.sequence
    }

    pub(super) fn arrived(&mut self, lane: Lane, cell: usize) {
        let cells = &mut self.figures.cells[lane.index()];
        cells.get_or_insert_with(|| Box::new([0; CELLS]))[cell] += 1;
    }

    pub(super) fn arrived_under_way(&mut self, lane: Lane) {
        self.figures.under_way[lane.index()] += 1;
    }

    #[inline]
    pub(super) fn rejected(&mut self, reason: Reason, criticality: Criticality) {
        self.figures.totals.rejected[reason as usize][criticality as usize] += 1;
    }

    pub(super) fn shadowed(&mut self, reason: Reason) {
        self.figures.totals.shadowed[reason as usize] += 1;
    }

    /// Moves the window's figures out.
    pub(super) fn harvest(&mut self, into: &mut Harvest) {
        let figures = &mut *self.figures;
        into.area = into.area.wrapping_add(std::mem::take(&mut figures.area));
        for (key, (stale, fresh)) in figures.stale.iter_mut().zip(&mut figures.fresh).enumerate() {
            if stale.0 + fresh.0 == 0 {
                continue;
            }
            let (stale, fresh) = (std::mem::take(stale), std::mem::take(fresh));
            let both = (stale.0 + fresh.0, (stale.1 + fresh.1) as f64 / 1e9);
            into.succeeded.0 += both.0;
            into.succeeded.1 += both.1;
            into.fresh.0 += fresh.0;
            into.fresh.1 += fresh.1 as f64 / 1e9;
            into.routes[key].0 += f64::from(both.0);
            into.routes[key].1 += both.1;
        }
        let least = std::mem::replace(&mut figures.least, u64::MAX);
        if least != u64::MAX {
            let least = Duration::from_nanos(least);
            into.least = Some(into.least.map_or(least, |l| l.min(least)));
        }
        for (sum, done) in into.done.iter_mut().zip(&mut figures.done) {
            *sum += std::mem::take(done);
        }
        let [failed, overloaded, ignored] = std::mem::take(&mut figures.other);
        into.failed += failed;
        into.overloaded += overloaded;
        into.ignored += ignored;
        into.gave_up += std::mem::take(&mut figures.gave_up);
    }

    /// Adds the seconds that calls of each but the default lane took since the last review.
    pub(super) fn busy(&mut self, lanes: &mut [f64; LANES]) {
        for (sum, busy) in lanes.iter_mut().zip(&mut self.figures.busy) {
            *sum += std::mem::take(busy) as f64 / 1e9;
        }
    }

    /// Adds a lane's arrivals by cell, and its calls under way, since the last control step.
    pub(super) fn arrivals(&mut self, lane: Lane, cells: &mut [u32; CELLS], under_way: &mut u32) {
        if let Some(own) = &mut self.figures.cells[lane.index()] {
            for (sum, cell) in cells.iter_mut().zip(own.iter_mut()) {
                *sum += std::mem::take(cell);
            }
        }
        *under_way += std::mem::take(&mut self.figures.under_way[lane.index()]);
    }

    /// Undoes [`Held::arrivals`].
    pub(super) fn put_back(&mut self, lane: Lane, cells: &[u32; CELLS], under_way: u32) {
        if let Some(own) = &mut self.figures.cells[lane.index()] {
            for (cell, sum) in own.iter_mut().zip(cells) {
                *cell += sum;
            }
        }
        self.figures.under_way[lane.index()] += under_way;
    }

    pub(super) fn add_totals(&self, totals: &mut Totals) {
        let own = &self.figures.totals;
        for c in 0..4 {
            totals.admitted[c] += own.admitted[c];
        }
        for r in 0..Reason::ALL.len() {
            totals.shadowed[r] += own.shadowed[r];
            for c in 0..4 {
                totals.rejected[r][c] += own.rejected[r][c];
            }
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
    /// Lasted longer than callers without a reason of their own stay away from.
    pub(super) gave_up: bool,
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
