//! The life of a call: what a driver does around a policy.

use std::time::Duration;

use super::client::{Ask, Pick, Reply, Verdict};
use super::engine::{Event, Run, nanos, seconds};
use super::host::{AttemptId, Mode};
use super::report::{End, Ended, Sent};
use super::slab::{Attempt, CallId, CallState, State};
use crate::sim::Rng;
use crate::{Outcome, Tick};

fn ask(call: &CallState) -> Ask<'_> {
    Ask {
        began: Tick(call.began),
        deadline: Tick(call.deadline),
        tried: &call.tried,
        attempt: call.attempt,
        waited: call.waited,
    }
}

// === the caller's side ===

impl Run<'_> {
    pub(super) fn begin(
        &mut self,
        caller: u32,
        parent: Option<AttemptId>,
        deadline: u64,
        luck: u64,
    ) -> CallId {
        let now = Tick(self.now);
        let call = CallState {
            caller,
            parent,
            began: self.now,
            deadline,
            luck,
            tried: Vec::new(),
            live: Vec::new(),
            waiting: false,
            attempt: parent.map_or(0, |p| self.attempts.get(p).map_or(0, |a| a.number)),
            waited: Duration::ZERO,
        };
        let client = &mut self.callers[caller as usize].client;
        client.begin(&ask(&call), now);
        let hedge = client.hedge_after(&ask(&call), now);
        let id = self.calls.insert(call);
        self.schedule(deadline, Event::Deadline(id));
        if let Some(after) = hedge {
            self.schedule(self.now.saturating_add(nanos(after)), Event::Hedge(id));
        }
        self.attempt(id);
        id
    }

    /// Sends an attempt, or ends the call if there is nowhere to.
    fn attempt(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let (now, caller) = (Tick(self.now), call.caller);
        let attempt = self.attempts.insert(Attempt {
            call: id,
            host: 0,
            sent: self.now,
            luck: call.luck,
            deadline: call.deadline,
            number: call.attempt.saturating_add(call.tried.len().min(255) as u8),
            state: State::Travelling,
            orphan: false,
            job: None,
            reply: None,
        });
        let by = &mut self.callers[caller as usize];
        let pick = by.client.pick(attempt.0, &ask(call), now, &mut by.rng);
        let Pick::Host(host) = pick else {
            self.attempts.remove(attempt);
            if call.live.is_empty() {
                let first = call.tried.is_empty();
                let end = if first { End::Rejected } else { End::Failed };
                self.finish(id, end, !first);
            }
            return;
        };
        let limit = by.client.attempt_limit(attempt.0, &ask(call), now);
        call.tried.push(host);
        call.live.push(attempt);
        if let Some(attempt) = self.attempts.get_mut(attempt) {
            attempt.host = host;
        }
        self.report.sent.push(Sent {
            at: seconds(self.now),
            host,
            tier: by.tier,
        });
        let mut probes = Vec::new();
        by.client.probes(now, &mut by.rng, &mut probes);
        self.report.probes += probes.len() as u64;
        for host in probes {
            let hop = self.hop();
            self.schedule(self.now + hop, Event::Probe(caller, host));
        }
        if let Some(limit) = limit {
            let at = self.now.saturating_add(nanos(limit));
            self.schedule(at, Event::AttemptLimit(attempt));
        }
        let hop = self.hop();
        self.schedule(self.now + hop, Event::Reaches(attempt));
    }

    pub(super) fn returns(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.remove(id) else {
            return;
        };
        if attempt.orphan {
            return;
        }
        let Some(mut reply) = attempt.reply else {
            return;
        };
        reply.latency = Tick(self.now).since(Tick(attempt.sent));
        self.settle(id, attempt.call, attempt.host, &reply);
    }

    pub(super) fn attempt_limit(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get(id).filter(|a| !a.orphan) else {
            return;
        };
        let (call, host) = (attempt.call, attempt.host);
        let reply = self.unanswered(attempt.sent, Outcome::Failure);
        self.abandon(id);
        self.settle(id, call, host, &reply);
    }

    /// The end of an attempt that was sent then and has no answer.
    fn unanswered(&self, sent: u64, outcome: Outcome) -> Reply {
        Reply {
            outcome,
            latency: Tick(self.now).since(Tick(sent)),
            load: None,
            may_have_run: true,
            overtaken: false,
            retried: false,
        }
    }

    /// An attempt has ended: what becomes of its call?
    fn settle(&mut self, attempt: AttemptId, id: CallId, host: u32, reply: &Reply) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let now = Tick(self.now);
        call.live.retain(|&a| a != attempt);
        let by = &mut self.callers[call.caller as usize];
        by.client.done(attempt.0, host, reply, now);
        if reply.outcome == Outcome::Success {
            return self.finish(id, End::Ok, false);
        }
        if !call.live.is_empty() || call.waiting {
            return;
        }
        match by.client.decide(&ask(call), reply, now, &mut by.rng) {
            Verdict::Stop { retried } => self.finish(id, End::Failed, retried),
            Verdict::Again(after) => {
                call.waiting = true;
                call.waited = after;
                let at = self.now.saturating_add(nanos(after));
                self.schedule(at, Event::Again(id));
            }
        }
    }

    pub(super) fn again(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(id) {
            call.waiting = false;
            self.attempt(id);
        }
    }

    pub(super) fn hedge(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        if call.live.len() != 1 || call.tried.len() != 1 {
            return;
        }
        let client = &mut self.callers[call.caller as usize].client;
        if client.hedge(&ask(call), Tick(self.now)) {
            self.attempt(id);
        }
    }

    pub(super) fn leave(&mut self, id: CallId) {
        self.finish(id, End::Left, false);
    }

    pub(super) fn deadline(&mut self, id: CallId) {
        self.finish(id, End::TimedOut, false);
    }

    /// The call has ended: nobody waits for what is still under way.
    fn finish(&mut self, id: CallId, end: End, retried: bool) {
        let Some(call) = self.calls.remove(id) else {
            return;
        };
        let outcome = match end {
            End::TimedOut => Outcome::Failure,
            _ => Outcome::Ignored,
        };
        for attempt in call.live {
            let Some(&Attempt { host, sent, .. }) = self.attempts.get(attempt) else {
                continue;
            };
            let reply = Reply {
                overtaken: end == End::Ok,
                ..self.unanswered(sent, outcome)
            };
            let client = &mut self.callers[call.caller as usize].client;
            client.done(attempt.0, host, &reply, Tick(self.now));
            self.abandon(attempt);
        }
        if let Some(parent) = call.parent {
            let outcome = match end {
                End::Ok => Outcome::Success,
                _ => Outcome::Failure,
            };
            return self.answer(parent, outcome, retried);
        }
        if call.caller >= self.scenario.clients {
            return;
        }
        let began = seconds(call.began);
        self.report.calls.push(Ended {
            began,
            took: (seconds(self.now) - began) as f32,
            end,
        });
    }

    fn abandon(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(id) else {
            return;
        };
        attempt.orphan = true;
        match attempt.state {
            State::Lost => {
                self.attempts.remove(id);
            }
            State::Below(call) => self.finish(call, End::Left, false),
            _ => {}
        }
    }
}

