//! The policy proper, driven as the layers drive it.

use std::time::Duration;

use super::client::{self, Client, HostLoad, Member, Pick, Reply, Verdict};
use crate::balance::{Ask, BalanceSettings, Choice, HostSpec, Hosts, Load};
use crate::breaker::{Breaker, Pass, Throttle, ThrottleSettings};
use crate::retry::{
    self, Budget, BudgetSettings, Hedge, HedgeSettings, Latencies, LatencySettings, Retry,
    RetrySettings,
};
use crate::sim::Rng;
use crate::{Call, Outcome, Tick};

/// What a [`Stack`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct StackSettings {
    /// The choice of a host, and when one is taken out.
    pub balance: BalanceSettings,
    /// The breaker around the whole upstream, if there is one.
    pub breaker: Option<ThrottleSettings>,
    /// Whether and when a call is sent again.
    pub retry: RetrySettings,
    /// How often, all calls together.
    pub budget: BudgetSettings,
    /// Second copies of calls that take long, if there are any.
    pub hedge: Option<HedgeSettings>,
    /// What is long, and what is typical.
    pub latencies: LatencySettings,
}

impl Default for StackSettings {
    fn default() -> Self {
        Self {
            balance: BalanceSettings::default(),
            breaker: Some(ThrottleSettings::default()),
            retry: RetrySettings::default(),
            budget: BudgetSettings::default(),
            hedge: Some(HedgeSettings::default()),
            latencies: LatencySettings::default(),
        }
    }
}

/// An attempt under way.
#[derive(Debug)]
struct Ticket {
    choice: Choice,
    pass: Option<Pass>,
}

/// One client instance of the crate's own policies in the order that they are vetted in: budget;
/// for each attempt the breaker, then the choice of a host. Calls are idempotent.
#[derive(Debug)]
pub struct Stack {
    settings: StackSettings,
    breaker: Option<Throttle>,
    retry: Retry,
    budget: Budget,
    hosts: Option<Hosts>,
    /// The scenario's number of each host of the list.
    numbers: Vec<u32>,
    /// By attempt.
    tickets: Vec<Option<Ticket>>,
    /// The attempt that ended last was a probe.
    probed: bool,
    hedge: Option<Hedge>,
    latencies: Latencies,
}

/// A host's identity in `balance`.
fn key(host: u32) -> u64 {
    u64::from(host) + 1
}

fn call(ask: &client::Ask<'_>) -> Call {
    Call {
        deadline: ask.deadline,
        attempt: ask.attempt,
        idempotent: true,
        ..Call::default()
    }
}

fn reported(load: HostLoad) -> Load {
    Load {
        in_flight: load.in_flight,
        latency: load.latency,
    }
}

impl Stack {
    /// A client that has not heard of any host yet.
    #[must_use]
    pub fn new(settings: StackSettings) -> Self {
        Self {
            breaker: settings.breaker.map(|b| Throttle::new(b, Tick::ZERO)),
            retry: Retry::new(settings.retry),
            budget: Budget::new(&settings.budget),
            hosts: None,
            numbers: Vec::new(),
            tickets: Vec::new(),
            probed: false,
            hedge: settings.hedge.map(Hedge::new),
            latencies: Latencies::new(&settings.latencies),
            settings,
        }
    }

    fn ticket(&mut self, attempt: u32) -> &mut Option<Ticket> {
        let slot = attempt as usize;
        if self.tickets.len() <= slot {
            self.tickets.resize_with(slot + 1, || None);
        }
        &mut self.tickets[slot]
    }
}

impl Client for Stack {
    fn members(&mut self, members: &[Member], now: Tick) {
        let spec = |m: &Member| HostSpec {
            weight: m.weight,
            ..HostSpec::new(key(m.host))
        };
        let specs: Vec<HostSpec> = members.iter().map(spec).collect();
        self.numbers = members.iter().map(|m| m.host).collect();
        self.hosts = Some(match &self.hosts {
            Some(hosts) => hosts.updated(&specs, now),
            None => Hosts::new(self.settings.balance, &specs, now),
        });
    }

