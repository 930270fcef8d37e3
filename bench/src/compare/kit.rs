//! `kit`: what a service of Seawall's costs, generated adapters and all of the middleware on, when
//! nothing is wrong: the echo of `examples/echo` beside the same by bare tonic and bare axum. Every server is a process of its own; the same
//! load goes to them in turn, a second at a time, so that what changes on the machine meets them all.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use seawall_testkit::{Recipe, Server};

use super::rounds::compare;
use super::{CompareArgs, Metric, Sample, Scenario, Setup, Shape};
use crate::load::{self, Class, Plan, Step, Wire};
use crate::peers::{Peer, usage};

/// Requests a second.
const RATE: f64 = 4_000.0;
/// Turns of a second in a run of full length, for each server.
const TURNS: f64 = 12.0;

/// `SayRequest { text: "hello" }`.
const SAY: &[u8] = b"\x0a\x05hello";

/// A transport: its library bare, and below the stack.
#[derive(Debug)]
struct Echo {
    name: &'static str,
    wire: Wire,
    path: &'static str,
    servers: [&'static str; 2],
    goal: &'static str,
}

const ECHOES: [Echo; 2] = [
    Echo {
        name: "unary echo by gRPC",
        wire: Wire::Grpc,
        path: "/echo.v1.Echo/Say",
        servers: ["tonic", "tonic-stack"],
        goal: "<= 1.25",
    },
    Echo {
        name: "echo by HTTP and JSON",
        wire: Wire::H1,
        path: "/v1/say/hello",
        servers: ["axum", "axum-stack"],
        goal: "<= 1.35",
    },
];

/// A server under measurement.
struct Measured {
    server: Server,
    requests: u64,
    failed: u64,
    cpu: Duration,
}

impl Measured {
    fn start(kind: &str) -> anyhow::Result<Self> {
        let recipe = Recipe::command(binary()?, "build it with: cargo xtask bench kit")
            .arguments(&["--listen", "127.0.0.1:@port@", "--server", kind]);
        let server = Server::start(&recipe).with_context(|| format!("{kind} cannot start"))?;
        Ok(Self {
            server,
            requests: 0,
            failed: 0,
            cpu: Duration::ZERO,
        })
    }

    fn used(&self) -> Duration {
        usage(self.server.process().id()).cpu
    }

    /// A second of load.
    fn turn(&mut self, echo: &Echo, seed: u64) -> anyhow::Result<Histogram<u64>> {
        let class = Class::new("all", vec![Step::new(RATE, 1.0)]).path(echo.path);
        let class = class.message(SAY);
        let plan = Plan {
            seed,
            wire: echo.wire,
            ..Plan::new(self.server.address(), vec![class])
        };
        let report = load::run(&plan)?;
        let total = report.total();
        self.requests += total.offered;
        self.failed += total.offered - total.ok;
        Ok(report.lateness)
    }

    fn per_100_000(&self) -> f64 {
        let used = self.used().saturating_sub(self.cpu);
        used.as_secs_f64() * 1e5 / self.requests.max(1) as f64
    }
}

impl Scenario for Echo {
    fn name(&self) -> String {
        format!("{}, {RATE}/s Poisson", self.name)
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    /// It needs no gateway.
    fn in_process(&self) -> bool {
        true
    }

    fn run(&self, _: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let started = self.servers.iter().map(|kind| Measured::start(kind));
        let mut servers = started.collect::<anyhow::Result<Vec<_>>>()?;
        let mut lateness = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        let turns = setup.length(TURNS) as u64;
        for turn in 0..=turns {
            for place in 0..servers.len() {
                // Another one first in each turn.
                let at = (place + turn as usize + setup.round as usize) % servers.len();
                let late = servers[at].turn(self, setup.round * 1_000 + turn)?;
                if turn > 0 {
                    lateness.add(late)?;
                }
            }
            if turn == 0 {
                // Connections are open and lazy parts awake.
                for server in &mut servers {
                    (server.requests, server.failed) = (0, 0);
                    server.cpu = server.used();
                }
            }
        }
        let cost: Vec<f64> = servers.iter().map(Measured::per_100_000).collect();
        let failed: u64 = servers.iter().map(|server| server.failed).sum();
        let requests: u64 = servers.iter().map(|server| server.requests).sum();
        let failed = 100.0 * failed as f64 / requests.max(1) as f64;
        Ok(Sample {
            metrics: vec![
                Metric::new("CPU per 100,000, bare", "s", "", cost[0]),
                Metric::new("CPU per 100,000, below the stack", "s", "", cost[1]),
                Metric::new("the stack to bare", "x", self.goal, cost[1] / cost[0]),
                Metric::new("not served", "%", "0", failed),
            ],
            lateness: Duration::from_micros(lateness.value_at_quantile(0.99)),
        })
    }
}

fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("seawall-bench-kit");
    let missing =
        "there is no `seawall-bench-kit` beside this command; `cargo xtask bench kit` builds it";
    path.exists().then_some(path).context(missing)
}

/// Runs the comparison.
///
/// # Errors
/// Says which part could not be started.
pub fn kit(args: &CompareArgs) -> anyhow::Result<()> {
    let echoes = ECHOES.into_iter();
    let echoes = echoes.map(|echo| Box::new(echo) as Box<dyn Scenario>);
    compare("kit", args, echoes.collect())
}
