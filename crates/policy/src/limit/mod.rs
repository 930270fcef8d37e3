//! How many calls may be at the origin at once.
//!
//! Every algorithm stands behind one trait, [`Limit`]: it sees a [`Window`] of what happened and
//! answers with a [`Step`], the limit from now on and when it wants to be asked again. What each
//! request pays is therefore the same for all of them (a few sharded additions, in
//! [`crate::admit`]), and an algorithm is a pure function of windows, easy to test and to simulate.

use std::time::Duration;

use crate::Tick;

mod adaptive;
mod aimd;
mod bbr;
mod evidence;
mod fixed;
mod gradient2;
#[cfg(test)]
mod laws;
mod vegas;

pub use adaptive::{Adaptive, AdaptiveSettings};
pub use aimd::{Aimd, AimdSettings};
pub use bbr::{Bbr, BbrSettings};
pub use fixed::Fixed;
pub use gradient2::{Gradient2, Gradient2Settings};
pub use vegas::{Vegas, VegasSettings};

/// What happened at the origin between two updates of a limit.
///
/// In-flight, counts and latencies are of calls that held a place; calls that were turned away or
/// are waiting are not part of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// When the window began.
    pub start: Tick,
    /// When it ended, which is now.
    pub end: Tick,
    /// The limit that was in force.
    pub limit: u32,
    /// Places taken at the end.
    pub inflight: u32,
    /// Places taken, averaged over the window by time.
    pub mean_inflight: f64,
    /// Calls that ended with `Success`.
    pub succeeded: u32,
    /// Calls that ended with `Failure`.
    pub failed: u32,
    /// Calls that the origin refused for its own overload.
    pub overloaded: u32,
    /// Calls that ended with `Ignored`.
    pub ignored: u32,
    /// Of the ignored, those whose callers had waited long: twice the latency without queueing, at
    /// least 50 ms. They gave up; who leaves sooner has reasons of its own.
    pub gave_up: u32,
    /// Latencies of the succeeded, added up, in seconds.
    pub latency_sum: f64,
    /// Least latency of a success, in seconds; infinite where there was none.
    pub latency_min: f64,
    /// Successes that were also admitted under the present limit (since it last changed).
    pub fresh: u32,
    /// Their latencies added up, in seconds.
    pub fresh_latency_sum: f64,
    /// Someone had to wait or was turned away because the limit was reached.
    pub bound: bool,
    /// CPU use of the process's cgroup, 0 to 1, where it is known.
    pub cpu: Option<f64>,
}

impl Window {
    /// Length in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.end.since(self.start).as_secs_f64()
    }

    /// Successes a second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 {
            f64::from(self.succeeded) / seconds
        } else {
            0.0
        }
    }

    /// Mean latency of the succeeded in seconds, where there were any.
    #[must_use]
    pub fn mean_latency(&self) -> Option<f64> {
        (self.succeeded > 0).then(|| self.latency_sum / f64::from(self.succeeded))
    }
}

/// The limit from now on, and when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Places, at least 1.
    pub limit: u32,
    /// The next window's length. The caller may come late when nothing happens, never early.
    pub after: Duration,
}

/// An algorithm that finds how many calls the origin can hold.
///
/// Called by one thread at a time, never per request.
pub trait Limit: Send + std::fmt::Debug {
    /// The limit to start with and the length of the first window.
    fn start(&self) -> Step;

    /// Learns what happened and decides how to go on.
    fn update(&mut self, window: &Window) -> Step;

    /// The algorithm's name in configuration, metrics and explanations.
    fn name(&self) -> &'static str;

    /// The concurrency that the origin really works on, where the algorithm can tell: more than
    /// this many calls queue inside the origin.
    fn knee(&self) -> Option<u32> {
        None
    }

    /// A rough latency of the origin when nothing queues there, in seconds, where one is known.
    /// Time limits of the queue scale with it.
    fn base_latency(&self) -> Option<f64> {
        None
    }
}
