//! `sync`: what the concurrency kit costs beside what else there is, in process, no I/O.
//!
//! A file a subject; each hands out its [`Case`]s. To add one: the file, its name in the two lists
//! below, and for a library to compare with its dependency in `bench/Cargo.toml`.

mod flight;
mod lanes;
mod mutex;
mod padding;
mod pipeline;
mod pool;
mod snapshot;
mod tasks;
mod together;

use std::time::Duration;

use super::rounds::compare;
use super::{CompareArgs, Metric, Sample, Scenario, Setup, Shape};
use crate::peers::Peer;

type Run = dyn Fn(Peer, &Setup) -> anyhow::Result<Vec<Metric>>;

/// A situation and who is measured in it.
struct Case {
    name: String,
    peers: Vec<Peer>,
    run: Box<Run>,
}

impl Case {
    fn new(
        name: impl Into<String>,
        peers: &[Peer],
        run: impl Fn(Peer, &Setup) -> anyhow::Result<Vec<Metric>> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            peers: peers.to_vec(),
            run: Box::new(run),
        }
    }
}

impl Scenario for Case {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn peers(&self) -> Vec<Peer> {
        self.peers.clone()
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn in_process(&self) -> bool {
        true
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        Ok(Sample {
            metrics: (self.run)(peer, setup)?,
            lateness: Duration::ZERO,
        })
    }
}

/// Runs the measurements.
///
/// # Errors
/// Fails when a thread does.
pub fn sync(args: &CompareArgs) -> anyhow::Result<()> {
    let cases = [
        tasks::cases(),
        flight::cases(),
        snapshot::cases(),
        pool::cases(),
        pipeline::cases(),
        lanes::cases(),
        padding::cases(),
        mutex::cases(),
    ];
    let scenarios = cases.into_iter().flatten();
    compare(
        "sync",
        args,
        scenarios
            .map(|case| Box::new(case) as Box<dyn Scenario>)
            .collect(),
    )
}

/// "1 thread", "2 threads".
fn threads(count: usize) -> String {
    format!("{count} thread{}", if count == 1 { "" } else { "s" })
}
