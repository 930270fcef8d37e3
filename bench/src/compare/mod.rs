//! Seawall and its peers side by side: scenarios, rounds, medians, one table.
//!
//! Every round visits every scenario and, within it, every peer in turn, so that what changes on
//! the machine meanwhile meets them all; the figure is the median of the rounds. Each cell has an
//! origin and a proxy of its own, both cold. A cell whose load generator ran late says nothing and
//! is repeated, at most twice; what stays void is left out and counted.

mod args;
mod bed;
mod cache;
mod case;
mod change;
mod client;
mod cross;
mod faults;
mod goodput;
mod kit;
mod overload;
mod policy;
mod proxy;
mod rounds;
mod shape;
mod shop;
mod simulated;
mod sync;
mod table;
mod together;

pub use args::{CompareArgs, OverloadArgs};
pub use cache::{WorkerArgs, cache, worker as cache_worker};
pub use client::{ClientArgs, client};
pub use faults::faults;
pub use kit::kit;
pub use overload::overload;
pub use policy::policy;
pub use proxy::proxy;
pub use shape::Shape;
pub use shop::shop;
pub use sync::sync;
pub use table::{Row, Rows};

use std::time::Duration;

use crate::peers::Peer;

/// One figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name within the scenario.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What must be shown, in words; "" where it is only for information.
    pub goal: &'static str,
    /// The figure.
    pub value: f64,
}

impl Metric {
    /// A figure.
    #[must_use]
    pub fn new(name: &'static str, unit: &'static str, goal: &'static str, value: f64) -> Self {
        Self {
            name,
            unit,
            goal,
            value,
        }
    }
}

/// What one run of a scenario with one peer gave.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The figures.
    pub metrics: Vec<Metric>,
    /// The load generator's lateness, 99th percentile.
    pub lateness: Duration,
}

/// What a run is told.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Counted from 0; seeds what is random.
    pub round: u64,
    /// What the bare origin of the scenario's shape delivers, in requests a second.
    pub capacity: f64,
    /// Shorter runs, rougher figures.
    pub quick: bool,
}

impl Setup {
    /// `full`, or a third of it when quick.
    #[must_use]
    pub fn length(&self, full: f64) -> f64 {
        if self.quick { full / 3.0 } else { full }
    }
}

/// One situation to be measured with several peers.
pub trait Scenario {
    /// Its name, as `--only` looks for it.
    fn name(&self) -> String;
    /// Seawall first, then who it is compared with; who does not speak the shape's protocol is left
    /// out.
    fn peers(&self) -> Vec<Peer>;
    /// The origin whose capacity is to be measured first, if any.
    fn shape(&self) -> Option<&Shape>;
    /// Whether Seawall's decisions run in this process, without the `seawall` command.
    fn in_process(&self) -> bool {
        false
    }
    /// Runs it once.
    ///
    /// # Errors
    /// Says which part could not be started.
    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample>;
}
