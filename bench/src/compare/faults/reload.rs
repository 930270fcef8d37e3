//! The configuration changes all the time, and nobody notices.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use super::WARM;
use super::bed::{Act, Bed, part, sample};
use super::host::ask;
use crate::compare::{Metric, Sample, Scenario, Setup, Shape};
use crate::peers::{Peer, Running};

/// Requests a second.
const RATE: f64 = 2_000.0;
/// Between two changes.
const EVERY: Duration = Duration::from_millis(200);
/// What the configurations have for us to write over.
const NOTE: &str = "# @note@";

/// The file is written anew every 200 ms; nginx is told by a signal, the gateway watches it.
#[derive(Debug)]
pub(super) struct Reload;

impl Scenario for Reload {
    fn name(&self) -> String {
        format!("reload every {} ms, {RATE}/s", EVERY.as_millis())
    }

    fn peers(&self) -> Vec<Peer> {
        // Envoy has no file to reload: it is told by a control plane.
        vec![Peer::Seawall, Peer::Nginx]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let bed = Bed::start(peer, 3, Duration::from_millis(2), setup)?;
        let config = Config::of(peer, &bed.proxy)?;
        let change = || config.change(peer, &bed.proxy);
        let length = setup.length(10.0);
        let count = (length / EVERY.as_secs_f64()) as u32;
        let acts: Vec<Act<'_>> = (0..count)
            .map(|number| (WARM + EVERY * number, &change as _))
            .collect();
        let length = Duration::from_secs_f64(length);
        let report = bed.run(RATE, &[WARM, length], &acts)?;
        let counts = part(&report, 1);
        let taken = match bed.proxy.admin() {
            Some(admin) => reloads(&ask(admin, "GET", "/metrics")?),
            None => config.changes.load(Relaxed) as f64,
        };
        let mut sample = sample(&report);
        let failed = (counts.offered - counts.ok) as f64;
        sample.metrics = vec![
            Metric::new("failed calls", "calls", "0", failed),
            Metric::new("connections dropped", "", "0", report.closed as f64),
            Metric::new("connections opened", "", "", report.connections as f64),
            Metric::new("reloads", "", ">= 10", taken),
        ];
        Ok(sample)
    }
}

struct Config {
    name: &'static str,
    text: String,
    changes: AtomicU64,
}

impl Config {
    fn of(peer: Peer, proxy: &Running) -> anyhow::Result<Self> {
        let name = match peer {
            Peer::Nginx => "nginx.conf",
            _ => "seawall.toml",
        };
        let directory = directory(proxy)?;
        Ok(Self {
            name,
            text: std::fs::read_to_string(directory.join(name))?,
            changes: AtomicU64::new(0),
        })
    }

    /// Replaces the file, as whoever is careful does.
    fn change(&self, peer: Peer, proxy: &Running) -> anyhow::Result<()> {
        let number = self.changes.fetch_add(1, Relaxed);
        let note = match peer {
            // One that changes a time limit, one that changes the balance, one that changes nothing.
            Peer::Seawall => match number % 3 {
                0 => "connect_timeout = \"900ms\"",
                1 => "balance.slow_start = \"9s\"",
                _ => "# as it was",
            },
            _ => match number % 2 {
                0 => "# one",
                _ => "# two",
            },
        };
        let directory = directory(proxy)?;
        let next = directory.join("next");
        std::fs::write(&next, self.text.replace(NOTE, note))?;
        std::fs::rename(&next, directory.join(self.name))?;
        if peer == Peer::Nginx {
            let server = proxy.server().context("nginx does not run")?;
            server.process().signal(Signal::HUP)?;
        }
        Ok(())
    }
}

fn directory(proxy: &Running) -> anyhow::Result<&Path> {
    let server = proxy.server().context("no proxy")?;
    Ok(server.directory())
}

/// What the gateway says it has taken over.
fn reloads(metrics: &str) -> f64 {
    let done = |line: &&str| line.contains("config_reloads") && line.contains("\"done\"");
    let line = metrics.lines().find(done);
    let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    count.unwrap_or(f64::NAN)
}
