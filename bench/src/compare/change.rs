//! Load and capacity that change: a burst, a load the origin can carry, an origin that fails in
//! part.

use std::time::Duration;

use super::bed::{Bed, Change};
use super::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::Step;
use crate::peers::Peer;

fn seconds(count: f64) -> Duration {
    Duration::from_secs_f64(count)
}

/// 0.5× → 5× → 0.5×.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) shape: Shape,
}

impl Scenario for Burst {
    fn name(&self) -> String {
        format!("{} burst 0.5x 5x 0.5x", self.shape)
    }

    fn peers(&self) -> Vec<Peer> {
        vec![
            Peer::Seawall,
            Peer::EnvoyAdaptive,
            Peer::EnvoyAdmission,
            Peer::NginxLimit,
        ]
    }

    fn shape(&self) -> Option<&Shape> {
        Some(&self.shape)
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let second = self.shape.second();
        let (calm, burst, after) = (
            3.0 * second,
            4.0 * second,
            (1.0 + setup.length(9.0)) * second,
        );
        let low = 0.5 * setup.capacity;
        let steps = vec![
            Step::new(low, calm),
            Step::new(5.0 * setup.capacity, burst),
            Step::new(low, after),
        ];
        let bed = Bed::start(&self.shape, peer, setup)?;
        let calm_again = seconds(calm + burst + second);
        let end = seconds(calm + burst + after);
        let ran = bed.run(vec![bed.class("all", steps)], calm_again..end, &[])?;
        let first = seconds(calm) + self.shape.first_completion();
        let goodput = ran.goodput(first, first + seconds(2.0 * second), setup.capacity);
        let mut sample = ran.sample();
        sample.metrics = vec![
            Metric::new(
                "goodput, first 2 s of the burst",
                "% of capacity",
                ">= 95",
                goodput,
            ),
            Metric::new("refused from 1 s after the burst", "%", "0", ran.refused()),
        ];
        Ok(sample)
    }
}

/// 0.8×: nothing needs to be refused.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) shape: Shape,
}

impl Scenario for Carried {
    fn name(&self) -> String {
        format!("{} at 0.8x", self.shape)
    }

    fn peers(&self) -> Vec<Peer> {
        vec![
            Peer::Seawall,
            Peer::EnvoyAdaptive,
            Peer::NginxLimit,
            Peer::HaproxyLimit,
        ]
    }

    fn shape(&self) -> Option<&Shape> {
        Some(&self.shape)
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let second = self.shape.second();
        let length = setup.length(24.0) * second;
        let bed = Bed::start(&self.shape, peer, setup)?;
        let class = bed.class("all", vec![Step::new(0.8 * setup.capacity, length)]);
        let ran = bed.run(vec![class], seconds(second)..seconds(length), &[])?;
        let mut sample = ran.sample();
        let refused = ran.refused();
        sample.metrics = vec![Metric::new("refused needlessly", "%", "<= 0.05", refused)];
        Ok(sample)
    }
}

/// What fails when the origin falls to 30 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Fewer places.
    Slots,
    /// Everything takes longer.
    Speed,
}

/// At 2×, the origin falls to 30 % and comes back.
#[derive(Debug)]
pub(super) struct Fall {
    pub(super) shape: Shape,
    pub(super) loss: Loss,
}

impl Scenario for Fall {
    fn name(&self) -> String {
        let loss = match self.loss {
            Loss::Slots => "slots",
            Loss::Speed => "speed",
        };
        format!("{} falls to 30 % of its {loss}", self.shape)
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall, Peer::EnvoyAdaptive, Peer::NginxLimit]
    }

    fn shape(&self) -> Option<&Shape> {
        Some(&self.shape)
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let second = self.shape.second();
        let fall = seconds(3.0 * second);
        let back = fall + seconds((1.0 + setup.length(9.0)) * second);
        let end = back + seconds((1.0 + setup.length(4.0)) * second);
        let (slots, service) = (self.shape.slots, self.shape.service);
        let set = |share: f64| {
            move |origin: &crate::origin::Origin| match self.loss {
                Loss::Slots => origin.set_slots((slots as f64 * share).round().max(1.0) as usize),
                Loss::Speed => origin.set_service(service.div_f64(share)),
            }
        };
        let (down, up) = (set(0.3), set(1.0));
        let changes: [Change<'_>; 2] = [(fall, &down), (back, &up)];
        let bed = Bed::start(&self.shape, peer, setup)?;
        let steps = vec![Step::new(2.0 * setup.capacity, end.as_secs_f64())];
        let ran = bed.run(vec![bed.class("all", steps)], fall..end, &changes)?;
        let second = seconds(second);
        let low = ran.goodput(fall + second, back, 0.3 * setup.capacity);
        let high = ran.goodput(back + second, end, setup.capacity);
        let mut sample = ran.sample();
        sample.metrics = vec![
            Metric::new(
                "goodput while down, from 1 s on",
                "% of what is there",
                ">= 95",
                low,
            ),
            Metric::new(
                "goodput after, from 1 s on",
                "% of what is there",
                ">= 95",
                high,
            ),
        ];
        Ok(sample)
    }
}
