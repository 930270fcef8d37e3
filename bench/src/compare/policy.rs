//! `policy`: what one decision costs: an admission and its finish, in process, no I/O.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use seawall_policy::admit::{Admit, Gate, GateSettings, Key};
use seawall_policy::{Call, Outcome, Tick};
use seawall_sync::Shard;

use super::rounds::compare;
use super::{CompareArgs, Metric, Sample, Scenario, Setup, Shape};
use crate::peers::Peer;

/// Decisions in a run of full length, per thread.
const DECISIONS: f64 = 6e6;
/// Virtual time between decisions: windows end and control steps run as they would.
const STEP: u64 = 1_000;

/// Threads deciding at the same time on one gate that has room.
#[derive(Debug)]
struct Decide {
    threads: usize,
}

impl Scenario for Decide {
    fn name(&self) -> String {
        match self.threads {
            1 => "admit and finish, 1 thread".to_owned(),
            threads => format!("admit and finish, {threads} threads"),
        }
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn in_process(&self) -> bool {
        true
    }

    fn run(&self, _: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let settings = GateSettings {
            shards: self.threads,
            ..GateSettings::default()
        };
        let gate = Arc::new(Gate::<u64>::new(settings, Tick::ZERO));
        let count = setup.length(DECISIONS) as u64;
        let begin = Arc::new(Barrier::new(self.threads));
        let threads: Vec<_> = (0..self.threads)
            .map(|shard| {
                let (gate, begin) = (Arc::clone(&gate), Arc::clone(&begin));
                std::thread::spawn(move || {
                    begin.wait();
                    decide(&gate, Shard(shard), count)
                })
            })
            .collect();
        let mut longest = Duration::ZERO;
        let mut admitted = 0;
        for thread in threads {
            let (took, places) = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a deciding thread panicked"))?;
            longest = longest.max(took);
            admitted += places;
        }
        let share = 100.0 * admitted as f64 / (count * self.threads as u64) as f64;
        let goal = if self.threads == 1 { "<= 60" } else { "<= 80" };
        let nanos = longest.as_nanos() as f64 / count as f64;
        Ok(Sample {
            metrics: vec![
                Metric::new("admit and finish", "ns", goal, nanos),
                Metric::new("admitted at once", "%", "100", share),
            ],
            lateness: Duration::ZERO,
        })
    }
}

/// Decides `count` times; how long that took and how many got a place.
fn decide(gate: &Gate<u64>, shard: Shard, count: u64) -> (Duration, u64) {
    let call = Call::default();
    let mut wakes = Vec::new();
    let mut admitted = 0;
    let start = Instant::now();
    for step in 0..count {
        let now = Tick(step * STEP);
        if let Admit::Now(ticket) = gate.admit(&call, Key(0), None, shard, now) {
            admitted += 1;
            let end = Tick(now.0 + STEP);
            gate.finish(
                ticket,
                Outcome::Success,
                Duration::ZERO,
                shard,
                end,
                &mut wakes,
            );
        }
    }
    (start.elapsed(), admitted)
}

/// Runs the measurement.
///
/// # Errors
/// Fails when a thread does.
pub fn policy(args: &CompareArgs) -> anyhow::Result<()> {
    let scenarios = [1, 2].map(|threads| Box::new(Decide { threads }) as Box<dyn Scenario>);
    compare("policy", args, scenarios.into())
}
