//! The test bed of one cell: origin processes, a proxy before them, and load on both.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;

use super::host::Host;
use crate::compare::{Sample, Setup};
use crate::load::{self, Class, Plan, Report, Step};
use crate::peers::{Peer, Running, Service};

/// How long callers wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Hosts and a proxy.
#[derive(Debug)]
pub(super) struct Bed {
    pub(super) hosts: Vec<Host>,
    pub(super) proxy: Running,
    seed: u64,
}

/// Something that is done at a time of the run.
pub(super) type Act<'a> = (Duration, &'a (dyn Fn() -> anyhow::Result<()> + Sync));

impl Bed {
    pub(super) fn start(
        peer: Peer,
        hosts: usize,
        service: Duration,
        setup: &Setup,
    ) -> anyhow::Result<Self> {
        let hosts = (0..hosts)
            .map(|_| Host::start(service))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let told = Service {
            hosts: hosts.iter().map(Host::address).collect(),
            patience: PATIENCE,
        };
        Ok(Self {
            proxy: told.start(peer)?,
            hosts,
            seed: setup.round + 1,
        })
    }

    /// The host that something happens to.
    pub(super) fn victim(&self) -> anyhow::Result<&Host> {
        self.hosts.first().context("a bed without hosts")
    }

    /// Offers `rate` a second in parts of these lengths, each a class of its own, and does what is
    /// to be done meanwhile.
    pub(super) fn run(
        &self,
        rate: f64,
        parts: &[Duration],
        acts: &[Act<'_>],
    ) -> anyhow::Result<Report> {
        let mut begin = Duration::ZERO;
        let mut classes = Vec::new();
        for part in parts {
            let steps = vec![
                Step::new(0.0, begin.as_secs_f64()),
                Step::new(rate, part.as_secs_f64()),
            ];
            classes.push(Class::new(&classes.len().to_string(), steps).timeout(PATIENCE));
            begin += *part;
        }
        let plan = Plan {
            seed: self.seed,
            ..Plan::new(self.proxy.address(), classes)
        };
        let start = Instant::now() + Duration::from_millis(5);
        let failed = Mutex::new(None);
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                for (at, act) in acts {
                    std::thread::sleep((start + *at).saturating_duration_since(Instant::now()));
                    if let Err(error) = act() {
                        failed.lock().get_or_insert(error);
                    }
                }
            });
            load::run_from(&plan, start)
        })?;
        match failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }
}

/// The counts of one part of a run.
pub(super) fn part(report: &Report, index: usize) -> load::Bucket {
    let class = report.classes.get(index);
    class.map_or_else(load::Bucket::default, |class| class.due)
}

/// Calls that have come in at each host.
pub(super) fn arrived(hosts: &[Host]) -> anyhow::Result<Vec<u64>> {
    hosts.iter().map(Host::arrived).collect()
}

pub(super) fn since(after: &[u64], before: &[u64]) -> Vec<u64> {
    let pairs = after.iter().zip(before);
    pairs.map(|(a, b)| a.saturating_sub(*b)).collect()
}

/// So many of `all`, in %.
pub(super) fn share(some: u64, all: u64) -> f64 {
    100.0 * some as f64 / (all as f64).max(1.0)
}

pub(super) fn sample(report: &Report) -> Sample {
    Sample {
        metrics: Vec::new(),
        lateness: report.lateness_p99(),
    }
}
