//! The run: events in the order of their time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::client::{Client, HostLoad, Member};
use super::host::{AttemptId, Host, Mode, normal};
use super::report::Report;
use super::scenario::{Scenario, What};
use super::slab::{Attempt, CallId, CallState, Slab};
use crate::Tick;
use crate::sim::Rng;

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Arrives,
    /// An attempt reaches its host.
    Reaches(AttemptId),
    /// A host that answers without working does so.
    Answers(AttemptId),
    /// A host's next call may be done; void if the timer is not the last one set.
    Served(u32, u32),
    /// An answer reaches its client.
    Returns(AttemptId),
    AttemptLimit(AttemptId),
    Again(CallId),
    Hedge(CallId),
    Leaves(CallId),
    Deadline(CallId),
    Probe(u32, u32),
    Probed(u32, u32, HostLoad),
    Change(u32),
    Antagonist(u32),
    Discovery,
}

#[derive(Debug)]
struct Timed {
    at: u64,
    serial: u64,
    event: Event,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// A client instance and the tier that it calls.
pub(super) struct Caller {
    pub(super) client: Box<dyn Client>,
    pub(super) tier: u8,
    pub(super) rng: Rng,
}

pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) now: u64,
    serial: u64,
    events: BinaryHeap<Reverse<Timed>>,
    /// When calls arrive, to whom, and what they cost: the same under every policy.
    traffic: Rng,
    /// What happens on the way and at the hosts.
    chance: Rng,
    /// What the antagonists do: the same under every policy.
    others: Rng,
    rate: usize,
    pub(super) callers: Vec<Caller>,
    pub(super) hosts: Vec<Host>,
    /// The tier of each host.
    pub(super) tiers: Vec<u8>,
    /// What the antagonists of each host use on average.
    usual: Vec<f64>,
    pub(super) calls: Slab<CallState>,
    pub(super) attempts: Slab<Attempt>,
    pub(super) report: Report,
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn seconds(at: u64) -> f64 {
    at as f64 / 1e9
}

