//! The policy proper, driven as the layers drive it.

use super::client::{self, Client, Member, Pick, Reply, Verdict};
use crate::Tick;
use crate::balance::{Ask, BalanceSettings, Choice, HostSpec, Hosts, Load};
use crate::sim::Rng;

/// What a [`Stack`] is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct StackSettings {
    /// The choice of a host, and when one is taken out.
    pub balance: BalanceSettings,
}

/// One client instance of the crate's own policies, in the order that they are vetted in: budget;
/// for each attempt the breaker, then the choice of a host.
#[derive(Debug)]
pub struct Stack {
    settings: StackSettings,
    hosts: Option<Hosts>,
    /// The scenario's number of each host of the list.
    numbers: Vec<u32>,
    /// By attempt.
    tickets: Vec<Option<Choice>>,
}

/// A host's identity in `balance`.
fn key(host: u32) -> u64 {
    u64::from(host) + 1
}

impl Stack {
    /// A client that has not heard of any host yet.
    #[must_use]
    pub fn new(settings: StackSettings) -> Self {
        Self {
            settings,
            hosts: None,
            numbers: Vec::new(),
            tickets: Vec::new(),
        }
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

    fn pick(&mut self, attempt: u32, ask: &client::Ask<'_>, now: Tick, rng: &mut Rng) -> Pick {
        let tried: Vec<u64> = ask.tried.iter().map(|&host| key(host)).collect();
        let asked = Ask {
            tried: &tried,
            ..Ask::default()
        };
        let hosts = self.hosts.as_ref();
        let Some(choice) = hosts.and_then(|hosts| hosts.pick(&asked, now, rng.bits())) else {
            return Pick::Reject;
        };
        let host = self.numbers[choice.at()];
        let slot = attempt as usize;
        if self.tickets.len() <= slot {
            self.tickets.resize_with(slot + 1, || None);
        }
        self.tickets[slot] = Some(choice);
        Pick::Host(host)
    }

    fn done(&mut self, attempt: u32, _: u32, reply: &Reply, now: Tick) {
        let Some(choice) = self
            .tickets
            .get_mut(attempt as usize)
            .and_then(Option::take)
        else {
            return;
        };
        let load = reply.load.map(|l| Load {
            in_flight: l.in_flight,
            latency: l.latency,
        });
        choice.finish(reply.outcome, reply.latency, load, now);
    }

    fn decide(&mut self, _: &client::Ask<'_>, _: &Reply, _: Tick, _: &mut Rng) -> Verdict {
        Verdict::Stop { retried: false }
    }
}
