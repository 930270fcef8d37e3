//! What the gateway costs with all of it on, when nothing fails: the same load on several gateways
//! in turn, a second at a time, so that what changes on the machine meets them all.

use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::{self, Class, Plan, Step};
use crate::origin::Origin;
use crate::peers::{Peer, Running, seawall_binary, start_gateway};

/// Requests a second.
const RATE: f64 = 4_000.0;
/// Turns of a second in a run of full length, for each gateway.
const TURNS: f64 = 12.0;

const LISTEN: &str = "[listeners.default]\naddress = \"127.0.0.1:@port@\"\n[upstreams.default]\n";

/// 4,000/s Poisson through gateways with all, some and none of it.
#[derive(Debug)]
pub(super) struct Whole {
    before: Option<PathBuf>,
    shape: Shape,
}

impl Whole {
    pub(super) fn new(before: Option<PathBuf>) -> Self {
        // Never full, as with `proxy`.
        let shape = Shape {
            slots: 200,
            service: Duration::from_millis(2),
            ..Shape::default()
        };
        Self { before, shape }
    }

    fn gateways(&self, origins: &[Origin]) -> anyhow::Result<Vec<Gateway>> {
        let binary = seawall_binary()?;
        let hosts: Vec<_> = origins.iter().map(Origin::address).collect();
        let one = format!("{LISTEN}url = \"http://{}\"\n", hosts[0]);
        let listed: Vec<_> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
        let three = format!("{one}endpoints = [{}]\n", listed.join(", "));
        let off = format!("{one}breaker.kind = \"off\"\nretry.attempts = 1\n");
        let mut gateways = vec![
            Gateway::start(Which::One, &binary, &one)?,
            Gateway::start(Which::Three, &binary, &three)?,
            Gateway::start(Which::Off, &binary, &off)?,
        ];
        if let Some(before) = &self.before {
            gateways.push(Gateway::start(Which::Before, before, &one)?);
        }
        Ok(gateways)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    One,
    Three,
    Off,
    Before,
}

#[derive(Debug)]
struct Gateway {
    which: Which,
    running: Running,
    requests: u64,
    failed: u64,
    cpu: Duration,
}

impl Gateway {
    fn start(which: Which, binary: &std::path::Path, config: &str) -> anyhow::Result<Self> {
        Ok(Self {
            which,
            running: start_gateway(binary, config)?,
            requests: 0,
            failed: 0,
            cpu: Duration::ZERO,
        })
    }

    /// A second of load.
    fn turn(&mut self, seed: u64) -> anyhow::Result<Histogram<u64>> {
        let class = Class::new("all", vec![Step::new(RATE, 1.0)]);
        let plan = Plan {
            seed,
            ..Plan::new(self.running.address(), vec![class])
        };
        let report = load::run(&plan)?;
        let total = report.total();
        self.requests += total.offered;
        self.failed += total.offered - total.ok;
        Ok(report.lateness)
    }

    fn per_100_000(&self) -> f64 {
        let used = self.running.usage().cpu.saturating_sub(self.cpu);
        used.as_secs_f64() * 1e5 / self.requests.max(1) as f64
    }
}

impl Scenario for Whole {
    fn name(&self) -> String {
        format!("gateway with all of it on, {RATE}/s Poisson")
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, _: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let origins = (0..3)
            .map(|_| Origin::start(self.shape.origin(setup.round + 1)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut gateways = self.gateways(&origins)?;
        let turns = setup.length(TURNS) as u64;
        let mut lateness = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        for turn in 0..=turns {
            let count = gateways.len();
            for place in 0..count {
                // Another one first in each turn.
                let at = (place + turn as usize + setup.round as usize) % count;
                let late = gateways[at].turn(setup.round * 1_000 + turn)?;
                if turn > 0 {
                    lateness.add(late)?;
                }
            }
            if turn == 0 {
                // Pools are full and lazy parts awake.
                for gateway in &mut gateways {
                    (gateway.requests, gateway.failed) = (0, 0);
                    gateway.cpu = gateway.running.usage().cpu;
                }
            }
        }
        let cost = |which| {
            let mut found = gateways.iter().filter(|gateway| gateway.which == which);
            found.next().map(Gateway::per_100_000)
        };
        let (one, three) = (cost(Which::One), cost(Which::Three));
        let (off, before) = (cost(Which::Off), cost(Which::Before));
        let cpu = |name, value: Option<f64>| Some(Metric::new(name, "s", "", value?));
        let ratio = |name, goal, value: Option<f64>, to: Option<f64>| {
            Some(Metric::new(name, "x", goal, value? / to?))
        };
        let failed: u64 = gateways.iter().map(|gateway| gateway.failed).sum();
        let requests: u64 = gateways.iter().map(|gateway| gateway.requests).sum();
        let failed = 100.0 * failed as f64 / requests.max(1) as f64;
        let metrics = [
            cpu("CPU per 100,000, one host, all on", one),
            cpu("CPU per 100,000, three hosts, all on", three),
            cpu("CPU per 100,000, no breaker, no retries", off),
            cpu("CPU per 100,000, before", before),
            ratio("one host, all on, to before", "<= 1.05", one, before),
            ratio("three hosts, all on, to before", "", three, before),
            ratio("one host, all on, to none", "<= 1.05", one, off),
            Some(Metric::new("not served", "%", "0", failed)),
        ];
        Ok(Sample {
            metrics: metrics.into_iter().flatten().collect(),
            lateness: Duration::from_micros(lateness.value_at_quantile(0.99)),
        })
    }
}
