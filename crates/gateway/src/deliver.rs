//! Sending a request on, and turning what comes back into the response.

use std::sync::Arc;

use http::response::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use seawall::admission::{Key, outcome};
use seawall::context::names;
use seawall_policy::breaker::Breaker;
use seawall_policy::retry::{Retry, RetrySettings};
use seawall_policy::{Outcome, Rejection, Tick};

use crate::answer;
use crate::attempt::Attempt;
use crate::attempts::{Answered, Attempts, Ended, Last};
use crate::body::{RequestBody, ResponseBody};
use crate::exchange::{Call, Exchange, Place};
use crate::fleet::Endpoint;
use crate::forward::Arrival;
use crate::headers::{self, Names};
use crate::origin::Origin;
use crate::pool::Lease;
use crate::send::Failed;
use crate::sweep::Alarm;
use crate::tunnel;
use crate::way::{Side, Way};

/// How a request goes on.
pub(crate) struct Sending {
    pub(crate) way: Way,
    pub(crate) http2: bool,
    pub(crate) upgrade: Option<OnUpgrade>,
    /// The reply has no body, whatever it says.
    pub(crate) head_only: bool,
}

/// What a call holds at the upstream.
struct Held {
    place: Place,
    side: Side,
}

const MARK: HeaderValue = HeaderValue::from_static("1");