// === the host's side ===

impl Run<'_> {
    pub(super) fn reach(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(id) else {
            return;
        };
        if attempt.orphan {
            self.attempts.remove(id);
            return;
        }
        let (at, luck) = (attempt.host, attempt.luck);
        let host = &mut self.hosts[at as usize];
        if host.model.mode == Mode::Refuses {
            return self.reply(id, Outcome::Failure, false, false);
        }
        attempt.state = State::Present;
        match host.model.mode {
            Mode::Silent => {
                attempt.state = State::Lost;
                return;
            }
            Mode::Answers { share, after, .. } => {
                host.in_flight += 1;
                if self.chance(share) {
                    return self.schedule(self.now + nanos(after), Event::Answers(id));
                }
                self.hosts[at as usize].in_flight -= 1;
            }
            Mode::Up | Mode::Refuses => {}
        }
        let host = &mut self.hosts[at as usize];
        host.advance(self.now);
        host.push(id, &mut Rng::new(luck), self.now);
        self.start(at);
    }

    pub(super) fn answer_unworked(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get(id) else {
            return;
        };
        let host = &mut self.hosts[attempt.host as usize];
        host.in_flight = host.in_flight.saturating_sub(1);
        let outcome = match host.model.mode {
            Mode::Answers { outcome, .. } => outcome,
            _ => Outcome::Failure,
        };
        self.reply(id, outcome, false, true);
    }

    pub(super) fn served(&mut self, at: u32, timer: u32) {
        if self.hosts[at as usize].timer != timer {
            return;
        }
        self.hosts[at as usize].advance(self.now);
        while let Some(job) = self.hosts[at as usize].finished() {
            let last = usize::from(self.tiers[at as usize]) + 1 == self.scenario.tiers.len();
            let Some(attempt) = self.attempts.get_mut(job.attempt) else {
                self.hosts[at as usize].answered(&job, self.now);
                continue;
            };
            attempt.job = Some(job);
            if last || attempt.orphan {
                self.answer(job.attempt, Outcome::Success, false);
            } else {
                let (deadline, luck) = (attempt.deadline, attempt.luck);
                let caller = self.scenario.clients + at;
                // Set before the call can end, and again to what it turns out to be.
                attempt.state = State::Present;
                let call = self.begin(caller, Some(job.attempt), deadline, luck);
                let below = self.attempts.get_mut(job.attempt);
                if let Some(attempt) = below.filter(|a| a.state == State::Present) {
                    attempt.state = State::Below(call);
                }
            }
        }
        self.start(at);
    }

    /// A host has worked on an attempt and answers.
    fn answer(&mut self, id: AttemptId, outcome: Outcome, retried: bool) {
        let Some(attempt) = self.attempts.get(id) else {
            return;
        };
        if let Some(job) = attempt.job {
            self.hosts[attempt.host as usize].answered(&job, self.now);
        }
        self.reply(id, outcome, retried, true);
    }

    /// An answer leaves; `speaks`: with what the host says of itself.
    fn reply(&mut self, id: AttemptId, outcome: Outcome, retried: bool, speaks: bool) {
        let Some(attempt) = self.attempts.get_mut(id) else {
            return;
        };
        if attempt.orphan {
            self.attempts.remove(id);
            return;
        }
        let may_have_run = attempt.state != State::Travelling;
        attempt.state = State::Returning;
        attempt.reply = Some(Reply {
            outcome,
            latency: Duration::ZERO,
            may_have_run,
            overtaken: false,
            load: speaks.then(|| self.hosts[attempt.host as usize].load()),
            retried,
        });
        let hop = self.hop();
        self.schedule(self.now + hop, Event::Returns(id));
    }

    /// A host went away with all it had: reset, or never heard of again.
    pub(super) fn lose(&mut self, host: u32, reset: bool) {
        let mut gone = self.hosts[host as usize].clear();
        let below = |a: &Attempt| a.host == host && matches!(a.state, State::Below(_));
        gone.extend(
            self.attempts
                .iter()
                .filter(|(_, a)| below(a))
                .map(|(id, _)| id),
        );
        for id in gone {
            let Some(attempt) = self.attempts.get_mut(id) else {
                continue;
            };
            let was = std::mem::replace(&mut attempt.state, State::Lost);
            attempt.job = None;
            if reset || attempt.orphan {
                self.reply(id, Outcome::Failure, false, false);
            }
            if let State::Below(call) = was {
                if let Some(call) = self.calls.get_mut(call) {
                    call.parent = None;
                }
                self.finish(call, End::Left, false);
            }
        }
    }
}