impl<'a> Run<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        client: &mut dyn FnMut() -> Option<Box<dyn Client>>,
    ) -> Option<Self> {
        let seed = |n: u64| Rng::new(scenario.seed ^ n.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let tiers: Vec<u8> = (scenario.tiers.iter().enumerate())
            .flat_map(|(tier, hosts)| std::iter::repeat_n(tier as u8, hosts.len()))
            .collect();
        let last = scenario.tiers.len().saturating_sub(1) as u8;
        let inner = tiers
            .iter()
            .filter(|&&tier| tier < last)
            .map(|tier| tier + 1);
        let users = std::iter::repeat_n(0, scenario.clients as usize);
        let callers = users.chain(inner).enumerate().map(|(i, tier)| {
            Some(Caller {
                client: client()?,
                tier,
                rng: seed(100 + i as u64),
            })
        });
        let mut run = Self {
            scenario,
            now: 0,
            serial: 0,
            events: BinaryHeap::new(),
            traffic: seed(1),
            chance: seed(2),
            others: seed(3),
            rate: 0,
            callers: callers.collect::<Option<_>>()?,
            hosts: scenario
                .tiers
                .iter()
                .flatten()
                .map(|&model| Host::new(model))
                .collect(),
            tiers,
            usual: Vec::new(),
            calls: Slab::default(),
            attempts: Slab::default(),
            report: Report::default(),
        };
        run.set_up();
        Some(run)
    }

    fn set_up(&mut self) {
        for (i, change) in self.scenario.changes.iter().enumerate() {
            self.schedule(nanos(change.at), Event::Change(i as u32));
        }
        if let Some(antagonists) = self.scenario.antagonists {
            for host in 0..self.hosts.len() as u32 {
                let usual = antagonists.mean + antagonists.between * normal(&mut self.others);
                self.usual.push(usual);
                self.antagonist(host);
            }
        }
        self.discover();
        if let Some(every) = self.scenario.discovery {
            self.schedule(nanos(every), Event::Discovery);
        }
        self.draw_arrival();
    }

    pub(super) fn run(mut self) -> Report {
        let end = nanos(self.scenario.length);
        while let Some(Reverse(next)) = self.events.pop() {
            if next.at >= end {
                break;
            }
            self.now = next.at;
            self.report.events += 1;
            self.happen(next.event);
        }
        self.report
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives => self.arrive(),
            Event::Reaches(attempt) => self.reach(attempt),
            Event::Answers(attempt) => self.answer_unworked(attempt),
            Event::Served(host, timer) => self.served(host, timer),
            Event::Returns(attempt) => self.returns(attempt),
            Event::AttemptLimit(attempt) => self.attempt_limit(attempt),
            Event::Again(call) => self.again(call),
            Event::Hedge(call) => self.hedge(call),
            Event::Leaves(call) => self.leave(call),
            Event::Deadline(call) => self.deadline(call),
            Event::Probe(caller, host) => self.probe(caller, host),
            Event::Probed(caller, host, load) => {
                let now = Tick(self.now);
                self.callers[caller as usize].client.probed(host, load, now);
            }
            Event::Change(change) => self.change(change),
            Event::Antagonist(host) => self.antagonist(host),
            Event::Discovery => {
                self.discover();
                if let Some(every) = self.scenario.discovery {
                    self.schedule(self.now + nanos(every), Event::Discovery);
                }
            }
        }
    }

    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.push(Reverse(Timed {
            at,
            serial: self.serial,
            event,
        }));
    }

    /// One way through the network.
    pub(super) fn hop(&mut self) -> u64 {
        let jitter = nanos(self.scenario.jitter) as f64;
        nanos(self.scenario.network) + (self.chance.unit() * jitter) as u64
    }

    /// Whether something that happens to a part `share` happens now.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.chance.unit() < share
    }

    fn draw_arrival(&mut self) {
        let rates = &self.scenario.rates;
        let mut from = self.now;
        while let Some(&(_, rate)) = rates.get(self.rate) {
            let until = rates.get(self.rate + 1).map_or(u64::MAX, |r| nanos(r.0));
            if rate > 0.0 {
                let wait = self.traffic.exponential() / rate * 1e9;
                let at = from.saturating_add(wait as u64);
                if at < until {
                    return self.schedule(at, Event::Arrives);
                }
            }
            from = until;
            self.rate += 1;
        }
    }

    fn arrive(&mut self) {
        self.draw_arrival();
        let client = (self.traffic.unit() * f64::from(self.scenario.clients)) as u32;
        let (luck, patience) = (self.traffic.bits(), self.traffic.unit());
        let call = self.begin(client, None, self.now + nanos(self.scenario.timeout), luck);
        let (leavers, after) = self.scenario.leavers;
        if patience < leavers {
            self.schedule(self.now + nanos(after), Event::Leaves(call));
        }
    }

    /// Sets a host's timer by what it now works on.
    pub(super) fn start(&mut self, host: u32) {
        let (attempts, now) = (&mut self.attempts, self.now);
        let at = &mut self.hosts[host as usize];
        let next = at.start(|id| {
            let wanted = attempts.get(id).is_some_and(|a| !a.orphan);
            if !wanted {
                attempts.remove(id);
            }
            wanted
        });
        at.timer = at.timer.wrapping_add(1);
        let timer = at.timer;
        if let Some(wait) = next {
            self.schedule(now.saturating_add(wait), Event::Served(host, timer));
        }
    }

    fn change(&mut self, change: u32) {
        let change = self.scenario.changes[change as usize];
        let host = &mut self.hosts[change.host as usize];
        host.advance(self.now);
        match change.what {
            What::Work(work) => host.model.work = work,
            What::Cores(cores) => host.model.cores = cores,
            What::Mode(mode) => {
                host.model.mode = mode;
                if matches!(mode, Mode::Refuses | Mode::Silent) {
                    self.lose(change.host, mode == Mode::Refuses);
                }
            }
            What::Listed(listed) => {
                host.model.listed = listed;
                self.discover();
            }
        }
        self.start(change.host);
    }

    fn antagonist(&mut self, host: u32) {
        let Some(others) = self.scenario.antagonists else {
            return;
        };
        let allotted = self.scenario.tiers[0][host as usize].cores;
        let used = self.usual[host as usize] + others.within * normal(&mut self.others);
        let left = (1.0 - used).clamp(0.0, 1.0) * (others.machine - 1.0);
        let at = &mut self.hosts[host as usize];
        at.advance(self.now);
        at.model.cores = allotted * if left > 0.0 { 1.0 + left } else { others.kept };
        self.start(host);
        let wait = self.others.exponential() * nanos(others.every) as f64;
        self.schedule(self.now + wait as u64, Event::Antagonist(host));
    }

    /// Tells every client its hosts, in an order that means nothing.
    fn discover(&mut self) {
        for tier in 0..self.scenario.tiers.len() as u8 {
            let hosts = self.hosts.iter().enumerate();
            let mut members: Vec<Member> = hosts
                .filter(|(i, h)| self.tiers[*i] == tier && h.model.listed)
                .map(|(i, h)| Member {
                    host: i as u32,
                    weight: h.model.weight,
                })
                .collect();
            let turn = (self.chance.bits() % members.len().max(1) as u64) as usize;
            members.rotate_left(turn);
            for caller in self.callers.iter_mut().filter(|c| c.tier == tier) {
                caller.client.members(&members, Tick(self.now));
            }
        }
    }

    fn probe(&mut self, caller: u32, host: u32) {
        let at = &self.hosts[host as usize];
        if matches!(at.model.mode, Mode::Refuses | Mode::Silent) {
            return;
        }
        let load = at.load();
        let hop = self.hop();
        self.schedule(self.now + hop, Event::Probed(caller, host, load));
    }
}
