//! Prequal as its paper has it (Wydrowski, Kleinberg, Rumble, Archer, NSDI 2024).

use std::collections::VecDeque;
use std::time::Duration;

use super::super::client::{HostLoad, Member};
use super::Picker;
use crate::Tick;
use crate::sim::Rng;

#[derive(Clone, Copy, Debug)]
struct Probe {
    host: u32,
    in_flight: u32,
    latency: Duration,
    came: Tick,
    /// How many more picks may use it.
    uses: u32,
}

/// A pool of probes; those with more calls in flight than a quantile of late are hot. The coldest
/// latency wins, and where all are hot the fewest calls.
#[derive(Debug)]
pub struct Prequal {
    hosts: Vec<u32>,
    pool: VecDeque<Probe>,
    /// Calls in flight that probes of late told of.
    seen: VecDeque<u32>,
    /// Probes for each query.
    rate: f64,
    owed: f64,
    /// The quantile above which a host is hot.
    quantile: f64,
    /// The next removal takes the worst; otherwise the oldest.
    worst: bool,
}

impl Prequal {
    const POOL: usize = 16;
    const AGE: Duration = Duration::from_secs(1);
    const REMOVED: f64 = 1.0;
    const SEEN: usize = 128;

    /// With so many probes a query; the paper has 3.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self {
            hosts: Vec::new(),
            pool: VecDeque::new(),
            seen: VecDeque::new(),
            rate,
            owed: 0.0,
            quantile: 0.84,
            worst: false,
        }
    }

    /// How often a probe may be used, so that the pool neither runs dry nor goes stale.
    fn uses(&self, rng: &mut Rng) -> u32 {
        let fresh = (1.0 - Self::POOL as f64 / self.hosts.len().max(1) as f64).max(0.0);
        let gain = fresh * self.rate - Self::REMOVED;
        let uses = if gain > 0.0 {
            (2.0 / gain).max(1.0)
        } else {
            16.0
        };
        uses as u32 + u32::from(rng.unit() < uses.fract())
    }

    fn hot_above(&self) -> u32 {
        let mut sorted: Vec<u32> = self.seen.iter().copied().collect();
        sorted.sort_unstable();
        let at = (self.quantile * sorted.len() as f64) as usize;
        sorted.get(at).copied().unwrap_or(u32::MAX)
    }

    fn remove(&mut self, hot_above: u32) {
        self.worst = !self.worst;
        if !self.worst {
            self.pool.pop_front();
            return;
        }
        // Hot ones are worse than cold ones, among them by calls, else by latency.
        let rank = |p: &Probe| match p.in_flight > hot_above {
            true => (1, u128::from(p.in_flight)),
            false => (0, p.latency.as_nanos()),
        };
        let worst = (0..self.pool.len()).max_by_key(|&i| rank(&self.pool[i]));
        if let Some(worst) = worst {
            self.pool.remove(worst);
        }
    }
}

impl Picker for Prequal {
    fn members(&mut self, members: &[Member]) {
        self.hosts = members.iter().map(|m| m.host).collect();
        self.pool.retain(|p| self.hosts.contains(&p.host));
    }

    fn pick(&mut self, now: Tick, rng: &mut Rng) -> Option<u32> {
        self.pool.retain(|p| now.since(p.came) <= Self::AGE);
        if self.pool.len() < 2 {
            let any = (rng.unit() * self.hosts.len() as f64) as usize;
            return self.hosts.get(any).copied();
        }
        let hot_above = self.hot_above();
        let rank = |p: &Probe| match p.in_flight > hot_above {
            true => (1, u128::from(p.in_flight)),
            false => (0, p.latency.as_nanos()),
        };
        let best = (0..self.pool.len()).min_by_key(|&i| rank(&self.pool[i]))?;
        let probe = &mut self.pool[best];
        let host = probe.host;
        // What was just sent there is not in what the probe knew.
        probe.in_flight += 1;
        probe.uses = probe.uses.saturating_sub(1);
        if probe.uses == 0 {
            self.pool.remove(best);
        }
        self.remove(hot_above);
        Some(host)
    }

    fn probes(&mut self, _: Tick, rng: &mut Rng, hosts: &mut Vec<u32>) {
        self.owed += self.rate;
        while self.owed >= 1.0 && hosts.len() < self.hosts.len() {
            self.owed -= 1.0;
            let any = loop {
                let any = self.hosts[(rng.unit() * self.hosts.len() as f64) as usize];
                if !hosts.contains(&any) {
                    break any;
                }
            };
            hosts.push(any);
        }
    }

    fn probed(&mut self, host: u32, load: HostLoad, now: Tick) {
        self.seen.push_back(load.in_flight);
        if self.seen.len() > Self::SEEN {
            self.seen.pop_front();
        }
        let mut luck = Rng::new(now.0 ^ u64::from(host) << 48);
        let uses = self.uses(&mut luck);
        self.pool.push_back(Probe {
            host,
            in_flight: load.in_flight,
            latency: load.latency,
            came: now,
            uses,
        });
        if self.pool.len() > Self::POOL {
            self.pool.pop_front();
        }
    }
}
