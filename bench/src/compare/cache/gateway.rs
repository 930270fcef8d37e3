//! What a response out of the gateway's cache costs, beside nginx's `proxy_cache`.

use std::time::Duration;

use crate::compare::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::{self, Class, Plan, Step};
use crate::origin::{Config, Origin};
use crate::peers::{Peer, start_cached};

/// Requests a second.
const RATE: f64 = 8_000.0;

/// One response of this size, kept, asked for at 8,000/s.
#[derive(Debug)]
struct Hits {
    bytes: usize,
}

/// The rows.
pub(super) fn cases() -> Vec<Box<dyn Scenario>> {
    let of = |bytes| Box::new(Hits { bytes }) as Box<dyn Scenario>;
    vec![of(1 << 10), of(64 << 10)]
}

impl Scenario for Hits {
    fn name(&self) -> String {
        format!("gateway, cached route, {} KiB, {RATE}/s", self.bytes >> 10)
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall, Peer::Nginx]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let origin = Origin::start(Config {
            service: Duration::from_millis(2),
            answer_bytes: self.bytes,
            ..Config::default()
        })?;
        let proxy = start_cached(peer, origin.address())?;
        let plan = |seconds| Plan {
            seed: setup.round + 1,
            ..Plan::new(
                proxy.address(),
                vec![Class::new("all", vec![Step::new(RATE, seconds)])],
            )
        };
        load::run(&plan(1.0))?;
        let (before, asked) = (proxy.usage(), origin.stats());
        let report = load::run(&plan(setup.length(9.0)))?;
        let after = proxy.usage();
        let total = report.total();
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        let each = cpu * 1e5 / total.offered.max(1) as f64;
        let reached = origin.stats().since(asked).arrived as f64;
        let refused = total.offered.saturating_sub(total.ok) as f64;
        let ms = |q| report.classes[0].latency(q).as_secs_f64() * 1_000.0;
        Ok(Sample {
            metrics: vec![
                Metric::new("CPU per 100,000", "s", "<= 1.1 x nginx", each),
                Metric::new("latency p50", "ms", "", ms(0.5)),
                Metric::new("latency p99", "ms", "", ms(0.99)),
                Metric::new("calls to the origin", "", "0", reached),
                Metric::new("not served", "", "0", refused),
            ],
            lateness: report.lateness_p99(),
        })
    }
}
