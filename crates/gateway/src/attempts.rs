//! The attempts of one call: breaker, host, connection; and again where that is of use.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use seawall::admission::outcome;
use seawall::context::{ContextHeaders, Trust, advice, forward, load, names};
use seawall_policy::balance::Ask;
use seawall_policy::breaker::Breaker;
use seawall_policy::retry::{Pushback, Rejected, Reply, Retry, Verdict, Why, Withdrawal};
use seawall_policy::{Advice, Call, Criticality, Outcome, Rejection, Tick};

use crate::attempt::{Attempt, Passed};
use crate::body::RequestBody;
use crate::core::Core;
use crate::fleet::{Endpoint, Fleet};
use crate::origin::Origin;
use crate::pool::{DialError, Lease, Pool};
use crate::probe;
use crate::send::{Failed, Times, send};
use crate::sweep::Alarm;

/// More hosts than this are not tried by one call.
const TRIED: usize = 10;

/// What a call's attempts have in common.
pub(crate) struct Attempts<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) origin: &'a Origin,
    pub(crate) fleet: &'a Arc<Fleet>,
    pub(crate) breaker: Option<&'a Arc<dyn Breaker>>,
    pub(crate) call: &'a Call,
    /// Which of its context's headers came with it, and from where.
    pub(crate) seen: (Trust, ContextHeaders),
    pub(crate) retry: Retry,
    pub(crate) alarm: &'a Alarm,
    pub(crate) hash: Option<u64>,
    pub(crate) http2: bool,
    /// What was sent may be sent again. An upgrade may not.
    pub(crate) again: bool,
    pub(crate) grpc: bool,
    /// The deadline is a stranger's own, and says nothing of a host.
    pub(crate) impatient: bool,
}

/// A reply that is to be passed on.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    pub(crate) attempt: Attempt,
    /// When its head came.
    pub(crate) at: Tick,
    /// How long was waited between attempts.
    pub(crate) waited: Duration,
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Ended {
    /// At this host, if one was asked.
    Failed(Failed, Option<Arc<Endpoint>>),
    /// The upstream's breaker is open.
    Breaker(Rejection),
}

/// How the last attempt ended, and whether nobody above may retry it.
pub(crate) struct Last<T> {
    pub(crate) end: T,
    pub(crate) mark: bool,
}

/// What one sending comes to.
type Sent = Result<(Response<Incoming>, Lease), Failed>;

/// The attempts made so far.
#[derive(Debug, Default)]
struct Made {
    attempts: u8,
    /// What the next one was paid with.
    paid: Option<Withdrawal>,
    /// The wait before the last one,
    waited: Duration,
    /// and all of them.
    waits: Duration,
    keys: [u64; TRIED],
}

impl Made {
    fn add(&mut self, key: u64) {
        if let Some(place) = self.keys.get_mut(usize::from(self.attempts)) {
            *place = key;
        }
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The hosts that were tried.
    fn tried(&self) -> &[u64] {
        &self.keys[..usize::from(self.attempts).min(TRIED)]
    }
}

impl Attempts<'_> {
    /// Sends the request until it is answered or there is no use in it. `asked` is now.
    pub(crate) async fn run(
        &self,
        request: &mut Option<Request<RequestBody>>,
        asked: Tick,
    ) -> Result<Last<Answered>, Last<Ended>> {
        if self.call.attempt == 0 {
            self.origin.budget.deposit(asked);
        }
        let mut made = Made::default();
        let mut now = asked;
        loop {
            let (attempt, pool) = match self.begin(&made, now) {
                Ok(begun) => begun,
                Err(last) => {
                    // Paid for, and not sent after all.
                    if let Some(paid) = made.paid.take() {
                        self.origin.budget.refund(paid);
                    }
                    return Err(last);
                }
            };
            made.paid = None;
            let turn = request.as_ref().and_then(|request| request.body().turn());
            let mut attempt = attempt.with(turn);
            let kept = self.keep(request.as_ref(), made.attempts);
            let mut times = self.times(asked, now);
            if kept.is_some() {
                self.hurry(&mut times, &attempt, asked);
            }
            let sent = send(self.core, &pool, request, self.http2, times, self.alarm).await;
            let sent = sent.map_err(|failed| match failed {
                Failed::Slow if attempt.awaits_client() => Failed::BodySlow,
                failed => failed,
            });
            now = self.core.clock.now();
            made.add(attempt.key());
            let reply = self.reply(&sent, &mut attempt, request.is_none(), &made, now);
            let possible = kept.is_some() || request.is_some();
            let until = asked + self.origin.response_timeout;
            match self.decide(&reply, possible, until, now) {
                Ok((wait, paid)) => {
                    made.paid = Some(paid);
                    self.again(sent, attempt, reply.outcome, now);
                    let paused = now;
                    now = self.pause(wait, now).await;
                    made.waited = wait;
                    made.waits += now.since(paused);
                    *request = request.take().or(kept);
                    self.renew(request.as_mut(), made.attempts, now);
                }
                Err(why) => return self.end((sent, attempt), &made, &reply, why, now),
            }
        }
    }

