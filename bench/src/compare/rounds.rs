//! The rounds: every scenario with every peer, interleaved.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::bail;

use super::bed::capacity;
use super::{CompareArgs, Rows, Sample, Scenario, Setup};
use crate::peers::{Peer, seawall_binary};

/// Tries before a cell stays void.
const TRIES: usize = 3;

/// Runs what the arguments ask for, then prints and writes the table.
pub(super) fn compare(
    name: &str,
    args: &CompareArgs,
    scenarios: Vec<Box<dyn Scenario>>,
) -> anyhow::Result<()> {
    let wanted = |scenario: &dyn Scenario| {
        let name = scenario.name();
        args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()))
    };
    let scenarios: Vec<_> = scenarios
        .into_iter()
        .filter(|scenario| wanted(scenario.as_ref()))
        .collect();
    if args.list {
        for scenario in &scenarios {
            eprintln!("{}", scenario.name());
        }
        return Ok(());
    }
    if scenarios.is_empty() {
        bail!("no scenario is called like that; --list shows their names");
    }
    let mut rows = Rows::new(name);
    let rounds = if args.quick { 1 } else { args.rounds };
    let mut run = Run::new(args, rounds);
    if !run.seawall && !scenarios.iter().all(|scenario| scenario.in_process()) {
        eprintln!("no `seawall` beside this command: peers only; `cargo xtask bench` builds both");
    }
    for round in 0..rounds {
        for scenario in &scenarios {
            run.scenario(scenario.as_ref(), round, &mut rows)?;
        }
    }
    rows.print()?;
    if run.void > 0 {
        eprintln!(
            "{} cells stayed void: the load generator was late",
            run.void
        );
    }
    if let Some(path) = &args.json {
        rows.write(path)?;
    }
    if run.failed > 0 {
        bail!("{} cells failed; each says why above", run.failed);
    }
    Ok(())
}

struct Run<'a> {
    args: &'a CompareArgs,
    rounds: u64,
    capacities: HashMap<(String, u64), f64>,
    seawall: bool,
    void: usize,
    failed: usize,
}

impl<'a> Run<'a> {
    fn new(args: &'a CompareArgs, rounds: u64) -> Self {
        let found = seawall_binary();
        Self {
            args,
            rounds,
            capacities: HashMap::new(),
            seawall: found.is_ok(),
            void: 0,
            failed: 0,
        }
    }

    fn scenario(
        &mut self,
        scenario: &dyn Scenario,
        round: u64,
        rows: &mut Rows,
    ) -> anyhow::Result<()> {
        let setup = Setup {
            round,
            capacity: self.capacity(scenario, round)?,
            quick: self.args.quick,
        };
        let mut peers = scenario.peers();
        let speaks = |peer: Peer| scenario.shape().is_none_or(|shape| peer.speaks(shape.wire));
        peers.retain(|&peer| speaks(peer) && self.takes_part(peer, !scenario.in_process()));
        // Another one first in every round: none always runs on a machine just warmed up.
        let turn = usize::try_from(round).unwrap_or(0) % peers.len().max(1);
        peers.rotate_left(turn);
        for peer in peers {
            if let Some(sample) = self.cell(scenario, peer, &setup)? {
                rows.add(&scenario.name(), peer, &sample.metrics);
            }
        }
        Ok(())
    }

    fn takes_part(&self, peer: Peer, needs_binary: bool) -> bool {
        let named =
            self.args.peers.is_empty() || self.args.peers.iter().any(|name| name == peer.name());
        named && (peer != Peer::Seawall || self.seawall || !needs_binary)
    }

    fn cell(
        &mut self,
        scenario: &dyn Scenario,
        peer: Peer,
        setup: &Setup,
    ) -> anyhow::Result<Option<Sample>> {
        let limit = Duration::try_from_secs_f64(self.args.max_lateness_ms / 1000.0)?;
        let title = format!(
            "[{}/{}] {} · {}",
            setup.round + 1,
            self.rounds,
            scenario.name(),
            peer.name()
        );
        for _ in 0..TRIES {
            let sample = match scenario.run(peer, setup) {
                Ok(sample) => sample,
                // The others' figures are not lost for it; the end tells.
                Err(error) => {
                    eprintln!("{title}: {error:#}");
                    self.failed += 1;
                    return Ok(None);
                }
            };
            let figures: Vec<String> = sample
                .metrics
                .iter()
                .map(|metric| format!("{} {:.2} {}", metric.name, metric.value, metric.unit))
                .collect();
            if sample.lateness <= limit {
                eprintln!("{title}: {}", figures.join(", "));
                return Ok(Some(sample));
            }
            let late = sample.lateness.as_secs_f64() * 1000.0;
            eprintln!("{title}: void, the generator was {late:.1} ms late");
        }
        self.void += 1;
        Ok(None)
    }

    fn capacity(&mut self, scenario: &dyn Scenario, round: u64) -> anyhow::Result<f64> {
        let Some(shape) = scenario.shape() else {
            return Ok(0.0);
        };
        let key = (shape.to_string(), round);
        if let Some(known) = self.capacities.get(&key) {
            return Ok(*known);
        }
        let found = capacity(shape, round)?;
        eprintln!(
            "[{}/{}] {shape}: capacity {found:.1}/s",
            round + 1,
            self.rounds
        );
        self.capacities.insert(key, found);
        Ok(found)
    }
}
