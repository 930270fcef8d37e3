//! What decides on a client's behalf: the seam between the simulation and a policy.

use std::time::Duration;

use crate::sim::Rng;
use crate::{Outcome, Tick};

/// A call as its client's policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// When it began.
    pub began: Tick,
    /// When its caller stops waiting.
    pub deadline: Tick,
    /// The hosts that attempts were sent to so far, oldest first.
    pub tried: &'a [u32],
    /// Retries of the layers above that led to this call.
    pub attempt: u8,
    /// The wait before the latest attempt.
    pub waited: Duration,
}

/// What a host says of itself, on a reply or a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLoad {
    /// Calls there, waiting or worked on.
    pub in_flight: u32,
    /// The median latency of late among calls that came when about as many were there.
    pub latency: Duration,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// Success or not; `Ignored` where the caller stopped listening for a reason of its own.
    pub outcome: Outcome,
    /// From the sending to here.
    pub latency: Duration,
    /// What the host said of itself.
    pub load: Option<HostLoad>,
    /// The host may have begun to work on it: not so where it refused the connection.
    pub may_have_run: bool,
    /// Another attempt of the same call was quicker.
    pub overtaken: bool,
    /// The layers below have tried again already: `seawall-retried`.
    pub retried: bool,
}

/// Where an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// To this host.
    Host(u32),
    /// Nowhere: turned away on the spot.
    Reject,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call fails. With the mark, no layer above may try again.
    Stop {
        /// Whether the reply carries `seawall-retried`.
        retried: bool,
    },
    /// Another attempt, after this long.
    Again(Duration),
}

/// A host as discovery lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number in the scenario, which is also its stable identity.
    pub host: u32,
    /// Its part of the traffic, relative to the others'.
    pub weight: u32,
}

/// A client instance: one process with a policy state of its own.
///
/// The simulation is its driver. For a call: `begin`; for each attempt `pick`, then exactly one
/// `done`; after an attempt that failed, with no other one under way, `decide`. Every random number
/// a policy draws comes from a stream of its own, so two policies meet the same traffic.
pub trait Client {
    /// Discovery says that these are the hosts.
    fn members(&mut self, members: &[Member], now: Tick);

    /// A call begins.
    fn begin(&mut self, _ask: &Ask<'_>, _now: Tick) {}

    /// Chooses a host for an attempt, which is known as `attempt` until its `done`.
    fn pick(&mut self, attempt: u32, ask: &Ask<'_>, now: Tick, rng: &mut Rng) -> Pick;

    /// An attempt has ended.
    fn done(&mut self, attempt: u32, host: u32, reply: &Reply, now: Tick);

    /// The call's last attempt failed.
    fn decide(&mut self, ask: &Ask<'_>, reply: &Reply, now: Tick, rng: &mut Rng) -> Verdict;

    /// How long after its start a call that is still without an answer is sent a second time;
    /// asked once a call.
    fn hedge_after(&mut self, _ask: &Ask<'_>, _now: Tick) -> Option<Duration> {
        None
    }

    /// That time is up: whether the second attempt may go.
    fn hedge(&mut self, _ask: &Ask<'_>, _now: Tick) -> bool {
        true
    }

    /// How long the attempt that was just picked may take.
    fn attempt_limit(&self, _attempt: u32, _ask: &Ask<'_>, _now: Tick) -> Option<Duration> {
        None
    }

    /// Hosts to probe now; asked after each `pick`.
    fn probes(&mut self, _now: Tick, _rng: &mut Rng, _hosts: &mut Vec<u32>) {}

    /// A probe came back; one that does not is never heard of.
    fn probed(&mut self, _host: u32, _load: HostLoad, _now: Tick) {}
}
