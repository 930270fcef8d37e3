//! What a gate shows of itself, for metrics and explanations. Nothing here decides.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::core::Core;
use super::gate::{Gate, Waiter};
use super::lane::{LANES, Lane};
use super::level::Level;
use super::tally::Totals;

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
    /// The longest that a call may wait in the default lane's queue at present.
    pub max_wait: Duration,
    /// Some lane's queue is backed up.
    pub backed_up: bool,
    /// Share of each criticality that is admitted in the lane that admits least, 0 to 1, highest
    /// criticality first.
    pub level: [f64; 4],
    /// Long-lived replies that hold no place.
    pub streams: u32,
    /// The CPU reading last taken in, 0 to 1.
    pub cpu: Option<f64>,
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
    /// Newest first: the queue did not empty for a whole interval.
    pub backed_up: bool,
    /// The longest that a call may wait in the queue at present.
    pub max_wait: Duration,
    /// Share of each criticality that is admitted, 0 to 1, highest criticality first.
    pub level: [f64; 4],
}

impl LaneSnapshot {
    /// The default lane, and every other that holds or awaits something or is shedding.
    pub(super) fn is_in_use(&self) -> bool {
        self.lane == Lane::DEFAULT || self.inflight > 0 || self.queued > 0 || self.backed_up
    }
}

impl<W: Waiter> Gate<W> {
    /// The limit, the places taken and the calls waiting. Cheap.
    #[must_use]
    pub fn gauge(&self) -> (u32, u32, u32) {
        let shared = &self.shared;
        (
            shared.places.limit(),
            shared.inflight(),
            shared.control.backlog.load(Relaxed),
        )
    }

    /// The state of everything, for metrics and explanations.
    pub fn snapshot(&self) -> GateSnapshot {
        let shared = &self.shared;
        let core = self.core.lock();
        let mut totals = Totals::default();
        shared
            .tallies
            .iter()
            .for_each(|t| t.lock().add_totals(&mut totals));
        let lanes: Vec<LaneSnapshot> = (0..LANES as u8)
            .map(|l| self.lane_snapshot(&core, Lane(l)))
            .collect();
        let level = std::array::from_fn(|c| lanes.iter().map(|l| l.level[c]).fold(1.0, f64::min));
        GateSnapshot {
            algorithm: core.algorithm(),
            limit: shared.places.limit(),
            knee: core.knee(),
            inflight: shared.inflight(),
            queued: shared.control.backlog.load(Relaxed),
            max_wait: core.max_wait(Lane::DEFAULT),
            backed_up: lanes.iter().any(|l| l.backed_up),
            level,
            streams: shared.streams.load(Relaxed),
            cpu: Some(f64::from_bits(shared.cpu.load(Relaxed))).filter(|cpu| !cpu.is_nan()),
            lanes: lanes.into_iter().filter(LaneSnapshot::is_in_use).collect(),
            slow_keys: (0..=255u8)
                .filter(|&k| shared.slow[usize::from(k)].load(Relaxed))
                .collect(),
            totals,
        }
    }

    fn lane_snapshot(&self, core: &Core<W>, lane: Lane) -> LaneSnapshot {
        let cap = self.shared.caps[lane.index()].load(Relaxed);
        LaneSnapshot {
            lane,
            inflight: self.shared.lane_inflight(lane),
            queued: core.lane_len(lane),
            cap: (cap != u32::MAX).then_some(cap),
            backed_up: core.backed_up(lane),
            max_wait: core.max_wait(lane),
            level: Level(self.shared.levels[lane.index()].load(Relaxed)).shares(),
        }
    }
}
