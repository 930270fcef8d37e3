//! One attempt of a call at one host, and what is told when it ends.

use std::sync::Arc;
use std::time::Duration;

use seawall::clock::Clock;
use seawall_policy::balance::{Choice, Load};
use seawall_policy::breaker::{Breaker, Pass};
use seawall_policy::{Outcome, Tick};

use crate::fleet::{Endpoint, Picked};

/// A breaker, and what it has let through.
pub(crate) type Passed = (Arc<dyn Breaker>, Pass);

/// An attempt under way. Dropped before its end was told, its caller has left: that says nothing of
/// the host, unless it lasted long.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) host: Arc<Endpoint>,
    choice: Option<Choice>,
    pass: Option<Passed>,
    clock: Clock,
    start: Tick,
    /// From the start to the head of the reply.
    latency: Option<Duration>,
    /// What the host said of itself.
    load: Option<Load>,
    /// Whether the upstream could be reached, which is all that its breaker asks.
    reached: Outcome,
}

impl Attempt {
    pub(crate) fn new(picked: Picked, pass: Option<Passed>, clock: &Clock, start: Tick) -> Self {
        Self {
            host: picked.endpoint,
            choice: Some(picked.choice),
            pass,
            clock: clock.clone(),
            start,
            latency: None,
            load: None,
            reached: Outcome::Failure,
        }
    }

    /// The host's key.
    pub(crate) fn key(&self) -> u64 {
        self.choice.as_ref().map_or(0, Choice::key)
    }

    /// Whether it finds out if an ejected host answers again.
    pub(crate) fn is_probe(&self) -> bool {
        self.choice.as_ref().is_some_and(Choice::is_probe)
    }

    /// The head of a reply has come. How long its body takes says more of the body than of the host.
    pub(crate) fn answered(&mut self, gateway_error: bool, load: Option<Load>, now: Tick) {
        self.load = load;
        self.latency = Some(now.since(self.start));
        self.reached = if gateway_error {
            Outcome::Failure
        } else {
            Outcome::Success
        };
    }

    /// It has ended.
    pub(crate) fn finish(mut self, outcome: Outcome, now: Tick) {
        let whole = now.since(self.start);
        if let Some(choice) = self.choice.take() {
            let latency = self.latency.unwrap_or(whole);
            choice.finish(outcome, latency, self.load, now);
        }
        if let Some((breaker, pass)) = self.pass.take() {
            let reached = match outcome {
                Outcome::Ignored => Outcome::Ignored,
                // It broke off in the middle.
                Outcome::Failure if self.latency.is_none() => Outcome::Failure,
                _ => self.reached,
            };
            breaker.record(pass, reached, whole, now);
        }
    }

    /// It broke off after the head of its reply.
    pub(crate) fn broke(mut self, now: Tick) {
        self.reached = Outcome::Failure;
        self.finish(Outcome::Failure, now);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.choice.is_none() && self.pass.is_none() {
            return;
        }
        let now = self.clock.now();
        let whole = now.since(self.start);
        // How long it was waited for in vain is all that is known.
        if let Some(choice) = self.choice.take() {
            choice.finish(Outcome::Ignored, whole, None, now);
        }
        if let Some((breaker, pass)) = self.pass.take() {
            breaker.record(pass, Outcome::Ignored, whole, now);
        }
    }
}
