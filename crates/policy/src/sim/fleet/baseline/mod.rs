//! What others do, as far as their papers and sources say, to compare with.
//!
//! Rules of choice and rules of retrying are apart and put together by [`Plain`]. None of them
//! ejects a host or breaks a circuit.

mod pick;
mod prequal;
mod retry;

pub use pick::{LeastLoaded, PeakEwma, Random, RoundRobin, TwoLeastLoaded, Weighted};
pub use prequal::Prequal;
pub use retry::{Naive, Never, TokenBucket};

use std::time::Duration;

use super::client::{Ask, Client, HostLoad, Member, Pick, Reply, Verdict};
use crate::sim::Rng;
use crate::{Outcome, Tick};

/// A rule of choice among hosts.
pub trait Picker {
    /// These are the hosts.
    fn members(&mut self, members: &[Member]);
    /// Chooses one for an attempt that is then under way.
    fn pick(&mut self, now: Tick, rng: &mut Rng) -> Option<u32>;
    /// An attempt there has ended.
    fn done(&mut self, _host: u32, _reply: &Reply, _now: Tick) {}
    /// Hosts to probe now.
    fn probes(&mut self, _now: Tick, _rng: &mut Rng, _hosts: &mut Vec<u32>) {}
    /// A probe came back.
    fn probed(&mut self, _host: u32, _load: HostLoad, _now: Tick) {}
}

/// A rule of retrying.
pub trait Retrier {
    /// An attempt has ended.
    fn ended(&mut self, _outcome: Outcome) {}
    /// Whether a call that has made `attempts` may make another, and after how long.
    fn again(&mut self, attempts: usize) -> Option<Duration>;
}

/// A rule of choice and a rule of retrying.
#[derive(Debug)]
pub struct Plain<P, R> {
    /// Where to.
    pub pick: P,
    /// How often.
    pub retry: R,
}

impl<P: Picker, R: Retrier> Client for Plain<P, R> {
    fn members(&mut self, members: &[Member], _: Tick) {
        self.pick.members(members);
    }

    fn pick(&mut self, _: u32, _: &Ask<'_>, now: Tick, rng: &mut Rng) -> Pick {
        self.pick.pick(now, rng).map_or(Pick::Reject, Pick::Host)
    }

    fn done(&mut self, _: u32, host: u32, reply: &Reply, now: Tick) {
        self.pick.done(host, reply, now);
        self.retry.ended(reply.outcome);
    }

    fn decide(&mut self, ask: &Ask<'_>, _: &Reply, _: Tick, _: &mut Rng) -> Verdict {
        match self.retry.again(ask.tried.len()) {
            Some(after) => Verdict::Again(after),
            None => Verdict::Stop { retried: false },
        }
    }

    fn probes(&mut self, now: Tick, rng: &mut Rng, hosts: &mut Vec<u32>) {
        self.pick.probes(now, rng, hosts);
    }

    fn probed(&mut self, host: u32, load: HostLoad, now: Tick) {
        self.pick.probed(host, load, now);
    }
}