    fn begin(&mut self, ask: &client::Ask<'_>, now: Tick) {
        if ask.attempt == 0 {
            self.budget.deposit(now);
        }
    }

    fn pick(&mut self, attempt: u32, ask: &client::Ask<'_>, now: Tick, rng: &mut Rng) -> Pick {
        let pass = match &self.breaker {
            Some(breaker) => match breaker.ask(now, rng.bits()) {
                Ok(pass) => Some(pass),
                Err(_) => return Pick::Reject,
            },
            None => None,
        };
        let tried: Vec<u64> = ask.tried.iter().map(|&host| key(host)).collect();
        let asked = Ask {
            tried: &tried,
            ..Ask::default()
        };
        let hosts = self.hosts.as_ref();
        let Some(choice) = hosts.and_then(|hosts| hosts.pick(&asked, now, rng.bits())) else {
            if let (Some(breaker), Some(pass)) = (&self.breaker, pass) {
                breaker.record(pass, Outcome::Ignored, Duration::ZERO, now);
            }
            return Pick::Reject;
        };
        let host = self.numbers[choice.at()];
        *self.ticket(attempt) = Some(Ticket { choice, pass });
        Pick::Host(host)
    }

    fn done(&mut self, attempt: u32, _: u32, reply: &Reply, now: Tick) {
        let Some(Ticket { choice, pass }) = self.ticket(attempt).take() else {
            return;
        };
        self.probed = choice.is_probe();
        choice.finish(reply.outcome, reply.latency, reply.load.map(reported), now);
        if let (Some(breaker), Some(pass)) = (&self.breaker, pass) {
            breaker.record(pass, reply.outcome, reply.latency, now);
        }
        if reply.outcome == Outcome::Success || reply.overtaken {
            self.latencies.record(reply.latency, now);
        }
    }

    fn decide(
        &mut self,
        ask: &client::Ask<'_>,
        reply: &Reply,
        now: Tick,
        rng: &mut Rng,
    ) -> Verdict {
        let reply = retry::Reply {
            attempts: ask.tried.len().min(255) as u8,
            waited: ask.waited,
            may_have_run: reply.may_have_run,
            marked: reply.retried,
            probe: self.probed,
            ..retry::Reply::new(reply.outcome)
        };
        let typical = self.latencies.typical();
        let budget = &self.budget;
        match (self.retry).decide(&call(ask), &reply, typical, budget, now, rng.bits()) {
            retry::Verdict::After(wait, _paid) => Verdict::Again(wait),
            retry::Verdict::Stop(why) => Verdict::Stop {
                retried: self.retry.must_mark(&reply, why),
            },
        }
    }

    fn hedge_after(&mut self, ask: &client::Ask<'_>, now: Tick) -> Option<Duration> {
        let hedge = self.hedge.as_ref()?;
        let due = hedge.due(&call(ask), true, 1, &self.latencies, now)?;
        Some(due.since(now))
    }

    fn hedge(&mut self, ask: &client::Ask<'_>, now: Tick) -> bool {
        let (latencies, budget) = (&self.latencies, &self.budget);
        self.hedge.as_ref().is_some_and(|hedge| {
            let paid = hedge.send(&call(ask), true, 1, latencies, budget, now);
            paid.is_some()
        })
    }

    fn probes(&mut self, now: Tick, rng: &mut Rng, wanted: &mut Vec<u32>) {
        let Some(hosts) = &self.hosts else { return };
        while let Some(at) = hosts.probe_wanted(now, rng.bits()) {
            wanted.push(self.numbers[at]);
        }
    }

    fn probed(&mut self, host: u32, load: HostLoad, now: Tick) {
        let at = self.numbers.iter().position(|&number| number == host);
        if let (Some(hosts), Some(at)) = (&self.hosts, at) {
            hosts.probe_result(at, reported(load), now);
        }
    }

    fn attempt_limit(&self, attempt: u32, ask: &client::Ask<'_>, now: Tick) -> Option<Duration> {
        let ticket = self.tickets.get(attempt as usize)?.as_ref()?;
        let probe = ticket.choice.probe_limit(ask.deadline.since(now));
        [self.settings.retry.per_try, probe]
            .into_iter()
            .flatten()
            .min()
    }
}