    /// Breaker and host of the next attempt.
    fn begin(&self, made: &Made, now: Tick) -> Result<(Attempt, Arc<Pool>), Last<Ended>> {
        let pass = self.pass(now).map_err(|rejection| Last {
            end: Ended::Breaker(rejection),
            mark: made.attempts > 0,
        })?;
        let top = self.call.criticality == Criticality::CriticalPlus;
        let ask = Ask {
            hash: self.hash,
            tried: made.tried(),
            zone: self.origin.zone,
            may_probe: self.retry.may_run_twice(self.call) && !top,
            careful: top,
        };
        let picked = self.fleet.pick(&ask, now, self.core.random());
        let picked = picked.ok_or(Last {
            end: Ended::Failed(Failed::NoHost, None),
            mark: false,
        })?;
        if self.origin.by_load {
            probe::send(self.core, self.fleet, self.origin, now);
        }
        let pool = picked.endpoint.pool.clone();
        Ok((Attempt::new(picked, pass, &self.core.clock, now), pool))
    }

    /// There is no further attempt.
    fn end(
        &self,
        (sent, attempt): (Sent, Attempt),
        made: &Made,
        reply: &Reply,
        why: Why,
        now: Tick,
    ) -> Result<Last<Answered>, Last<Ended>> {
        let mark = self.retry.must_mark(reply, why);
        if reply.outcome != Outcome::Success {
            self.origin.tries.stopped(why);
        }
        match sent {
            Ok((response, lease)) => {
                let end = Answered {
                    response,
                    lease,
                    attempt,
                    at: now,
                    waited: made.waits,
                };
                Ok(Last { end, mark })
            }
            Err(failed) => {
                let host = attempt.host.clone();
                attempt.finish(reply.outcome, now);
                let end = Ended::Failed(failed, Some(host));
                Err(Last { end, mark })
            }
        }
    }

    async fn pause(&self, wait: Duration, now: Tick) -> Tick {
        if wait.is_zero() {
            return now;
        }
        tokio::time::sleep(wait).await;
        self.core.clock.now()
    }

    fn pass(&self, now: Tick) -> Result<Option<Passed>, Rejection> {
        let Some(breaker) = self.breaker else {
            return Ok(None);
        };
        match breaker.ask_as(self.call.criticality, now, self.core.random()) {
            Ok(pass) => Ok(Some((breaker.clone(), pass))),
            Err(rejection) if self.origin.breaker_shadow => {
                self.core.counters().shadowed(rejection.reason);
                Ok(None)
            }
            Err(rejection) => Err(rejection),
        }
    }

    /// The time that an attempt which begins `now` has: its own, and no more than the call.
    fn times(&self, asked: Tick, now: Tick) -> Times {
        let whole = asked + self.origin.response_timeout;
        let per_try = self.retry.settings().per_try.unwrap_or(Duration::MAX);
        Times {
            now,
            limit: whole.since(now).min(per_try),
            deadline: self.call.deadline,
        }
    }

    /// A probe of an ejected host ends in time for another attempt.
    fn hurry(&self, times: &mut Times, attempt: &Attempt, asked: Tick) {
        let until = times.deadline.min(asked + self.origin.response_timeout);
        if let Some(limit) = attempt.probe_limit(until.since(times.now)) {
            times.limit = times.limit.min(limit);
        }
    }

    fn outcome(&self, failed: &Failed) -> Outcome {
        let left = self.impatient && matches!(failed, Failed::Deadline);
        let outcome = failed.outcome().filter(|_| !left);
        outcome.unwrap_or(Outcome::Ignored)
    }

    /// A copy to send again, where that may ever be.
    fn keep(
        &self,
        request: Option<&Request<RequestBody>>,
        attempts: u8,
    ) -> Option<Request<RequestBody>> {
        let left = self.retry.settings().attempts.saturating_sub(attempts + 1);
        if left == 0 || !self.again || !self.retry.may_run_twice(self.call) {
            return None;
        }
        let request = request?;
        let mut kept = Request::new(request.body().again()?);
        kept.method_mut().clone_from(request.method());
        kept.uri_mut().clone_from(request.uri());
        *kept.version_mut() = request.version();
        kept.headers_mut().clone_from(request.headers());
        Some(kept)
    }

