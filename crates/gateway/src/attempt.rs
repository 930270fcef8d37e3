//! One attempt of a call at one host, and what is told when it ends.

use std::sync::Arc;
use std::time::Duration;

use seawall::clock::Clock;
use seawall_policy::balance::{Choice, Load};
use seawall_policy::breaker::{Breaker, Pass};
use seawall_policy::{Outcome, Tick};

use crate::body::Turn;
use crate::fleet::{Endpoint, Picked};

/// A breaker, and what it has let through.
pub(crate) type Passed = (Arc<dyn Breaker>, Pass);

/// An attempt under way. Dropped before its end was told, its caller has left: that says nothing of
/// the host, unless there was no reply for long.
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
    /// Whose turn it is, where the request's body is passed on as it comes.
    turn: Option<Turn>,
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
            turn: None,
        }
    }

    /// With this turn of the request's body.
    pub(crate) fn with(mut self, turn: Option<Turn>) -> Self {
        self.turn = turn;
        self
    }

    /// The client has not sent what comes next: how long that takes is its doing.
    pub(crate) fn awaits_client(&self) -> bool {
        self.turn.as_ref().is_some_and(Turn::is_clients)
    }

    /// The host's key.
    pub(crate) fn key(&self) -> u64 {
        self.choice.as_ref().map_or(0, Choice::key)
    }

    /// Whether it finds out if an ejected host answers again.
    pub(crate) fn is_probe(&self) -> bool {
        self.choice.as_ref().is_some_and(Choice::is_probe)
    }

    /// How long it may take as such, where its call has `left`.
    pub(crate) fn probe_limit(&self, left: Duration) -> Option<Duration> {
        self.choice.as_ref()?.probe_limit(left)
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
            let (reached, took) = match outcome {
                // That it was not to be waited for, or not asked, is known, whatever time went by.
                Outcome::Ignored | Outcome::Overloaded if self.latency.is_none() => {
                    (Outcome::Ignored, Duration::ZERO)
                }
                // It broke off in the middle.
                Outcome::Failure if self.latency.is_none() => (Outcome::Failure, whole),
                _ => (self.reached, whole),
            };
            breaker.record(pass, reached, took, now);
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
        let waits_for_client = self.latency.is_none() && self.awaits_client();
        // How long it was waited for in vain is all that is known.
        if let Some(choice) = self.choice.take()
            && !waits_for_client
        {
            choice.finish(Outcome::Ignored, self.latency.unwrap_or(whole), None, now);
        }
        if let Some((breaker, pass)) = self.pass.take() {
            let (reached, took) = match self.latency {
                // Who has seen the head may leave when they like.
                Some(_) => (self.reached, whole),
                None if waits_for_client => (Outcome::Ignored, Duration::ZERO),
                None => (Outcome::Ignored, whole),
            };
            breaker.record(pass, reached, took, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;
    use seawall::config::Upstream;
    use seawall_policy::balance::Ask;
    use seawall_policy::breaker::{Counts, Throttle, ThrottleSettings};

    /// What the breaker counts of an attempt of a minute that ends like this.
    fn counted(end: impl FnOnce(Attempt, Tick)) -> Counts {
        let clock = Clock::manual();
        let start = clock.now();
        let breaker: Arc<dyn Breaker> = Arc::new(Throttle::new(ThrottleSettings::default(), start));
        let pass = breaker.ask(start, u64::MAX).unwrap();
        let upstream = Upstream::to(http::Uri::from_static("http://127.0.0.1:1"));
        let fleet = Fleet::new(&upstream, None, 0, 1, start);
        let picked = fleet.pick(&Ask::default(), start, 0).unwrap();
        let attempt = Attempt::new(picked, Some((breaker.clone(), pass)), &clock, start);
        clock.advance(Duration::from_secs(60));
        end(attempt, clock.now());
        breaker.counts()
    }

    #[test]
    fn who_leaves_does_not_count_against_an_upstream_that_answers() {
        let download = counted(|mut attempt, now| attempt.answered(false, None, now));
        assert_eq!((download.success, download.failure), (1, 0));
        let upload = |clients| {
            counted(move |attempt, _| {
                let turn = Turn::default();
                turn.set(clients);
                drop(attempt.with(Some(turn)));
            })
        };
        assert_eq!(upload(true).failure, 0);
        assert_eq!(
            upload(false).failure,
            1,
            "it is the origin that does not read"
        );
        let stalled = counted(|attempt, now| attempt.finish(Outcome::Ignored, now));
        assert_eq!((stalled.success, stalled.failure), (0, 0));
        let waited = counted(|attempt, _| drop(attempt));
        assert_eq!((waited.success, waited.failure), (0, 1), "for long");
        let late = counted(|mut attempt, now| {
            attempt.answered(false, None, now);
            attempt.finish(Outcome::Ignored, now);
        });
        assert_eq!((late.success, late.failure), (1, 0));
    }
}
