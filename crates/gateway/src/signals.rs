//! How busy this process is: its CPU, how late its cores run what is ready, how long calls queue.
//!
//! No call waits for these. The CPU goes to the limits that look at it; all of them go to
//! `/metrics`, where they tell a service that is short of something from a gateway that is.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use seawall::signals::{CpuSampler, PeakGauge, SAMPLE_INTERVAL};
use tokio::time::MissedTickBehavior;

use crate::condition::Conditions;
use crate::core::Shared;
use crate::notice::{LOOK, Shedding};

/// Peaks fade to 1/e in this time: several scrapes apart they are gone, between two they show.
const FADE: Duration = Duration::from_secs(10);

/// A delay that jumps to its peak and fades.
pub(crate) fn delay() -> PeakGauge {
    PeakGauge::new(FADE)
}

/// What is measured once a process and once a core.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) cpu: CpuSampler,
    /// By core: how long what is ready waits for its turn.
    pub(crate) scheduling: Vec<PeakGauge>,
}

impl Signals {
    pub(crate) fn start(cores: usize) -> io::Result<Self> {
        Ok(Self {
            cpu: CpuSampler::start()?,
            scheduling: (0..cores).map(|_| delay()).collect(),
        })
    }
}

/// Hands the CPU to every gate, as often as it is read, for ever; tells when a
/// gate begins and ceases to turn calls away, and when an upstream's condition changes.
pub(crate) async fn pass_on(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(SAMPLE_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: BTreeMap<String, (Shedding, Conditions)> = BTreeMap::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = look.tick() => {
                let plan = shared.plan.load_full();
                seen.retain(|name, _| plan.origin(name).is_some());
                let now = shared.clock.now();
                for origin in &plan.origins {
                    let (shedding, conditions) = seen.entry(origin.name.clone()).or_default();
                    shedding.look(origin);
                    conditions.look(origin, now);
                }
                continue;
            }
        }
        if let Some(used) = shared.signals.cpu.get() {
            for origin in &shared.plan.load().origins {
                origin.admission.set_cpu(used);
            }
        }
    }
}
