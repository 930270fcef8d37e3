//! Settings, each default with its reason.

use std::time::Duration;

use super::prequal::PrequalSettings;
use super::subset::Subset;

/// How a host is chosen among those that serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The better of two drawn at random by latency × (in flight + 1). The default: it needs no
    /// help from the hosts and sees a slow one within one of its latencies.
    #[default]
    PeakEwma,
    /// The better of two drawn at random by in-flight. For calls whose latency says little of the
    /// host: long streams, answers of very different size.
    LeastRequest,
    /// In turn, by weight, smoothly. For tests and for hosts that are known to be alike.
    RoundRobin,
    /// By a hash of the call, so that calls of one key meet at one host, up to a bound on its load.
    /// For hosts that cache. A call without a hash goes to the better of two by in-flight.
    ConsistentHash,
    /// By what the hosts say of themselves. For many clients that share many hosts, each host able
    /// to report its load.
    Prequal,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::PeakEwma,
        Self::LeastRequest,
        Self::RoundRobin,
        Self::ConsistentHash,
        Self::Prequal,
    ];

    /// The name used in configuration, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeakEwma => "peak-ewma",
            Self::LeastRequest => "least-request",
            Self::RoundRobin => "round-robin",
            Self::ConsistentHash => "consistent-hash",
            Self::Prequal => "prequal",
        }
    }

    /// Hosts are compared by latency × in-flight, not by in-flight alone.
    #[inline]
    pub(super) const fn by_latency(self) -> bool {
        matches!(self, Self::PeakEwma | Self::Prequal)
    }
}

/// Settings of [`Hosts`](super::Hosts). A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BalanceSettings {
    /// How a host is chosen.
    pub algorithm: Algorithm,
    /// Time constant with which a latency that has risen falls, 1 ms to an hour. Default 10 s, as
    /// in Finagle and linkerd.
    pub decay: Duration,
    /// How much a host that fails weighs, in loads of a typical host, 1 to 1,000. Default 10: one
    /// that fails every call weighs eleven hosts and never wins against another, one that fails
    /// one in a hundred weighs 1.1 and is hardly avoided, since every service has bugs.
    pub failure_weight: f64,
    /// How long a host that joins takes to its full share, up to an hour. Default 10 s: caches and
    /// compilers are mostly warm by then, and a fleet that doubles under load cannot wait longer.
    /// Zero: no slow start.
    pub slow_start: Duration,
    /// The share that a joining host begins with, 0.01 to 1. Default 0.1: enough calls to become
    /// known and warm, few enough that their slowness shows in no p99 of a fleet of ten.
    pub slow_start_floor: f64,
    /// The most calls under way at a host of a consistent hash, in means of the hosts that serve,
    /// 1.01 to 100. Default 1.25: with less, keys wander with every fluctuation, with more, a host
    /// must stand more than it has to.
    pub hash_bound: f64,
    /// The hosts that this client uses, where it shall not be all. Default none.
    pub subset: Option<Subset>,
    /// Of [`Algorithm::Prequal`].
    pub prequal: PrequalSettings,
    /// When a host is taken out.
    pub outlier: OutlierSettings,
}

impl Default for BalanceSettings {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            decay: Duration::from_secs(10),
            failure_weight: 10.0,
            slow_start: Duration::from_secs(10),
            slow_start_floor: 0.1,
            hash_bound: 1.25,
            subset: None,
            prequal: PrequalSettings::default(),
            outlier: OutlierSettings::default(),
        }
    }
}

/// Settings of the ejection of outliers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlierSettings {
    /// Failures in a row that eject a host; 0 for never. Default 5, as in Envoy: a service that
    /// fails one call in ten by itself does so once in 100,000 calls.
    pub consecutive: u32,
    /// A host is ejected when it fails this much more of its calls than the others, 0.05 to 1.
    /// Default 0.3: what is less, the weight of failures moves away without an ejection.
    pub excess: f64,
    /// Calls in a second that it takes to judge by `excess`, at least 10. Default 20: at half
    /// failing, chance alone is off by 0.11.
    pub least_calls: u32,
    /// The greatest share of the hosts that is ejected, 0 to 1, rounded up to whole hosts; never
    /// the last. Default 0.5: when more than half fail, the fault is hardly theirs, and those left
    /// would not stand the load. (Envoy's 10 % leaves the second dead host of ten in.) Of three it
    /// is two: rounded down, a second one that is slow would keep its share of every call.
    pub max_share: f64,
    /// The wait before the first probe, 1 ms up to `probe_every`. Doubles with each probe that
    /// fails, and is up to a quarter longer at random. Default 100 ms: a host that restarts is back
    /// quickly.
    pub probe_first: Duration,
    /// The longest wait between the end of a probe and the next, jitter included. Default 500 ms:
    /// within a second of its end an outage is noticed, for two calls a second.
    pub probe_every: Duration,
    /// The most probes in a row that must succeed before a host is taken back: one after its first
    /// ejection, one more for each further one, until it has held for a minute. Default 5: a host
    /// that fails half of its calls passes five in a row once in 32 tries.
    pub max_probes: u32,
    /// How long a host that is taken back takes to its full share. Default 1 s: it is warm, but may
    /// not be well.
    pub recovery: Duration,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            consecutive: 5,
            excess: 0.3,
            least_calls: 20,
            max_share: 0.5,
            probe_first: Duration::from_millis(100),
            probe_every: Duration::from_millis(500),
            max_probes: 5,
            recovery: Duration::from_secs(1),
        }
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
const MILLI: Duration = Duration::from_millis(1);

impl BalanceSettings {
    /// Every value in its range; what is no number becomes the default.
    pub(super) fn sound(self) -> Self {
        let default = Self::default();
        Self {
            decay: self.decay.clamp(MILLI, HOUR),
            failure_weight: sound(self.failure_weight, 1.0, 1_000.0, default.failure_weight),
            slow_start: self.slow_start.min(HOUR),
            slow_start_floor: sound(self.slow_start_floor, 0.01, 1.0, default.slow_start_floor),
            hash_bound: sound(self.hash_bound, 1.01, 100.0, default.hash_bound),
            outlier: self.outlier.sound(),
            ..self
        }
    }
}

impl OutlierSettings {
    fn sound(self) -> Self {
        let default = Self::default();
        let probe_every = self.probe_every.clamp(MILLI, HOUR);
        Self {
            excess: sound(self.excess, 0.05, 1.0, default.excess),
            least_calls: self.least_calls.max(10),
            max_share: sound(self.max_share, 0.0, 1.0, default.max_share),
            probe_first: self.probe_first.clamp(MILLI, probe_every),
            probe_every,
            max_probes: self.max_probes.max(1),
            recovery: self.recovery.min(HOUR),
            ..self
        }
    }
}

fn sound(value: f64, least: f64, greatest: f64, default: f64) -> f64 {
    if value.is_nan() {
        default
    } else {
        value.clamp(least, greatest)
    }
}
