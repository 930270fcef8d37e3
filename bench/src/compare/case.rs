//! A situation that is measured in this process, without I/O.

use std::time::Duration;

use super::{Metric, Sample, Scenario, Setup, Shape};
use crate::peers::Peer;

type Run = dyn Fn(Peer, &Setup) -> anyhow::Result<Vec<Metric>>;

/// A situation and who is measured in it.
pub(super) struct Case {
    name: String,
    peers: Vec<Peer>,
    run: Box<Run>,
}

impl Case {
    pub(super) fn new(
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

/// "1 thread", "2 threads".
pub(super) fn threads(count: usize) -> String {
    format!("{count} thread{}", if count == 1 { "" } else { "s" })
}
