//! What the program counts of itself, beside what its layers count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::health::Health;
use super::job::JobTotals;
use super::lifecycle::Phase;

/// Changes of the configuration.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// The registry that `/metrics` shows. Clones are of the same one.
pub(super) type Metrics = Arc<Mutex<Registry>>;

pub(super) struct AppMetrics {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) started: Instant,
    pub(super) health: Health,
    pub(super) reloads: Arc<Reloads>,
    pub(super) jobs: Vec<(String, Arc<JobTotals>)>,
}

impl std::fmt::Debug for AppMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppMetrics").finish_non_exhaustive()
    }
}

impl Collector for AppMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let info = ConstGauge::new(1_i64);
        let labels = [
            ("name", self.name.as_str()),
            ("version", self.version.as_str()),
        ];
        let mut family = encoder.encode_descriptor(
            "seawall_app_info",
            "The program and its version",
            None,
            info.metric_type(),
        )?;
        info.encode(family.encode_family(&labels)?)?;

        let ready = ConstGauge::new(i64::from(self.health.phase() == Phase::Serving));
        let ready_encoder = encoder.encode_descriptor(
            "seawall_app_ready",
            "1 while the program serves and says so",
            None,
            ready.metric_type(),
        )?;
        ready.encode(ready_encoder)?;

        let uptime = ConstGauge::new(self.started.elapsed().as_secs_f64());
        let uptime_encoder = encoder.encode_descriptor(
            "seawall_app_uptime_seconds",
            "Time since the program was set up",
            None,
            uptime.metric_type(),
        )?;
        uptime.encode(uptime_encoder)?;

        let outcomes = [
            ("taken", self.reloads.taken.load(Relaxed)),
            ("refused", self.reloads.refused.load(Relaxed)),
        ];
        let mut family = encoder.encode_descriptor(
            "seawall_app_reloads",
            "Changes of the configuration, by what became of them",
            None,
            ConstCounter::new(0_u64).metric_type(),
        )?;
        for (outcome, count) in outcomes {
            ConstCounter::new(count).encode(family.encode_family(&[("outcome", outcome)])?)?;
        }

        let mut family = encoder.encode_descriptor(
            "seawall_job_runs",
            "Runs of scheduled jobs, by outcome",
            None,
            ConstCounter::new(0_u64).metric_type(),
        )?;
        for (job, totals) in &self.jobs {
            for (outcome, count) in totals.read() {
                let labels = [("job", job.as_str()), ("outcome", outcome)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
