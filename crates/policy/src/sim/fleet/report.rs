//! What a run showed: a log of calls and attempts, and the figures that are read from it.

use std::time::Duration;

use crate::stats::{QuantileSketch, Resolution};

/// How a user's call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a good answer in time.
    Ok,
    /// With a failure.
    Failed,
    /// Turned away by its own client.
    Rejected,
    /// Its time was up.
    TimedOut,
    /// The user left; not counted as success or failure.
    Left,
}

/// A user's call.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When it began, in seconds.
    pub began: f64,
    /// How long it took, in seconds.
    pub took: f32,
    /// How it ended.
    pub end: End,
}

/// An attempt that was sent to a host.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When, in seconds.
    pub at: f64,
    /// To which host.
    pub host: u32,
    /// Of which tier.
    pub tier: u8,
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Users' calls in the order of their ends.
    pub calls: Vec<Ended>,
    /// Attempts in the order in which they were sent.
    pub sent: Vec<Sent>,
    /// Probes sent.
    pub probes: u64,
    /// Events that were simulated.
    pub events: u64,
}

impl Report {
    fn begun(&self, from: f64, to: f64) -> impl Iterator<Item = &Ended> {
        let within = move |c: &&Ended| c.began >= from && c.began < to && c.end != End::Left;
        self.calls.iter().filter(within)
    }

    /// Users' calls that began from `from` to `to` (seconds).
    #[must_use]
    pub fn offered(&self, from: f64, to: f64) -> usize {
        self.begun(from, to).count()
    }

    /// All of them, with those whose users left early.
    #[must_use]
    pub fn arrived(&self, from: f64, to: f64) -> usize {
        let within = |c: &&Ended| c.began >= from && c.began < to;
        self.calls.iter().filter(within).count()
    }

    /// Good answers in time, as a part of the calls that began from `from` to `to`.
    #[must_use]
    pub fn success(&self, from: f64, to: f64) -> f64 {
        let (mut ok, mut all) = (0_u64, 0_u64);
        for call in self.begun(from, to) {
            all += 1;
            ok += u64::from(call.end == End::Ok);
        }
        ok as f64 / all.max(1) as f64
    }

    /// Calls that began from `from` to `to` and did not end well.
    #[must_use]
    pub fn errors(&self, from: f64, to: f64) -> usize {
        self.begun(from, to).filter(|c| c.end != End::Ok).count()
    }

    /// The latency in seconds that a part `q` of the calls did not exceed; one that failed counts
    /// with all the time its user had, `timeout`.
    #[must_use]
    pub fn latency(&self, q: f64, from: f64, to: f64, timeout: Duration) -> f64 {
        let mut sketch = QuantileSketch::new(Resolution::default());
        for call in self.begun(from, to) {
            sketch.record(match call.end {
                End::Ok => f64::from(call.took),
                _ => timeout.as_secs_f64(),
            });
        }
        sketch.quantile(q).unwrap_or(0.0)
    }

    /// Attempts sent to a tier from `from` to `to`.
    #[must_use]
    pub fn attempts(&self, tier: u8, from: f64, to: f64) -> usize {
        let within = |s: &&Sent| s.tier == tier && s.at >= from && s.at < to;
        self.sent.iter().filter(within).count()
    }

    /// Attempts at a tier for each user's call, from `from` to `to`.
    #[must_use]
    pub fn load(&self, tier: u8, from: f64, to: f64) -> f64 {
        self.attempts(tier, from, to) as f64 / self.arrived(from, to).max(1) as f64
    }

    /// Part of the attempts at its tier that `host` got from `from` to `to`.
    #[must_use]
    pub fn share(&self, host: u32, from: f64, to: f64) -> f64 {
        let mine = |s: &&Sent| s.host == host && s.at >= from && s.at < to;
        let mut mine = self.sent.iter().filter(mine);
        let Some(first) = mine.next() else { return 0.0 };
        let all = self.attempts(first.tier, from, to);
        (1 + mine.count()) as f64 / all.max(1) as f64
    }

    /// How many seconds after `from` success is at `level` for good, in slices of `slice` seconds
    /// up to `to`. Slices of fewer than ten calls count for nothing.
    #[must_use]
    pub fn recovered(&self, level: f64, from: f64, to: f64, slice: f64) -> f64 {
        let slices = ((to - from) / slice) as usize;
        let mut counts = vec![(0_u32, 0_u32); slices];
        for call in self.begun(from, to) {
            let Some((ok, all)) = counts.get_mut(((call.began - from) / slice) as usize) else {
                continue;
            };
            *all += 1;
            *ok += u32::from(call.end == End::Ok);
        }
        let bad = |&(ok, all): &(u32, u32)| all >= 10 && f64::from(ok) < level * f64::from(all);
        counts
            .iter()
            .rposition(bad)
            .map_or(0.0, |last| (last + 1) as f64 * slice)
    }

    /// Probes for each attempt.
    #[must_use]
    pub fn probes_per_attempt(&self) -> f64 {
        self.probes as f64 / self.sent.len().max(1) as f64
    }
}