impl Arrival<'_> {
    /// Sends the request on and turns what comes back into the response.
    pub(crate) async fn exchange(
        mut self,
        origin: &Arc<Origin>,
        (place, asked): (Place, Tick),
        sending: Sending,
        request: &mut Option<Request<RequestBody>>,
    ) -> Response<ResponseBody> {
        let Sending {
            way,
            http2,
            upgrade,
            head_only,
        } = sending;
        let core = &self.client.core;
        let alarm = core.sweep.alarm();
        let again = upgrade.is_none();
        let (sent, side) = self
            .send(origin, way, request, (http2, again), asked, &alarm)
            .await;
        let held = Held { place, side };
        let Last { end, mark } = match sent {
            Ok(answered) => answered,
            Err(last) => return self.ended(origin, last, held),
        };
        if end.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(origin, end, upgrade, held);
        }
        if let Some(record) = &mut self.busy.record {
            record.status = end.response.status().as_u16();
            record.origin = Some(end.at.since(asked));
        }
        let read_ahead = !head_only;
        self.pass_on(origin, end, mark, held, alarm, read_ahead)
            .await
    }

    /// Makes the reply into the response.
    async fn pass_on(
        self,
        origin: &Arc<Origin>,
        answered: Answered,
        mark: bool,
        held: Held,
        alarm: Alarm,
        read_ahead: bool,
    ) -> Response<ResponseBody> {
        let Answered {
            response,
            mut lease,
            attempt,
            at: now,
            waited,
        } = answered;
        let (mut parts, incoming) = response.into_parts();
        let names = Names::find(&parts.headers);
        if names.has(Names::TRANSFER_ENCODING) && !headers::only_chunked(&parts.headers) {
            return self.broke(origin, Failed::Broke, attempt, held);
        }
        if names.has(Names::KEEP_ALIVE) {
            lease.learn(&parts.headers);
        }
        headers::to_client(&mut parts, names, false);
        if mark {
            parts.headers.insert(names::RETRIED, MARK);
        }
        let outcome = self.outcome(&parts);
        let stream = names.has(Names::CONTENT_TYPE) && is_event_stream(&parts.headers);
        let mut attempt = Some(attempt);
        let place = match held.place {
            Place::Held(permit) if stream => {
                if let Some(attempt) = attempt.take() {
                    attempt.finish(outcome, now);
                }
                match permit.into_stream(now) {
                    Ok(permit) => Place::Stream { _permit: permit },
                    Err(rejection) => return self.reject(rejection),
                }
            }
            place => place,
        };
        let call = Call {
            impatient: self.impatient(),
            origin: origin.clone(),
            attempt,
            side: held.side,
            place,
            busy: self.busy,
            deadline: self.read.call.deadline,
            outcome,
            grpc: self.grpc,
            head_at: now,
        };
        let mut exchange = Box::new(Exchange::new(incoming, lease, alarm, waited, call));
        if read_ahead {
            exchange.read_ahead().await;
            if exchange.broke_early() {
                let fallback = origin.fallback.as_ref().filter(|_| !self.grpc);
                let response = match fallback {
                    Some(fallback) => {
                        origin.tries.fell_back();
                        fallback.response()
                    }
                    None => answer::BROKE.response(self.wire),
                };
                exchange.answer(&response);
                return response;
            }
        }
        Response::from_parts(parts, ResponseBody::Origin(exchange))
    }

    fn outcome(&self, parts: &Parts) -> Outcome {
        let trailers_only = self.grpc.then(|| outcome::by_grpc(&parts.headers));
        let trailers_only = trailers_only.flatten();
        trailers_only.unwrap_or_else(|| outcome::by_status(parts.status))
    }

    /// The host changes the protocol.
    fn switch(
        self,
        origin: &Origin,
        answered: Answered,
        upgrade: Option<OnUpgrade>,
        held: Held,
    ) -> Response<ResponseBody> {
        let Answered {
            response,
            lease,
            attempt,
            at: now,
            ..
        } = answered;
        let Some(upgrade) = upgrade else {
            return self.broke(origin, Failed::Unasked, attempt, held);
        };
        attempt.finish(Outcome::Success, now);
        held.side.finish(Outcome::Success, now);
        self.upgrade(upgrade, response, lease, held.place, now)
    }

    /// All attempts at the hosts of the way, and at those in their stead if they are out.
    async fn send(
        &self,
        origin: &Origin,
        way: Way,
        request: &mut Option<Request<RequestBody>>,
        (http2, again): (bool, bool),
        asked: Tick,
        alarm: &Alarm,
    ) -> (Result<Last<Answered>, Last<Ended>>, Side) {
        let core = &self.client.core;
        let (mut way, mut now) = (way, asked);
        loop {
            let settings = RetrySettings {
                attempts: if way.once { 1 } else { origin.retry.attempts },
                safe: self.target.retry_safe,
                ..origin.retry
            };
            let attempts = Attempts {
                core,
                origin,
                fleet: &way.fleet,
                breaker: self.breaker(origin, &way),
                call: &self.read.call,
                seen: (self.client.site.trust, self.read.seen),
                retry: Retry::new(settings),
                alarm,
                hash: way.hash,
                http2,
                again,
                grpc: self.grpc,
                impatient: self.impatient(),
            };
            let sent = attempts.run(request, now).await;
            if request.is_none() || !sent.as_ref().err().is_some_and(|last| is_out(last, &way)) {
                return (sent, way.side);
            }
            now = core.clock.now();
            match way.instead(origin, now, core.random()) {
                Some(instead) => way = instead,
                None => return (sent, way.side),
            }
        }
    }

    /// The reserve has none: it has a limit.
    fn breaker<'o>(&self, origin: &'o Origin, way: &Way) -> Option<&'o Arc<dyn Breaker>> {
        let breakers = match &origin.replicas {
            Some(replicas) if way.replica => &replicas.breakers,
            _ => &origin.breakers,
        };
        let breakers = breakers.as_ref().filter(|_| !way.once)?;
        let route = self.target.route.map_or(u64::from(self.key.0), u64::from);
        Some(breakers.get(route, self.read.call.tenant))
    }

    /// There is no reply.
    fn ended(self, origin: &Origin, last: Last<Ended>, held: Held) -> Response<ResponseBody> {
        let mark = last.mark;
        let mut response = match last.end {
            Ended::Failed(failed, host) => self.failed(origin, &failed, host.as_deref(), held),
            Ended::Breaker(rejection) => self.broken(origin, rejection, held.side),
        };
        if mark {
            response.headers_mut().insert(names::RETRIED, MARK);
        }
        response
    }

    /// The breaker is open. The place is given back without a word: nobody was asked.
    fn broken(
        mut self,
        origin: &Origin,
        rejection: Rejection,
        side: Side,
    ) -> Response<ResponseBody> {
        let core = &self.client.core;
        side.finish(Outcome::Ignored, self.busy.start);
        let criticality = self.read.call.criticality;
        self.remember(self.busy.start, Key::OVERFLOW, rejection, false);
        core.counters().rejected(rejection.reason, criticality);
        if let Some(stands_in) = self.stand_in(origin) {
            return stands_in;
        }
        self.reject(rejection)
    }

    /// The fallback's answer, where there is one.
    pub(crate) fn stand_in(&mut self, origin: &Origin) -> Option<Response<ResponseBody>> {
        let fallback = origin.fallback.as_ref().filter(|_| !self.grpc)?;
        let response = fallback.response();
        origin.tries.fell_back();
        self.busy.answer(&response, None);
        Some(response)
    }

    /// The reply cannot be passed on.
    fn broke(
        self,
        origin: &Origin,
        failed: Failed,
        attempt: Attempt,
        held: Held,
    ) -> Response<ResponseBody> {
        let host = attempt.host.clone();
        attempt.broke(self.client.core.clock.now());
        self.failed(origin, &failed, Some(&host), held)
    }

    /// No response: says why, and tells the limit.
    fn failed(
        mut self,
        origin: &Origin,
        failed: &Failed,
        host: Option<&Endpoint>,
        held: Held,
    ) -> Response<ResponseBody> {
        let core = &self.client.core;
        let now = core.clock.now();
        core.counters().fault(failed.fault());
        failed.tell(origin, host, now);
        let outcome = failed.outcome();
        // Whoever chose not to wait says nothing of the origin. Dropping the permit says just that.
        let outcome = outcome.filter(|_| !(matches!(failed, Failed::Deadline) && self.impatient()));
        held.side.finish(outcome.unwrap_or(Outcome::Ignored), now);
        if let (Place::Held(permit), Some(outcome)) = (held.place, outcome) {
            permit.finish(outcome, now);
        }
        if failed.is_origins()
            && let Some(stands_in) = self.stand_in(origin)
        {
            return stands_in;
        }
        match failed.own() {
            Some(own) => self.refuse(own),
            None => self.unreachable(now),
        }
    }

    /// Says that the upstream cannot be reached.
    pub(crate) fn unreachable(mut self, now: Tick) -> Response<ResponseBody> {
        let core = &self.client.core;
        let rejection = answer::UNREACHABLE;
        let criticality = self.read.call.criticality;
        self.remember(now, Key::OVERFLOW, rejection, false);
        core.counters().rejected(rejection.reason, criticality);
        let response = answer::unreachable(self.wire);
        self.busy.answer(&response, Some(rejection));
        response
    }

    /// Both sides change the protocol. The place becomes a stream's.
    fn upgrade(
        mut self,
        client: OnUpgrade,
        mut response: Response<Incoming>,
        lease: Lease,
        place: Place,
        now: Tick,
    ) -> Response<ResponseBody> {
        let permit = match place {
            Place::Held(permit) => match permit.into_stream(now) {
                Ok(permit) => Some(permit),
                Err(rejection) => return self.reject(rejection),
            },
            _ => None,
        };
        self.busy.answered = true;
        tunnel::join(
            client,
            hyper::upgrade::on(&mut response),
            (permit, lease, self.busy),
        );
        let (mut parts, _) = response.into_parts();
        let names = Names::find(&parts.headers);
        headers::to_client(&mut parts, names, true);
        Response::from_parts(parts, ResponseBody::Own(bytes::Bytes::new()))
    }
}

/// Whether there is nobody to be asked this way. Of replicas also one that takes no connection:
/// others have what it has.
fn is_out(last: &Last<Ended>, way: &Way) -> bool {
    match &last.end {
        Ended::Breaker(_) | Ended::Failed(Failed::NoHost, _) => true,
        Ended::Failed(Failed::Dial(_), _) => way.replica,
        Ended::Failed(..) => false,
    }
}

fn is_event_stream(headers: &http::HeaderMap<HeaderValue>) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
