//! The way of one request: context, deadline, admission, lane, origin.
//!
//! The order is that of rising cost. What turns a request away looks only at its head; nothing is
//! rewritten, allocated or sent before it has a place.

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use seawall::admission::{Admit, Key, Lane, Shape, outcome};
use seawall::context::{
    ContextHeader, Extracted, Reader, TENANT_SEED, Trust, Wire, deadline_passed, forward, is_grpc,
};
use seawall_policy::{Advice, Reason, Rejection, Scope, Tick};

use crate::answer::{self, Own};
use crate::body::{RequestBody, ResponseBody};
use crate::client::{Busy, Client, Sure};
use crate::collect;
use crate::counters::Fault;
use crate::exchange::{Call, Exchange, Place};
use crate::headers::{self, Names};
use crate::origin::Origin;
use crate::router::Target;
use crate::send::{Failed, learn, send};
use crate::stall::Handed;
use crate::tunnel;

/// Answers one request. The error type is uninhabited: whatever goes wrong has an answer.
pub(crate) async fn serve(
    client: Arc<Client>,
    handed: Option<Handed>,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let now = client.core.clock.now();
    let mut busy = client.begin(now);
    busy.handed.clone_from(&handed);
    busy.record = client
        .core
        .shared
        .access
        .begin(&request, || client.core.random());
    let names = Names::find(request.headers());
    let grpc = names.has(Names::CONTENT_TYPE) && is_grpc(request.headers());
    let wire = if grpc { Wire::Grpc } else { Wire::Http };
    let upgrade = headers::is_upgrade(&request, names).then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let framing = if names.has(Names::TRANSFER_ENCODING) {
        client.framing()
    } else {
        Sure::Yes
    };
    if let Some(record) = &mut busy.record {
        let router = &client.core.shared.router;
        let route = router.find(&parts).and_then(|target| target.route);
        record.route = router.label(route).cloned();
    }
    let response = match arrive(&client, &parts, names, wire, framing, now) {
        Ok((target, read)) => {
            let arrival = Arrival {
                client: &client,
                target,
                read,
                names,
                grpc,
                wire,
                busy,
            };
            arrival.pass(parts, incoming, upgrade).await
        }
        Err(refusal) => {
            busy.answer(&refusal, None);
            refusal
        }
    };
    client.core.counters().responded(response.status());
    if let Some(handed) = handed {
        handed.over(0);
    }
    Ok(response)
}

const CONFLICTING: Own = answer::bad(
    StatusCode::BAD_REQUEST,
    "both Content-Length and Transfer-Encoding",
);

const UNSURE: Own = answer::bad(
    StatusCode::BAD_REQUEST,
    "Transfer-Encoding behind a request that made no sense",
);

const TOO_MANY: Own = answer::bad(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "more headers than `max_headers`",
);

/// Ends the connection after this response.
fn closing(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// What every refusal before admission looks at.
#[allow(clippy::result_large_err, reason = "moved once, on the way out")]
fn arrive<'a>(
    client: &'a Client,
    parts: &Parts,
    names: Names,
    wire: Wire,
    framing: Sure,
    now: Tick,
) -> Result<(&'a Target, Extracted), Response<ResponseBody>> {
    let core = &client.core;
    let refuse = |own: Own| {
        core.counters().fault(Fault::BadRequest);
        own.response(wire)
    };
    if parts.headers.len() > client.site.max_headers {
        return Err(refuse(TOO_MANY));
    }
    headers::check(parts, names).map_err(refuse)?;
    match framing {
        Sure::Yes => {}
        // RFC 9112, 6.1: what may hide a second request is the last on its connection.
        Sure::No => return Err(closing(refuse(CONFLICTING))),
        Sure::Unknown => return Err(closing(refuse(UNSURE))),
    }
    let shared = &core.shared;
    let Some(target) = shared.router.find(parts) else {
        return Err(refuse(answer::bad(
            StatusCode::NOT_FOUND,
            "no route takes this request",
        )));
    };
    let reader = Reader {
        trust: client.site.trust,
        criticality: target.criticality,
        timeout: target.timeout,
        tenant_seed: TENANT_SEED,
    };
    let mut read = reader.read(&parts.method, &parts.headers, now);
    if !read.malformed.is_empty() {
        core.counters().fault(Fault::BadContext);
    }
    if read.expired(now) {
        let rejection = Rejection {
            reason: Reason::Deadline,
            scope: Scope::Route,
            advice: Advice::No,
        };
        let shadow = shared.deadline_shadow || target.shadow;
        core.remember(
            now,
            target,
            Key::OVERFLOW,
            read.call.criticality,
            rejection,
            shadow,
        );
        if !shadow {
            core.counters()
                .rejected(Reason::Deadline, read.call.criticality);
            return Err(deadline_passed(wire).map(ResponseBody::Own));
        }
        core.counters().shadowed(Reason::Deadline);
        read.call.deadline = Tick::MAX;
    }
    Ok((target, read))
}

