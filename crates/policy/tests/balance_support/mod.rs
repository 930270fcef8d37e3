//! One client and its hosts, each of which answers as a function says. Virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use seawall_policy::balance::{Ask, BalanceSettings, Choice, HostSpec, Hosts, Load};
use seawall_policy::sim::Rng;
use seawall_policy::{Outcome, Tick};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a host does with a call.
pub(crate) struct Host {
    pub(crate) latency: Duration,
    pub(crate) outcome: Outcome,
}

pub(crate) struct Client {
    settings: BalanceSettings,
    specs: Vec<HostSpec>,
    joining: Vec<(HostSpec, Tick)>,
    rng: Rng,
    /// What takes longer has failed.
    pub(crate) timeout: Duration,
    pub(crate) update_every: Option<Duration>,
    pub(crate) ask_zone: u16,
    /// The call's hash, out of a random number.
    pub(crate) hash: Option<fn(u64) -> u64>,
    /// What a host answers to a probe, by its key and a random number.
    pub(crate) probe: Option<fn(usize, u64) -> Load>,
    /// Responses carry what a probe would answer.
    pub(crate) reports: bool,
}

/// Calls by host and second, failures by second.
pub(crate) struct Run {
    pub(crate) to: Vec<Vec<u32>>,
    pub(crate) failed: Vec<u32>,
    /// Probes for each call.
    pub(crate) probes: f64,
}

impl Run {
    fn calls(&self, second: usize) -> f64 {
        self.to.iter().map(|host| f64::from(host[second])).sum()
    }

    pub(crate) fn share(&self, at: usize, second: usize) -> f64 {
        f64::from(self.to[at][second]) / self.calls(second)
    }

    pub(crate) fn total_share(&self, at: usize) -> f64 {
        let all: u32 = self.to.iter().flatten().sum();
        f64::from(self.to[at].iter().sum::<u32>()) / f64::from(all)
    }

    pub(crate) fn success(&self) -> f64 {
        let all: u32 = self.to.iter().flatten().sum();
        1.0 - f64::from(self.failed.iter().sum::<u32>()) / f64::from(all)
    }
}

impl Client {
    pub(crate) fn new(settings: BalanceSettings, hosts: u64, seed: u64) -> Self {
        Self::weighted(settings, &vec![1; hosts as usize], seed)
    }

    pub(crate) fn weighted(settings: BalanceSettings, weights: &[u32], seed: u64) -> Self {
        let spec = |(key, &weight): (usize, &u32)| HostSpec {
            weight,
            ..HostSpec::new(key as u64)
        };
        Self {
            settings,
            specs: weights.iter().enumerate().map(spec).collect(),
            joining: Vec::new(),
            rng: Rng::new(seed),
            timeout: Duration::MAX,
            update_every: None,
            ask_zone: 0,
            hash: None,
            probe: None,
            reports: false,
        }
    }

    pub(crate) fn zones(&mut self, zone: impl Fn(u64) -> u16) {
        for spec in &mut self.specs {
            spec.zone = zone(spec.key);
        }
    }

    pub(crate) fn join(&mut self, key: u64, at: Tick) {
        self.joining.push((HostSpec::new(key), at));
    }

    pub(crate) fn run(
        &mut self,
        rate: f64,
        seconds: u64,
        answer: impl FnMut(usize, Tick, u64) -> Host,
    ) -> Run {
        self.run_watched(rate, seconds, answer, |_, _| {})
    }

    /// Poisson arrivals for so many seconds. `answer` is given the host's key, the time and a
    /// random number; `watch` sees the hosts before every call.
    pub(crate) fn run_watched(
        &mut self,
        rate: f64,
        seconds: u64,
        mut answer: impl FnMut(usize, Tick, u64) -> Host,
        mut watch: impl FnMut(&Hosts, Tick),
    ) -> Run {
        let most = self.specs.len() + self.joining.len();
        let mut run = Run {
            to: vec![vec![0; seconds as usize]; most],
            failed: vec![0; seconds as usize],
            probes: 0.0,
        };
        let mut hosts = Hosts::new(self.settings, &self.specs, Tick::ZERO);
        let mut updated = Tick::ZERO;
        let mut calls: Vec<Option<(Choice, Outcome, Duration, usize)>> = Vec::new();
        let mut ends: BinaryHeap<Reverse<(Tick, usize)>> = BinaryHeap::new();
        let mut now = Tick::ZERO;
        loop {
            now = now + Duration::from_secs_f64(self.rng.exponential() / rate);
            if now.0 >= seconds * 1_000_000_000 {
                break;
            }
            while let Some(&Reverse((at, id))) = ends.peek() {
                if at > now {
                    break;
                }
                ends.pop();

                let (choice, outcome, latency, second) = calls[id].take().expect("ends once");
                run.failed[second] += u32::from(outcome != Outcome::Success);
                let probe = self.probe.filter(|_| self.reports);
                let load = probe.map(|probe| probe(choice.key() as usize, self.rng.bits()));
                choice.finish(outcome, latency, load, at);
            }
            let joins = |j: &(HostSpec, Tick)| j.1 <= now;
            let due = self.update_every.is_some_and(|e| now.since(updated) >= e);
            if due || self.joining.iter().any(joins) {
                self.specs
                    .extend(self.joining.extract_if(.., |j| joins(j)).map(|j| j.0));
                hosts = hosts.updated(&self.specs, now);
                updated = now;
            }
            watch(&hosts, now);
            let hash = self.hash.map(|hash| hash(self.rng.bits()));
            let zone = self.ask_zone;
            let ask = Ask {
                hash,
                zone,
                ..Ask::default()
            };
            let choice = hosts
                .pick(&ask, now, self.rng.bits())
                .expect("there are hosts");
            while let Some(at) = hosts.probe_wanted(now, self.rng.bits()) {
                run.probes += 1.0;
                if let Some(probe) = self.probe {
                    hosts.probe_result(at, probe(at, self.rng.bits()), now);
                }
            }
            let (key, second) = (choice.key() as usize, (now.0 / 1_000_000_000) as usize);
            run.to[key][second] += 1;
            let host = answer(key, now, self.rng.bits() >> 20);
            let (outcome, latency) = if host.latency > self.timeout {
                (Outcome::Failure, self.timeout)
            } else {
                (host.outcome, host.latency)
            };
            ends.push(Reverse((now + latency, calls.len())));
            calls.push(Some((choice, outcome, latency, second)));
        }
        run.probes /= calls.len() as f64;
        drop(calls);
        assert!(hosts.snapshot(now).all(|h| h.in_flight == 0), "a leak");
        run
    }
}
