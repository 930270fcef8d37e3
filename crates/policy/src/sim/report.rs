//! What a run showed.

use std::time::Duration;

/// One stretch of time of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// Calls that arrived.
    pub offered: u32,
    /// Answers that reached their client in time.
    pub ok: u32,
    /// Calls turned away.
    pub rejected: u32,
    /// Clients that left without an answer.
    pub timed_out: u32,
    /// What the origin could have answered.
    pub capacity: f64,
    /// Slot-seconds of service of the answers in time.
    pub useful: f64,
    /// Slot-seconds that the origin had.
    pub slots: f64,
    /// The limit at the end of the bucket.
    pub limit: u32,
    /// The largest limit in the bucket.
    pub limit_max: u32,
    /// Calls at the origin at the end.
    pub inflight: u32,
    /// Calls waiting in front at the end.
    pub waiting: u32,
}

/// Latencies on a logarithmic scale, 7 % apart.
#[derive(Clone, Debug)]
pub struct Latencies {
    cells: Vec<u32>,
    count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            cells: vec![0; 400],
            count: 0,
        }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, seconds: f64) {
        let cell = ((seconds.max(1e-6) * 1e6).ln() / 0.07) as usize;
        let last = self.cells.len() - 1;
        self.cells[cell.min(last)] += 1;
        self.count += 1;
    }

    /// How many were answered in time.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latency in seconds that a part `q` (0 to 1) of the answers did not exceed.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let want = (q * self.count as f64) as u64;
        let mut sum = 0;
        for (i, &n) in self.cells.iter().enumerate() {
            sum += u64::from(n);
            if sum > want {
                return ((i as f64 + 0.5) * 0.07).exp() * 1e-6;
            }
        }
        0.0
    }
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Length of a bucket of [`Report::series`].
    pub bucket: Duration,
    /// The run in buckets.
    pub series: Vec<Bucket>,
    /// Latency of the answers that came in time, from the client's view, by route.
    pub latencies: Vec<Latencies>,
    /// Work that the origin did for clients that had left, as a part of all its work.
    pub wasted: f64,
    /// Events that were simulated.
    pub events: u64,
}

impl Report {
    /// Sum of `value` from `from` to `to`; a bucket that is cut counts for the part inside.
    fn sum(&self, from: Duration, to: Duration, value: impl Fn(&Bucket) -> f64) -> f64 {
        let width = self.bucket.as_secs_f64();
        let (from, to) = (from.as_secs_f64() / width, to.as_secs_f64() / width);
        let parts = self.series.iter().enumerate().map(|(i, bucket)| {
            let i = i as f64;
            let part = (to.min(i + 1.0) - from.max(i)).clamp(0.0, 1.0);
            if part > 0.0 {
                part * value(bucket)
            } else {
                0.0
            }
        });
        parts.sum()
    }

    /// Answers in time, as a part of what the origin could have answered.
    #[must_use]
    pub fn goodput(&self, from: Duration, to: Duration) -> f64 {
        self.sum(from, to, |b| f64::from(b.ok)) / self.sum(from, to, |b| b.capacity)
    }

    /// Work for answers in time, as a part of the slots there were. The same as
    /// [`Report::goodput`] in the long run, without the chance of which calls happened to be long.
    #[must_use]
    pub fn useful(&self, from: Duration, to: Duration) -> f64 {
        self.sum(from, to, |b| b.useful) / self.sum(from, to, |b| b.slots)
    }

    /// Calls turned away or left unanswered, as a part of those that arrived.
    #[must_use]
    pub fn refused(&self, from: Duration, to: Duration) -> f64 {
        let bad = self.sum(from, to, |b| f64::from(b.rejected) + f64::from(b.timed_out));
        bad / self.sum(from, to, |b| f64::from(b.offered)).max(1.0)
    }

    /// Answers in time, as a part of the calls that arrived.
    #[must_use]
    pub fn answered(&self, from: Duration, to: Duration) -> f64 {
        let ok = self.sum(from, to, |b| f64::from(b.ok));
        ok / self.sum(from, to, |b| f64::from(b.offered)).max(1.0)
    }

    /// Quantile `q` (0 to 1) of the limit over the buckets' ends.
    #[must_use]
    pub fn limit(&self, from: Duration, to: Duration, q: f64) -> u32 {
        let width = self.bucket.as_secs_f64();
        let from = (from.as_secs_f64() / width) as usize;
        let to = ((to.as_secs_f64() / width) as usize).min(self.series.len());
        let mut limits: Vec<u32> = self.series[from.min(to)..to]
            .iter()
            .map(|b| b.limit)
            .collect();
        limits.sort_unstable();
        let at = ((limits.len() as f64 - 1.0) * q).round().max(0.0) as usize;
        limits.get(at).copied().unwrap_or(0)
    }
}
