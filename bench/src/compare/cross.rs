//! Unequal traffic on one origin: who is hurt by whom.

use std::time::Duration;

use super::bed::Bed;
use super::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::{Class, ClassReport, Step};
use crate::origin;
use crate::peers::Peer;

/// Four criticalities at 10× in all, the top one 60 % of the capacity.
#[derive(Debug)]
pub(super) struct Criticalities {
    pub(super) shape: Shape,
}

/// As `seawall-criticality` spells them, the top one first.
const NAMES: [&str; 4] = ["critical-plus", "critical", "sheddable-plus", "sheddable"];

impl Scenario for Criticalities {
    fn name(&self) -> String {
        format!("{} four criticalities at 10x", self.shape)
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall, Peer::EnvoyAdaptive]
    }

    fn shape(&self) -> Option<&Shape> {
        Some(&self.shape)
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let second = self.shape.second();
        let warm = Duration::from_secs_f64(2.0 * second);
        let end = warm + Duration::from_secs_f64(setup.length(6.0) * second);
        let origin = self.shape.origin(setup.round + 1);
        let bed = Bed::configured(&self.shape, peer, setup, origin, true)?;
        let classes = NAMES.map(|name| {
            let multiple = if name == NAMES[0] { 0.6 } else { 9.4 / 3.0 };
            let step = Step::new(multiple * setup.capacity, end.as_secs_f64());
            bed.class(name, vec![step])
                .header("seawall-criticality", name)
        });
        let ran = bed.run(classes.to_vec(), warm..end, &[])?;
        let mut sample = ran.sample();
        let top = ran.report.class(NAMES[0]).map(|class| class.due);
        let served = top.map_or(0.0, |top| 100.0 * top.ok as f64 / top.offered.max(1) as f64);
        let total = ran.goodput(warm, end, setup.capacity);
        sample.metrics = vec![
            Metric::new("top criticality served", "%", ">= 99.5", served),
            Metric::new("goodput in all", "% of capacity", ">= 97", total),
        ];
        Ok(sample)
    }
}

/// What crowds out the small calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowd {
    /// 200 ms calls at ten times what the origin could serve of them, beside 5 ms calls.
    SlowRoute,
    /// Uploads of 2 MiB at 1 MiB/s, twice as many as there are slots, beside 20 ms calls.
    GiantUploads,
}

/// Small calls at a fifth of the capacity, alone and then in a crowd.
#[derive(Debug)]
pub(super) struct Crowded {
    pub(super) crowd: Crowd,
    pub(super) shape: Shape,
}

impl Crowded {
    pub(super) fn new(crowd: Crowd) -> Self {
        Self {
            crowd,
            shape: Shape::default(),
        }
    }

    fn small(&self, bed: &Bed, length: f64) -> Class {
        bed.class("small", vec![Step::new(200.0, length)])
            .path("/small")
    }

    fn crowd(&self, bed: &Bed, length: f64) -> Class {
        match self.crowd {
            Crowd::SlowRoute => bed
                .class("crowd", vec![Step::new(1_000.0, length)])
                .path("/slow")
                .timeout(Duration::from_millis(2_500)),
            Crowd::GiantUploads => bed
                .class("crowd", vec![Step::new(20.0, length)])
                .path("/upload")
                .upload(2 << 20)
                .pace(Duration::from_micros(62_500))
                .timeout(Duration::from_secs(10)),
        }
    }
}

impl Scenario for Crowded {
    fn name(&self) -> String {
        match self.crowd {
            Crowd::SlowRoute => "small calls beside a flooded slow route".to_owned(),
            Crowd::GiantUploads => "small calls beside giant uploads".to_owned(),
        }
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall, Peer::EnvoyAdaptive, Peer::NginxLimit]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let small = match self.crowd {
            Crowd::SlowRoute => Duration::from_millis(5),
            Crowd::GiantUploads => Duration::from_millis(20),
        };
        let paths = vec![
            ("/small".to_owned(), small),
            ("/slow".to_owned(), Duration::from_millis(200)),
        ];
        let origin = origin::Config {
            paths,
            ..self.shape.origin(setup.round + 1)
        };
        let bed = Bed::configured(&self.shape, peer, setup, origin, false)?;
        let warm = Duration::from_secs(1);
        let length = 1.0 + setup.length(6.0);
        let part = warm..Duration::from_secs_f64(length);
        let alone = bed.run(vec![self.small(&bed, length)], part, &[])?;
        let length = 2.0 + setup.length(8.0);
        let part = 2 * warm..Duration::from_secs_f64(length);
        let both = vec![self.small(&bed, length), self.crowd(&bed, length)];
        let crowded = bed.run(both, part, &[])?;
        let mut sample = crowded.sample();
        sample.lateness = sample.lateness.max(alone.report.lateness_p99());
        let (alone, crowded) = (&alone.report.classes[0], &crowded.report.classes[0]);
        let p99 = |class: &ClassReport| {
            let all = class.latency_of_all(0.99, self.shape.timeout());
            all.as_secs_f64() * 1000.0
        };
        let (crowded_p99, ratio) = (p99(crowded), p99(crowded) / p99(alone).max(1e-3));
        let served = 100.0 * crowded.due.ok as f64 / crowded.due.offered.max(1) as f64;
        sample.metrics = vec![
            Metric::new("small calls' p99 to unloaded", "x", "<= 2", ratio),
            Metric::new("small calls' p99", "ms", "", crowded_p99),
            Metric::new("small calls served", "%", "", served),
        ];
        Ok(sample)
    }
}
