//! New settings for a gate that runs.
//!
//! What calls hold, who waits and what was counted stay as they are; so does what the limit has
//! learned, unless another algorithm is put in its place.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seawall_sync::Shard;

use super::gate::{Gate, GateSettings, Waiter, Wakes};
use super::lane::LaneSettings;
use crate::Tick;
use crate::limit::Limit;

/// What a gate may be told anew while it runs: see [`Gate::change`]. Each as in [`GateSettings`].
#[derive(Debug)]
#[allow(missing_docs, reason = "described in GateSettings")]
pub struct GateChange {
    /// Another algorithm, or other bounds for it; `None` keeps the present one and all that it has
    /// learned.
    pub limit: Option<Box<dyn Limit>>,
    pub max_wait: Option<Duration>,
    pub max_queued: usize,
    pub max_streams: u32,
    pub lanes: [LaneSettings; 16],
    pub shadow: bool,
}

impl From<GateSettings> for GateChange {
    fn from(settings: GateSettings) -> Self {
        Self {
            limit: Some(settings.limit),
            max_wait: settings.max_wait,
            max_queued: settings.max_queued,
            max_streams: settings.max_streams,
            lanes: settings.lanes,
            shadow: settings.shadow,
        }
    }
}

impl<W: Waiter> Gate<W> {
    /// Takes new settings over. Calls keep their places, waiters their turns; where the limit has
    /// risen, who may now go is among the `wakes`.
    ///
    /// ```
    /// use seawall_policy::admit::{Admit, Gate, GateChange, GateSettings, Key};
    /// use seawall_policy::{Call, Tick, limit::Fixed};
    /// use seawall_sync::Shard;
    ///
    /// let one = GateSettings { limit: Box::new(Fixed::new(1)), ..Default::default() };
    /// let gate: Gate<u64> = Gate::new(one, Tick::ZERO);
    /// let (shard, call, mut wakes) = (Shard(0), Call::default(), Vec::new());
    /// let Admit::Now(_ticket) = gate.admit(&call, Key(0), None, shard, Tick::ZERO) else { panic!() };
    /// let Admit::Wait(lane) = gate.admit(&call, Key(0), None, shard, Tick::ZERO) else { panic!() };
    /// gate.wait(&call, Key(0), lane, 7, shard, Tick::ZERO, &mut wakes);
    ///
    /// let two = GateSettings { limit: Box::new(Fixed::new(2)), ..Default::default() };
    /// gate.change(GateChange::from(two), shard, Tick::from_millis(1), &mut wakes);
    /// assert!(matches!(wakes[..], [(7, Ok(_))]));
    /// ```
    pub fn change(&self, change: GateChange, shard: Shard, now: Tick, wakes: &mut Wakes<W>) {
        let mut core = self.core.lock();
        let control = &self.shared.control;
        control.shadow.store(change.shadow, Relaxed);
        control.max_streams.store(change.max_streams, Relaxed);
        core.change(&self.shared, change, now);
        core.turn(&self.shared, shard, now, wakes);
    }
}