/// A request that has passed the checks of its head.
struct Arrival<'a> {
    client: &'a Arc<Client>,
    target: &'a Target,
    read: Extracted,
    names: Names,
    grpc: bool,
    wire: Wire,
    busy: Busy,
}

impl Arrival<'_> {
    async fn pass(
        mut self,
        mut parts: Parts,
        incoming: Incoming,
        upgrade: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        let body = if incoming.is_end_stream() {
            RequestBody::Empty
        } else {
            let deadline = self.read.call.deadline;
            match collect::body(self.client, self.names, self.grpc, incoming, deadline).await {
                Ok(body) => body,
                Err(own) => {
                    self.client.core.counters().fault(Fault::ClientBody);
                    return self.refuse(own);
                }
            }
        };
        let core = &self.client.core;
        let origin = &core.shared.origins[self.target.origin];
        let shape = Shape::of(&parts.method, parts.uri.path());
        let key = origin.admission.keys().get(shape);
        let route = key.is_none().then(|| {
            (
                shape,
                parts.method.clone(),
                parts.uri.path_and_query().cloned(),
            )
        });
        if self.read.seen.contains(ContextHeader::UnderWay) && origin.admission.is_hot() {
            self.believe_mark(&parts.headers);
        }
        if let Some(record) = &mut self.busy.record {
            record.criticality = self.read.call.criticality;
            record.received = body.size_hint().lower();
            if let (None, Some(key)) = (&record.route, key) {
                record.route = Some(origin.admission.keys().name(key).into());
            }
        }
        let (place, asked) = match self
            .admit(origin, key.unwrap_or(Key::OVERFLOW), &body)
            .await
        {
            Ok(admitted) => admitted,
            Err(rejection) => return self.reject(rejection),
        };
        let head_only = parts.method == Method::HEAD;
        let http2 = match origin.speaks_http2(self.grpc) {
            _ if upgrade.is_some() => false,
            Some(http2) => http2,
            None => match Box::pin(learn(core, origin, self.read.call.deadline)).await {
                Ok(http2) => http2,
                Err(failed) => return self.failed(&failed, place),
            },
        };
        if let Err(own) = self.prepare(&mut parts, origin, asked, http2, upgrade.is_some()) {
            self.client.core.counters().fault(Fault::BadRequest);
            return self.refuse(own);
        }
        // A request is some 300 bytes. It stays here until the connection takes it.
        let mut request = Some(Request::from_parts(parts, body));
        let admitted = (place, asked);
        let response = self
            .exchange(origin, admitted, &mut request, http2, upgrade, head_only)
            .await;
        if let Some((shape, method, path)) = route
            && response.status().is_success()
            && origin.admission.keys().has_room()
        {
            origin.admission.keys().intern(
                shape,
                &method,
                path.as_ref().map_or("/", |path| path.path()),
            );
        }
        response
    }

    /// Work that was paid for elsewhere goes on, if its mark is a good one.
    #[cold]
    fn believe_mark(&mut self, headers: &HeaderMap) {
        let core = &self.client.core;
        if let (Trust::Internal, Some(marks)) = (self.client.site.trust, &core.shared.under_way)
            && marks.apply(headers, &mut self.read.call).is_err()
        {
            core.counters().fault(Fault::BadMark);
        }
    }

    /// Whether the deadline is a stranger's: they asked for less time than we allow. It must not
    /// count as the origin's failure, or strangers could bring the limit down.
    fn impatient(&self) -> bool {
        let allowed = self
            .target
            .timeout
            .map_or(Tick::MAX, |t| self.busy.start + t);
        self.client.site.trust == Trust::Edge && self.read.call.deadline < allowed
    }

    /// Asks for a place at the origin, and waits for it if that is what it takes. Says when it came.
    async fn admit(
        &mut self,
        origin: &Origin,
        key: Key,
        body: &RequestBody,
    ) -> Result<(Place, Tick), Rejection> {
        let core = &self.client.core;
        let bulk = || collect::is_bulk(body, self.grpc).then_some(Lane::BULK);
        // A route of which nothing is known is not judged by what it shares the last key with.
        let new = || {
            (key == Key::OVERFLOW && origin.admission.keys().has_room()).then_some(Lane::DEFAULT)
        };
        let lane = self.target.lane.or_else(bulk).or_else(new);
        let call = &self.read.call;
        // The head of a request without a body was read just now.
        let now = if matches!(body, RequestBody::Empty) {
            self.busy.start
        } else {
            core.clock.now()
        };
        let rejection = match origin.admission.acquire(call, key, lane, now) {
            Admit::Now(permit) => {
                if let Some(would_be) = permit.shadowed() {
                    core.remember(now, self.target, key, call.criticality, would_be, true);
                }
                return Ok((Place::Held(permit), now));
            }
            // In shadow nobody is made to wait.
            Admit::Wait(_) if self.target.shadow => return Ok((Place::None, now)),
            Admit::Wait(waiting) => match waiting.await {
                Ok(permit) => {
                    let came = permit.start();
                    let waited = came.since(now);
                    origin.queueing.record(waited, came);
                    core.counters().waits.add(waited);
                    if let Some(record) = &mut self.busy.record {
                        record.queued = waited;
                    }
                    return Ok((Place::Held(permit), came));
                }
                Err(rejection) => {
                    let left = core.clock.now();
                    origin.queueing.record(left.since(now), left);
                    rejection
                }
            },
            Admit::Rejected(rejection) => rejection,
        };
        core.remember(
            now,
            self.target,
            key,
            call.criticality,
            rejection,
            self.target.shadow,
        );
        if self.target.shadow {
            core.counters().shadowed(rejection.reason);
            return Ok((Place::None, now));
        }
        Err(rejection)
    }

    fn reject(mut self, rejection: Rejection) -> Response<ResponseBody> {
        let response = answer::rejected(rejection, self.wire, self.client.core.random());
        self.busy.answer(&response, Some(rejection));
        response
    }

    fn refuse(&mut self, own: Own) -> Response<ResponseBody> {
        let response = own.response(self.wire);
        self.busy.answer(&response, None);
        response
    }

    /// Turns the request's head into the one for the origin.
    fn prepare(
        &self,
        parts: &mut Parts,
        origin: &Origin,
        asked: Tick,
        http2: bool,
        upgrade: bool,
    ) -> Result<(), Own> {
        headers::to_origin(parts, self.names, self.client, origin, http2, upgrade)?;
        let (trust, seen) = (self.client.site.trust, self.read.seen);
        let call = &self.read.call;
        forward(&mut parts.headers, trust, seen, call, asked, self.grpc);
        Ok(())
    }

    /// Sends the request on and turns what comes back into the response.
    async fn exchange(
        mut self,
        origin: &Arc<Origin>,
        (place, asked): (Place, Tick),
        request: &mut Option<Request<RequestBody>>,
        http2: bool,
        upgrade: Option<OnUpgrade>,
        head_only: bool,
    ) -> Response<ResponseBody> {
        let core = &self.client.core;
        let alarm = core.sweep.alarm();
        let times = (asked, self.read.call.deadline);
        let sent = send(core, origin, request, http2, times, &alarm).await;
        let (response, mut lease) = match sent {
            Ok(answered) => answered,
            Err(failed) => return self.failed(&failed, place),
        };
        let now = core.clock.now();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return match upgrade {
                Some(upgrade) => self.upgrade(upgrade, response, lease, place, now),
                None => self.failed(&Failed::Unasked, place),
            };
        }
        let (mut parts, incoming) = response.into_parts();
        let names = Names::find(&parts.headers);
        if names.has(Names::TRANSFER_ENCODING) && !headers::only_chunked(&parts.headers) {
            return self.failed(&Failed::Broke, place);
        }
        if names.has(Names::KEEP_ALIVE) {
            lease.learn(&parts.headers);
        }
        headers::to_client(&mut parts, names, false);
        let stream = names.has(Names::CONTENT_TYPE) && is_event_stream(&parts.headers);
        let place = match place {
            Place::Held(permit) if stream => match permit.into_stream(now) {
                Ok(permit) => Place::Stream { _permit: permit },
                Err(rejection) => return self.reject(rejection),
            },
            place => place,
        };
        if let Some(record) = &mut self.busy.record {
            record.status = parts.status.as_u16();
            record.origin = Some(now.since(asked));
        }
        let mut outcome = outcome::by_status(parts.status);
        if self.grpc
            && let Some(trailers_only) = outcome::by_grpc(&parts.headers)
        {
            outcome = trailers_only;
        }
        let impatient = self.impatient();
        let call = Call {
            impatient,
            origin: origin.clone(),
            place,
            busy: self.busy,
            deadline: self.read.call.deadline,
            outcome,
            grpc: self.grpc,
            head_at: now,
        };
        let mut exchange = Box::new(Exchange::new(incoming, lease, alarm, call));
        if !head_only {
            exchange.read_ahead().await;
            if exchange.broke_early() {
                return answer::BROKE.response(self.wire);
            }
        }
        Response::from_parts(parts, ResponseBody::Origin(exchange))
    }

    /// No response: says why, and tells the limit.
    fn failed(mut self, failed: &Failed, place: Place) -> Response<ResponseBody> {
        let core = &self.client.core;
        let now = core.clock.now();
        core.counters().fault(failed.fault());
        failed.tell(&core.shared.origins[self.target.origin], now);
        let outcome = failed.outcome();
        // Whoever chose not to wait says nothing of the origin. Dropping the permit says just that.
        let outcome = outcome.filter(|_| !(matches!(failed, Failed::Deadline) && self.impatient()));
        if let (Place::Held(permit), Some(outcome)) = (place, outcome) {
            permit.finish(outcome, now);
        }
        match failed.own() {
            Some(own) => self.refuse(own),
            None => {
                let rejection = answer::UNREACHABLE;
                let criticality = self.read.call.criticality;
                core.remember(
                    now,
                    self.target,
                    Key::OVERFLOW,
                    criticality,
                    rejection,
                    false,
                );
                core.counters().rejected(rejection.reason, criticality);
                let response = answer::unreachable(self.wire);
                self.busy.answer(&response, Some(rejection));
                response
            }
        }
    }

    /// Both sides change the protocol. The place becomes a stream's.
    fn upgrade(
        mut self,
        client: OnUpgrade,
        mut response: Response<Incoming>,
        lease: crate::pool::Lease,
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

fn is_event_stream(headers: &http::HeaderMap<HeaderValue>) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
