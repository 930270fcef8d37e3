//! What a database tells of itself, for Prometheus.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::backend::Backend;
use super::pool::PoolStats;
use super::{Database, Stats};

type Count = (&'static str, &'static str, fn(&PoolStats) -> u64);

const GAUGES: &[Count] = &[
    ("connections_limit", "Connections at most", |pool| {
        pool.limit as u64
    }),
    ("waiting", "Callers that wait for a connection", |pool| {
        pool.waiting as u64
    }),
];
const COUNTERS: &[Count] = &[
    ("acquired", "Connections given out", |pool| pool.acquired),
    ("waited", "Callers that had to wait", |pool| pool.waited),
    ("rejected", "Callers turned away", |pool| pool.rejected),
    ("opened", "Connections made", |pool| pool.opened),
    ("ended", "Connections given up or broken", |pool| pool.ended),
];

impl<DB: Backend> Collector for Database<DB> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats = self.stats();
        for (name, help, value) in GAUGES {
            each(&mut encoder, name, help, &stats, |pool| {
                ConstGauge::new(value(pool) as i64)
            })?;
        }
        for (name, help, value) in COUNTERS {
            each(&mut encoder, name, help, &stats, |pool| {
                ConstCounter::new(value(pool))
            })?;
        }
        connections(&mut encoder, &stats)?;
        replicas(&mut encoder, &stats)
    }
}

/// A metric of each pool.
fn each<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    stats: &Stats,
    metric: impl Fn(&PoolStats) -> M,
) -> Result<(), Error> {
    let Some(first) = stats.pools.first() else {
        return Ok(());
    };
    let name = format!("seawall_data_{name}");
    let kind = metric(first).metric_type();
    let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
    for pool in &stats.pools {
        let labels = [("server", &*pool.server), ("pool", &*pool.pool)];
        metric(pool).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn connections(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> Result<(), Error> {
    let (name, help) = ("seawall_data_connections", "Connections, by what they do");
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for pool in &stats.pools {
        for (state, count) in [("in-use", pool.in_use), ("idle", pool.idle)] {
            let labels = [
                ("server", &*pool.server),
                ("pool", &*pool.pool),
                ("state", state),
            ];
            ConstGauge::new(count as i64).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn replicas(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> Result<(), Error> {
    let (name, help) = ("seawall_data_replica_used", "1 while the replica is read");
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for replica in &stats.replicas {
        let used = ConstGauge::new(i64::from(replica.used));
        used.encode(family.encode_family(&[("server", &*replica.server)])?)?;
    }
    let (name, help) = (
        "seawall_data_replica_lag_seconds",
        "How old what it shows may be",
    );
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for replica in &stats.replicas {
        if let Some(lag) = replica.lag {
            let lag = ConstGauge::new(lag.as_secs_f64());
            lag.encode(family.encode_family(&[("server", &*replica.server)])?)?;
        }
    }
    Ok(())
}
