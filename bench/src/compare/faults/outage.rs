//! A host is gone for ten seconds, and comes back.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bed::{Act, Bed, arrived, part, sample, share, since};
use super::host::Host;
use super::tap::{Packets, Tap};
use super::{PEERS, RATE, WARM};
use crate::compare::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::{Bucket, ClassReport, Report};
use crate::peers::{PER_TRY, Peer};

/// How it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its process ends: connections are refused.
    Killed,
    /// Its process is held by SIGSTOP: connections are accepted and nothing is said.
    Stopped,
}

/// One of so many hosts goes.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) hosts: usize,
    pub(super) fate: Fate,
}

/// By when a dead host is to be known.
const DETECTED: Duration = Duration::from_secs(1);
/// What is watched of its return.
const AFTER: Duration = Duration::from_secs(4);
/// When it is asked what came in, before the end.
const LAST: Duration = Duration::from_secs(1);
/// What the share of good answers is taken over.
const WINDOW: Duration = Duration::from_millis(100);

impl Scenario for Outage {
    fn name(&self) -> String {
        let fate = match self.fate {
            Fate::Killed => "killed",
            Fate::Stopped => "stopped",
        };
        match self.hosts {
            1 => format!("outage, the only host {fate}"),
            hosts => format!("outage, one of {hosts} hosts {fate}"),
        }
    }

    fn peers(&self) -> Vec<Peer> {
        let mut peers = PEERS.to_vec();
        if self.fate == Fate::Stopped {
            peers.push(PER_TRY);
        }
        peers
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let bed = Bed::start(peer, self.hosts, Duration::from_millis(5), setup)?;
        let victim = bed.victim()?;
        let seen = Seen::new(self.fate, victim);
        let length = Duration::from_secs_f64(setup.length(10.0));
        let back = WARM + length;
        let go = || self.fate.befalls(victim);
        let known = || seen.count(0);
        let come = || {
            seen.count(1)?;
            // What it takes to come back is not the proxy's doing.
            let begin = Instant::now();
            self.fate.ends(victim)?;
            *seen.took.lock() = begin.elapsed();
            Ok(())
        };
        let look = || {
            *seen.late.lock() = arrived(&bed.hosts)?;
            Ok(())
        };
        let acts: [Act<'_>; 4] = [
            (WARM, &go),
            (WARM + DETECTED, &known),
            (back, &come),
            (back + AFTER - LAST, &look),
        ];
        let parts = [WARM, DETECTED, length - DETECTED, AFTER];
        let report = bed.run(RATE, &parts, &acts)?;
        let came = since(&arrived(&bed.hosts)?, &seen.late.lock());
        let mut sample = sample(&report);
        sample.metrics = seen.metrics(&report, back, &came);
        Ok(sample)
    }
}

impl Fate {
    fn befalls(self, host: &Host) -> anyhow::Result<()> {
        match self {
            Self::Killed => host.kill(),
            Self::Stopped => host.stop(),
        }
    }

    fn ends(self, host: &Host) -> anyhow::Result<()> {
        match self {
            Self::Killed => host.restart(),
            Self::Stopped => host.resume(),
        }
    }
}

/// What is seen while it runs.
#[derive(Debug)]
struct Seen {
    /// `None` where it is not allowed.
    tap: Option<Tap>,
    /// What it counted when the host was to be known, and up to its return.
    reached: [AtomicU64; 2],
    /// How long the return took.
    took: Mutex<Duration>,
    /// What had come in at each host shortly before the end.
    late: Mutex<Vec<u64>>,
}

impl Seen {
    fn new(fate: Fate, victim: &Host) -> Self {
        let packets = match fate {
            Fate::Killed => Packets::Connects,
            Fate::Stopped => Packets::Data,
        };
        Self {
            tap: Tap::start(victim.address().port(), packets).ok(),
            reached: Default::default(),
            took: Mutex::new(Duration::ZERO),
            late: Mutex::new(Vec::new()),
        }
    }

    fn count(&self, place: usize) -> anyhow::Result<()> {
        let count = self.tap.as_ref().map_or(0, Tap::count);
        self.reached[place].store(count, Relaxed);
        Ok(())
    }

    /// `came`: what came in at each host in the end.
    fn metrics(&self, report: &Report, back: Duration, came: &[u64]) -> Vec<Metric> {
        let mut lost = Bucket::default();
        for index in 1..report.classes.len() {
            lost = sum(lost, part(report, index));
        }
        let mut metrics = vec![
            Metric::new("failed calls", "calls", "", (lost.offered - lost.ok) as f64),
            Metric::new("of them turned away", "calls", "", lost.rejected as f64),
            Metric::new("of them timed out", "calls", "", lost.timeout as f64),
        ];
        if self.tap.is_some() {
            let sent = self.reached[1].load(Relaxed) - self.reached[0].load(Relaxed);
            let sent = share(sent, part(report, 2).offered);
            let name = "sent to the dead host after 1 s";
            metrics.push(Metric::new(name, "% of calls", "<= 2", sent));
        }
        let back = back + *self.took.lock();
        let recovery = report.classes.last().map_or(AFTER, |c| recovery(c, back));
        let recovery = recovery.as_secs_f64() * 1_000.0;
        let name = "99 % again after its return";
        metrics.push(Metric::new(name, "ms", "<= 1000", recovery));
        if let [its, _, ..] = came {
            let its = share(*its, came.iter().sum());
            let name = "its share of the calls 3 s after its return";
            metrics.push(Metric::new(name, "%", "", its));
        }
        metrics
    }
}

/// From `back` to the end of the last window in which less than 99 % of the outcomes were good,
/// among calls that were due after the outage.
fn recovery(class: &ClassReport, back: Duration) -> Duration {
    let mut worst = Duration::ZERO;
    let mut from = back;
    while from < back + AFTER {
        let counts = class.between(from, from + WINDOW);
        let ended = counts.ok + counts.rejected + counts.timeout + counts.error;
        if counts.ok * 100 < ended * 99 {
            worst = from + WINDOW - back;
        }
        from += WINDOW;
    }
    worst
}

fn sum(a: Bucket, b: Bucket) -> Bucket {
    Bucket {
        offered: a.offered + b.offered,
        ok: a.ok + b.ok,
        rejected: a.rejected + b.rejected,
        timeout: a.timeout + b.timeout,
        error: a.error + b.error,
    }
}
