//! A host that answers, but late or wrongly.

use std::time::Duration;

use parking_lot::Mutex;

use super::bed::{Act, Bed, PATIENCE, arrived, part, sample, share, since};
use super::{PEERS, RATE, WARM};
use crate::compare::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::Bucket;
use crate::peers::Peer;

/// One of three hosts takes 2 s, which is longer than anyone waits.
#[derive(Debug)]
pub(super) struct Slow;

impl Scenario for Slow {
    fn name(&self) -> String {
        "slow host, one of 3 takes 2 s".to_owned()
    }

    fn peers(&self) -> Vec<Peer> {
        PEERS.to_vec()
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let bed = Bed::start(peer, 3, Duration::from_millis(20), setup)?;
        let victim = bed.victim()?;
        let slow = || victim.steer("service_ms=2000");
        let length = Duration::from_secs_f64(setup.length(10.0));
        let report = bed.run(RATE, &[WARM, length], &[(WARM, &slow)])?;
        let counts = part(&report, 1);
        let p99 = report
            .classes
            .last()
            .map_or(PATIENCE, |class| class.latency_of_all(0.99, PATIENCE));
        let failed = share(counts.offered - counts.ok, counts.offered);
        let mut sample = sample(&report);
        sample.metrics = vec![
            Metric::new("failed calls", "%", "<= 0.1", failed),
            Metric::new("latency p99", "ms", "", p99.as_secs_f64() * 1_000.0),
        ];
        Ok(sample)
    }
}

/// One of ten hosts answers 500 in 1 ms, where the others take 20 ms.
#[derive(Debug)]
pub(super) struct FastFailure;

/// By when it is to be avoided.
const DETECTED: Duration = Duration::from_secs(1);

impl Scenario for FastFailure {
    fn name(&self) -> String {
        "fast failure, one of 10 answers 500 in 1 ms".to_owned()
    }

    fn peers(&self) -> Vec<Peer> {
        PEERS.to_vec()
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let bed = Bed::start(peer, 10, Duration::from_millis(20), setup)?;
        let victim = bed.victim()?;
        let fail = || victim.steer("status=500&service_ms=1");
        let before = Mutex::new(Vec::new());
        let known = || {
            *before.lock() = arrived(&bed.hosts)?;
            Ok(())
        };
        let length = Duration::from_secs_f64(setup.length(6.0));
        let acts: [Act<'_>; 2] = [(WARM, &fail), (WARM + DETECTED, &known)];
        let report = bed.run(RATE, &[WARM, DETECTED, length], &acts)?;
        let came = since(&arrived(&bed.hosts)?, &before.into_inner());
        let bad = came.first().copied().unwrap_or(0);
        let (first, then) = (part(&report, 1), part(&report, 2));
        let failed = |of: Bucket| share(of.offered - of.ok, of.offered);
        let mut sample = sample(&report);
        sample.metrics = vec![
            Metric::new(
                "its share of the calls from 1 s on",
                "%",
                "<= 2",
                share(bad, came.iter().sum()),
            ),
            Metric::new("failed calls in the first second", "%", "", failed(first)),
            Metric::new("failed calls from 1 s on", "%", "", failed(then)),
        ];
        Ok(sample)
    }
}
