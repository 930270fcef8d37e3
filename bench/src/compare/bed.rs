//! The test bed of one cell: an origin, a proxy before it, and load on both.

use std::time::{Duration, Instant};

use super::{Sample, Setup, Shape};
use crate::load::{self, Class, Plan, Report, Step};
use crate::origin::{self, Origin};
use crate::peers::{Front, Peer, Running, Usage};

/// How long bare origins are saturated to know their capacity, in "seconds" of their shape.
const SATURATION: f64 = 4.0;

/// An origin and a proxy, both cold.
#[derive(Debug)]
pub(super) struct Bed {
    pub(super) origin: Origin,
    proxy: Running,
    shape: Shape,
    seed: u64,
}

/// Changes the origin at a time of the run.
pub(super) type Change<'c> = (Duration, &'c (dyn Fn(&Origin) + Sync));

/// What a run left behind.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) report: Report,
    /// Used by the proxy during the run; memory as it stood at the end.
    pub(super) usage: Usage,
    /// What the origin did during the run.
    pub(super) origin: origin::Stats,
}

impl Bed {
    pub(super) fn start(shape: &Shape, peer: Peer, setup: &Setup) -> anyhow::Result<Self> {
        Self::configured(shape, peer, setup, shape.origin(setup.round + 1), false)
    }

    /// With an origin of its own making, and clients that are believed what they say of themselves.
    pub(super) fn configured(
        shape: &Shape,
        peer: Peer,
        setup: &Setup,
        config: origin::Config,
        trusted: bool,
    ) -> anyhow::Result<Self> {
        let origin = Origin::start(config)?;
        let proxy = peer.start(Front {
            upstream: origin.address(),
            slots: shape.slots,
            wire: shape.wire,
            trusted,
        })?;
        Ok(Self {
            origin,
            proxy,
            shape: shape.clone(),
            seed: setup.round + 1,
        })
    }

    /// Requests of the shape's kind.
    pub(super) fn class(&self, name: &str, steps: Vec<Step>) -> Class {
        let path = match self.shape.wire {
            load::Wire::Grpc => "/bench.Origin/Serve",
            load::Wire::H1 | load::Wire::H2 => "/",
        };
        Class::new(name, steps)
            .path(path)
            .timeout(self.shape.timeout())
    }

    pub(super) fn run(
        &self,
        classes: Vec<Class>,
        measured: std::ops::Range<Duration>,
        changes: &[Change<'_>],
    ) -> anyhow::Result<Ran> {
        let plan = Plan {
            wire: self.shape.wire,
            measured,
            seed: self.seed,
            ..Plan::new(self.proxy.address(), classes)
        };
        let (usage, origin) = (self.proxy.usage(), self.origin.stats());
        let start = Instant::now() + Duration::from_millis(5);
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                for (at, change) in changes {
                    std::thread::sleep((start + *at).saturating_duration_since(Instant::now()));
                    change(&self.origin);
                }
            });
            load::run_from(&plan, start)
        })?;
        let after = self.proxy.usage();
        Ok(Ran {
            report,
            usage: Usage {
                cpu: after.cpu.saturating_sub(usage.cpu),
                ..after
            },
            origin: self.origin.stats().since(origin),
        })
    }
}

impl Ran {
    /// Answers in time as a share of `capacity` (requests a second) in a part of the run, in %.
    pub(super) fn goodput(&self, from: Duration, to: Duration, capacity: f64) -> f64 {
        let ok = self.report.between(from, to).ok as f64;
        100.0 * ok / (capacity * (to - from).as_secs_f64())
    }

    /// Requests without a good answer as a share of those due in the part measured, in %.
    pub(super) fn refused(&self) -> f64 {
        let mut offered = 0;
        let mut ok = 0;
        for class in &self.report.classes {
            offered += class.due.offered;
            ok += class.due.ok;
        }
        100.0 * (offered - ok) as f64 / (offered as f64).max(1.0)
    }

    pub(super) fn sample(&self) -> Sample {
        Sample {
            metrics: Vec::new(),
            lateness: self.report.lateness_p99(),
        }
    }
}

/// What the bare origin delivers when saturated, in requests a second. One that slows as it fills
/// delivers most with just its slots in use.
pub(super) fn capacity(shape: &Shape, round: u64) -> anyhow::Result<f64> {
    let origin = Origin::start(shape.origin(round + 1))?;
    let workers = if shape.slows > 0.0 {
        shape.slots
    } else {
        2 * shape.slots
    };
    let service = shape.service.as_secs_f64();
    // From full to full: the first and last services are not whole.
    let (from, to) = (4.0 * service, 4.0 * service + SATURATION * shape.second());
    let plan = Plan::saturating(origin.address(), workers, to + 4.0 * service);
    let report = load::run(&plan)?;
    let (from, to) = (Duration::from_secs_f64(from), Duration::from_secs_f64(to));
    let ok = report.between(from, to).ok as f64;
    Ok(ok / (to - from).as_secs_f64())
}
