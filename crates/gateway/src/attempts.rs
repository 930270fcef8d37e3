//! The attempts of one call: breaker, host, connection; and again where that is of use.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use seawall::admission::outcome;
use seawall::context::{advice, load, names};
use seawall_policy::balance::Ask;
use seawall_policy::breaker::Breaker;
use seawall_policy::retry::{Pushback, Rejected, Reply, Retry, Verdict, Why};
use seawall_policy::{Call, Outcome, Rejection, Tick};

use crate::attempt::{Attempt, Passed};
use crate::body::RequestBody;
use crate::core::Core;
use crate::fleet::Fleet;
use crate::origin::Origin;
use crate::pool::Lease;
use crate::probe;
use crate::send::{Failed, Times, send};
use crate::sweep::Alarm;

/// More hosts than this are not tried by one call.
const TRIED: usize = 10;

/// What a call's attempts have in common.
pub(crate) struct Attempts<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) origin: &'a Origin,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) breaker: Option<Arc<dyn Breaker>>,
    pub(crate) call: &'a Call,
    pub(crate) retry: Retry,
    pub(crate) alarm: &'a Alarm,
    pub(crate) hash: Option<u64>,
    pub(crate) http2: bool,
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
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Ended {
    Failed(Failed),
    /// The upstream's breaker is open.
    Breaker(Rejection),
}

/// How the last attempt ended, and whether nobody above may retry it.
pub(crate) struct Last<T> {
    pub(crate) end: T,
    pub(crate) mark: bool,
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
        let mut tried = [0; TRIED];
        let (mut attempts, mut waited, mut now) = (0_u8, Duration::ZERO, asked);
        loop {
            let pass = match self.pass(now) {
                Ok(pass) => pass,
                Err(rejection) => return Err(self.refused(rejection, attempts)),
            };
            let known = usize::from(attempts).min(TRIED);
            let ask = Ask {
                hash: self.hash,
                tried: &tried[..known],
                zone: self.origin.zone,
                may_probe: self.retry.may_run_twice(self.call),
            };
            let Some(picked) = self.fleet.pick(&ask, now, self.core.random()) else {
                let end = Ended::Failed(Failed::NoHost);
                return Err(Last { end, mark: false });
            };
            if self.origin.by_load {
                probe::send(self.core, &self.fleet, self.origin, now);
            }
            let mut attempt = Attempt::new(picked.choice, pass, &self.core.clock, now);
            let kept = self.keep(request.as_ref(), attempts);
            let times = self.times(asked, now);
            let pool = &picked.endpoint.pool;
            let sent = send(self.core, pool, request, self.http2, times, self.alarm).await;
            now = self.core.clock.now();
            attempts += 1;
            let mut reply = match &sent {
                Ok((response, _)) => self.reply(response, &mut attempt, now),
                Err(failed) => Reply {
                    may_have_run: request.is_none(),
                    ..Reply::new(self.outcome(failed))
                },
            };
            (reply.attempts, reply.waited) = (attempts, waited);
            let why = match self.decide(&reply, kept.is_some() || request.is_some(), now) {
                Ok(wait) => {
                    self.again(sent, attempt, reply.outcome, now, &mut tried, attempts);
                    waited = wait;
                    if !wait.is_zero() {
                        tokio::time::sleep(wait).await;
                        now = self.core.clock.now();
                    }
                    *request = request.take().or(kept);
                    self.number(request.as_mut(), attempts);
                    continue;
                }
                Err(why) => why,
            };
            let mark = self.retry.must_mark(&reply, why);
            if reply.outcome != Outcome::Success {
                self.origin.tries.stopped(why);
            }
            return match sent {
                Ok((response, lease)) => Ok(Last {
                    end: Answered {
                        response,
                        lease,
                        attempt,
                        at: now,
                    },
                    mark,
                }),
                Err(failed) => {
                    attempt.finish(reply.outcome, now);
                    let end = Ended::Failed(failed);
                    Err(Last { end, mark })
                }
            };
        }
    }

    fn pass(&self, now: Tick) -> Result<Option<Passed>, Rejection> {
        let Some(breaker) = &self.breaker else {
            return Ok(None);
        };
        match breaker.ask(now, self.core.random()) {
            Ok(pass) => Ok(Some((breaker.clone(), pass))),
            Err(_) if self.origin.breaker_shadow => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }

    fn refused(&self, rejection: Rejection, attempts: u8) -> Last<Ended> {
        Last {
            end: Ended::Breaker(rejection),
            mark: attempts > 0,
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
        if left == 0 || !self.retry.may_run_twice(self.call) {
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

    fn reply(&self, response: &Response<Incoming>, attempt: &mut Attempt, now: Tick) -> Reply {
        let status = response.status();
        let headers = response.headers();
        let load = self.origin.by_load.then(|| load(headers)).flatten();
        attempt.answered(is_gateway_error(status), load, now);
        let told = match self.grpc.then(|| outcome::by_grpc(headers)).flatten() {
            Some(trailers_only) => trailers_only,
            None => outcome::by_status(status),
        };
        // A 500 is the service's own doing, and would be done again.
        let retried = told == Outcome::Overloaded || is_gateway_error(status);
        if !retried {
            return Reply::new(Outcome::Success);
        }
        Reply {
            marked: headers.contains_key(names::RETRIED),
            rejected: advice(headers).map_or(Rejected::No, Rejected::There),
            pushback: pushback(headers, self.grpc),
            ..Reply::new(told)
        }
    }

    fn decide(&self, reply: &Reply, possible: bool, now: Tick) -> Result<Duration, Why> {
        let typical = Some(self.fleet.typical_latency());
        let (budget, random) = (&self.origin.budget, self.core.random());
        if reply.outcome == Outcome::Success {
            return Err(Why::Answered);
        }
        match self
            .retry
            .decide(self.call, reply, typical, budget, now, random)
        {
            Verdict::Stop(why) => Err(why),
            Verdict::After(wait, paid) if !possible => {
                budget.refund(paid);
                let _ = wait;
                Err(Why::Unsafe)
            }
            Verdict::After(wait, _paid) => Ok(wait),
        }
    }

    /// The attempt is over and another follows.
    fn again(
        &self,
        sent: Result<(Response<Incoming>, Lease), Failed>,
        attempt: Attempt,
        outcome: Outcome,
        now: Tick,
        tried: &mut [u64; TRIED],
        attempts: u8,
    ) {
        if let Some(place) = tried.get_mut(usize::from(attempts) - 1) {
            *place = attempt.key();
        }
        match sent {
            // With its body unread, the connection goes as well.
            Ok((response, lease)) => {
                if http_body::Body::is_end_stream(response.body()) {
                    lease.complete(now);
                }
            }
            Err(failed) => {
                self.core.counters().fault(failed.fault());
                failed.tell(self.origin, now);
            }
        }
        attempt.finish(outcome, now);
        self.origin.tries.retried();
    }

    fn number(&self, request: Option<&mut Request<RequestBody>>, attempts: u8) {
        if let Some(request) = request {
            let number = self.call.attempt.saturating_add(attempts);
            let value = HeaderValue::from(u16::from(number));
            request.headers_mut().insert(names::ATTEMPT, value);
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