    fn reply(
        &self,
        sent: &Sent,
        attempt: &mut Attempt,
        may_have_run: bool,
        made: &Made,
        now: Tick,
    ) -> Reply {
        let reply = match sent {
            Ok((response, _)) => self.answered(response, attempt, now),
            // Another host may have a connection free.
            Err(Failed::Dial(DialError::Exhausted)) if self.fleet.len() > made.tried().len() => {
                Reply {
                    rejected: Rejected::Here(Advice::Elsewhere),
                    ..Reply::new(Outcome::Overloaded)
                }
            }
            Err(failed) => Reply {
                may_have_run,
                ..Reply::new(self.outcome(failed))
            },
        };
        Reply {
            attempts: made.attempts,
            waited: made.waited,
            probe: attempt.is_probe(),
            ..reply
        }
    }

    fn answered(&self, response: &Response<Incoming>, attempt: &mut Attempt, now: Tick) -> Reply {
        let (status, headers) = (response.status(), response.headers());
        let load = self.origin.by_load.then(|| load(headers)).flatten();
        // 504 is also what a gateway behind this one says to a call that came too late.
        let rejected = advice(headers).map_or(Rejected::No, Rejected::There);
        let too_late = status == StatusCode::GATEWAY_TIMEOUT && rejected != Rejected::No;
        attempt.answered(is_gateway_error(status) && !too_late, load, now);
        let told = match self.grpc.then(|| outcome::by_grpc(headers)).flatten() {
            Some(trailers_only) => trailers_only,
            None => outcome::by_status(status),
        };
        // A 500 is the service's own doing, and would be done again; but for that of a host which
        // was ejected because it fails more than others.
        let failed_probe = told == Outcome::Failure && attempt.is_probe();
        let retried = told == Outcome::Overloaded || is_gateway_error(status) || failed_probe;
        if !retried {
            return Reply::new(Outcome::Success);
        }
        Reply {
            marked: headers.contains_key(names::RETRIED),
            rejected,
            pushback: pushback(headers, self.grpc),
            ..Reply::new(told)
        }
    }

    /// `until`: nobody waits for a reply any longer.
    fn decide(
        &self,
        reply: &Reply,
        possible: bool,
        until: Tick,
        now: Tick,
    ) -> Result<(Duration, Withdrawal), Why> {
        if reply.outcome == Outcome::Success {
            return Err(Why::Answered);
        }
        let call = Call {
            deadline: self.call.deadline.min(until),
            ..*self.call
        };
        let typical = Some(self.fleet.typical_latency());
        let (budget, random) = (&self.origin.budget, self.core.random());
        match self
            .retry
            .decide(&call, reply, typical, budget, now, random)
        {
            Verdict::Stop(why) => Err(why),
            Verdict::After(_, paid) if !possible => {
                budget.refund(paid);
                Err(Why::Unsafe)
            }
            Verdict::After(wait, paid) => Ok((wait, paid)),
        }
    }

    /// The attempt is over and another follows.
    fn again(&self, sent: Sent, attempt: Attempt, outcome: Outcome, now: Tick) {
        match sent {
            // With its body unread, the connection goes as well.
            Ok((response, lease)) => {
                if http_body::Body::is_end_stream(response.body()) {
                    lease.complete(now);
                }
            }
            Err(failed) => {
                self.core.counters().fault(failed.fault());
                // That an ejected host is still slow is no news.
                if !(attempt.is_probe() && matches!(failed, Failed::Slow)) {
                    failed.tell(self.origin, Some(&attempt.host), now);
                }
            }
        }
        attempt.finish(outcome, now);
        self.origin.tries.retried();
    }

    /// Makes the request's context that of the next attempt: its number, and what is left of the
    /// time.
    fn renew(&self, request: Option<&mut Request<RequestBody>>, attempts: u8, now: Tick) {
        if let Some(request) = request {
            let call = Call {
                attempt: self.call.attempt.saturating_add(attempts),
                ..*self.call
            };
            let (trust, seen) = self.seen;
            forward(request.headers_mut(), trust, seen, &call, now, self.grpc);
        }
    }
}

/// What a proxy says when what is behind it could not be reached.
fn is_gateway_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
    )
}

fn pushback(headers: &HeaderMap, grpc: bool) -> Pushback {
    if grpc {
        let value = headers.get(names::GRPC_PUSHBACK);
        return value.map_or(Pushback::Unsaid, |v| Pushback::from_grpc(v.as_bytes()));
    }
    let value = headers.get(http::header::RETRY_AFTER);
    value.map_or(Pushback::Unsaid, |v| {
        Pushback::from_retry_after(v.as_bytes())
    })
}
