//! What can be set, in which units and ranges, and why it is what it is.

use std::time::Duration;

/// Thirty years: more than an entry lives, and little enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Settings of a [`Cache`](crate::Cache). A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How long a value is fresh for, at most; what a write that nobody told the cache of takes to
    /// show. Default 10 min.
    pub ttl: Duration,
    /// The share of the ttl, 0 to 1, by which a life is shortened at random, so that what was loaded
    /// together does not expire together. Default 0.1.
    pub jitter: f64,
    /// XFetch's β, 0 to 100: how eagerly a value is loaded again before it expires. 1 is the optimum
    /// of its authors for loads whose times scatter exponentially; 0 never loads early. Default 1.
    pub beta: f64,
    /// How long a key is known to be absent for; jittered as well. Zero keeps no such entries.
    ///
    /// Short, for most keys that are absent and asked for are about to be written by someone;
    /// [`put`](crate::Cache::put) and [`invalidate`](crate::Cache::invalidate) remove them, so this
    /// bounds what a writer that tells nobody costs. Not shorter, for a key that never existed is
    /// asked for by whoever scans or attacks, and each life is a load. Default 60 s, as go-zero and
    /// rockscache have it.
    pub negative: Duration,
    /// How long a value is kept after it has expired, for weak reads and for when loading fails.
    /// Default 1 min; zero keeps none.
    pub stale: Duration,
    /// After a load that failed, how long a stale value is served without trying again. Default 1 s;
    /// half of it at least, at random.
    pub retry: Duration,
    /// How long a loader may take before it is dropped, at least 1 ms. Default 5 s.
    pub load_timeout: Duration,
    /// How long the lease on a key lasts that a dead process held; at least a fifth more than
    /// `load_timeout`. Default 10 s, as Facebook's leases.
    pub lease: Duration,
    /// Entries kept in process; 0: none. Default 10,000. With a weigher, what they may weigh
    /// together.
    pub capacity: u64,
    /// How long an entry is fresh for in process at most, where Redis stands behind it. Default: as
    /// long as it is there.
    pub local_ttl: Duration,
    /// How large a value may be in bytes, encoded or weighed, to be kept. Default 1 MiB.
    pub max_value: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(600),
            jitter: 0.1,
            beta: 1.0,
            negative: Duration::from_secs(60),
            stale: Duration::from_secs(60),
            retry: Duration::from_secs(1),
            load_timeout: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            capacity: 10_000,
            local_ttl: FOREVER,
            max_value: 1024 * 1024,
        }
    }
}

impl Settings {
    /// Every value in its range.
    #[must_use]
    pub(crate) fn in_range(self) -> Self {
        let defaults = Self::default();
        let real = |value: f64, default: f64, most: f64| {
            let value = if value.is_nan() { default } else { value };
            value.clamp(0.0, most)
        };
        let load_timeout = self.load_timeout.clamp(Duration::from_millis(1), FOREVER);
        Self {
            ttl: self.ttl.min(FOREVER),
            jitter: real(self.jitter, defaults.jitter, 1.0),
            beta: real(self.beta, defaults.beta, 100.0),
            negative: self.negative.min(FOREVER),
            stale: self.stale.min(FOREVER),
            retry: self.retry.min(FOREVER),
            load_timeout,
            lease: self
                .lease
                .clamp(load_timeout + load_timeout / 5, FOREVER * 2),
            capacity: self.capacity,
            local_ttl: self.local_ttl.min(FOREVER),
            max_value: self.max_value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_counts_as_the_nearest_sense() {
        let settings = Settings {
            ttl: Duration::MAX,
            jitter: f64::NAN,
            beta: f64::NEG_INFINITY,
            load_timeout: Duration::MAX,
            lease: Duration::ZERO,
            ..Settings::default()
        };
        let settings = settings.in_range();
        assert_eq!(
            (settings.ttl, settings.jitter, settings.beta),
            (FOREVER, 0.1, 0.0)
        );
        assert!(settings.lease > settings.load_timeout);
        assert_eq!(Settings::default().in_range(), Settings::default());
    }
}
