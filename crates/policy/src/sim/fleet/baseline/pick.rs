//! Rules of choice.

use super::super::client::{Member, Reply};
use super::Picker;
use crate::Tick;
use crate::sim::Rng;

fn below(rng: &mut Rng, n: usize) -> usize {
    (rng.unit() * n as f64) as usize
}

/// Two different members by chance, or one twice where there is no other.
fn two(rng: &mut Rng, hosts: &[u32]) -> Option<(u32, u32)> {
    if hosts.len() < 2 {
        return hosts.first().map(|&only| (only, only));
    }
    let first = below(rng, hosts.len());
    let second = (first + 1 + below(rng, hosts.len() - 1)) % hosts.len();
    Some((hosts[first], hosts[second]))
}

fn numbers(members: &[Member]) -> Vec<u32> {
    members.iter().map(|m| m.host).collect()
}

/// What is known of each host, by its number.
#[derive(Debug, Default)]
struct PerHost<T>(Vec<T>);

impl<T: Clone + Default> PerHost<T> {
    fn at(&mut self, host: u32) -> &mut T {
        let at = host as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, T::default());
        }
        &mut self.0[at]
    }
}

/// Any one.
#[derive(Debug, Default)]
pub struct Random(Vec<u32>);

impl Picker for Random {
    fn members(&mut self, members: &[Member]) {
        self.0 = numbers(members);
    }

    fn pick(&mut self, _: Tick, rng: &mut Rng) -> Option<u32> {
        self.0.get(below(rng, self.0.len())).copied()
    }
}

/// One after the other.
#[derive(Debug, Default)]
pub struct RoundRobin {
    hosts: Vec<u32>,
    turn: usize,
}

impl Picker for RoundRobin {
    fn members(&mut self, members: &[Member]) {
        self.hosts = numbers(members);
    }

    fn pick(&mut self, _: Tick, _: &mut Rng) -> Option<u32> {
        self.turn += 1;
        self.hosts.get(self.turn % self.hosts.len().max(1)).copied()
    }
}

/// By chance, in proportion to the weights: weighted round robin with weights that are right.
#[derive(Debug, Default)]
pub struct Weighted(Vec<Member>);

impl Picker for Weighted {
    fn members(&mut self, members: &[Member]) {
        self.0 = members.to_vec();
    }

    fn pick(&mut self, _: Tick, rng: &mut Rng) -> Option<u32> {
        let all: f64 = self.0.iter().map(|m| f64::from(m.weight)).sum();
        let mut at = rng.unit() * all;
        let found = self.0.iter().find(|m| {
            at -= f64::from(m.weight);
            at < 0.0
        });
        found.or(self.0.last()).map(|m| m.host)
    }
}

/// The one with the fewest calls of this client, the first of equals.
#[derive(Debug, Default)]
pub struct LeastLoaded {
    hosts: Vec<u32>,
    pending: PerHost<u32>,
    turn: usize,
}

impl Picker for LeastLoaded {
    fn members(&mut self, members: &[Member]) {
        self.hosts = numbers(members);
    }

    fn pick(&mut self, _: Tick, _: &mut Rng) -> Option<u32> {
        let n = self.hosts.len();
        self.turn += 1;
        let from = self.turn;
        let order = (0..n).map(|i| self.hosts[(from + i) % n]);
        let least = order.min_by_key(|&host| *self.pending.at(host))?;
        *self.pending.at(least) += 1;
        Some(least)
    }

    fn done(&mut self, host: u32, _: &Reply, _: Tick) {
        *self.pending.at(host) -= 1;
    }
}

/// Of two by chance the one with fewer calls of this client.
#[derive(Debug, Default)]
pub struct TwoLeastLoaded {
    hosts: Vec<u32>,
    pending: PerHost<u32>,
}

impl Picker for TwoLeastLoaded {
    fn members(&mut self, members: &[Member]) {
        self.hosts = numbers(members);
    }

    fn pick(&mut self, _: Tick, rng: &mut Rng) -> Option<u32> {
        let (a, b) = two(rng, &self.hosts)?;
        let (of_a, of_b) = (*self.pending.at(a), *self.pending.at(b));
        let host = if of_b < of_a { b } else { a };
        *self.pending.at(host) += 1;
        Some(host)
    }

    fn done(&mut self, host: u32, _: &Reply, _: Tick) {
        *self.pending.at(host) -= 1;
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    cost: f64,
    at: Tick,
    pending: u32,
}

/// Of two by chance the one with the lesser latency × calls of this client, where a latency that
/// is higher than what is known replaces it and a lower one is blended in over ten seconds
/// (Finagle's rule). A failure's latency counts like any other.
#[derive(Debug, Default)]
pub struct PeakEwma {
    hosts: Vec<u32>,
    known: PerHost<Peak>,
}

impl PeakEwma {
    const MEMORY: f64 = 10e9;
    /// For a host with calls under way of which none has come back.
    const UNKNOWN: f64 = 1e18;

    fn score(&mut self, host: u32, now: Tick) -> f64 {
        let known = *self.known.at(host);
        if known.cost == 0.0 && known.pending > 0 {
            return Self::UNKNOWN + f64::from(known.pending);
        }
        let age = now.since(known.at).as_nanos() as f64;
        known.cost * (-age / Self::MEMORY).exp() * f64::from(known.pending + 1)
    }
}

impl Picker for PeakEwma {
    fn members(&mut self, members: &[Member]) {
        self.hosts = numbers(members);
    }

    fn pick(&mut self, now: Tick, rng: &mut Rng) -> Option<u32> {
        let (a, b) = two(rng, &self.hosts)?;
        let host = if self.score(b, now) < self.score(a, now) {
            b
        } else {
            a
        };
        self.known.at(host).pending += 1;
        Some(host)
    }

    fn done(&mut self, host: u32, reply: &Reply, now: Tick) {
        let known = self.known.at(host);
        known.pending -= 1;
        let latency = reply.latency.as_nanos() as f64;
        let kept = (-(now.since(known.at).as_nanos() as f64) / Self::MEMORY).exp();
        known.cost = if latency > known.cost {
            latency
        } else {
            known.cost * kept + latency * (1.0 - kept)
        };
        known.at = now;
    }
}
