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
use seawall::admission::{Admit, Key, Lane, Shape};
use seawall::context::{
    ContextHeader, Extracted, Reader, TENANT_SEED, Trust, Wire, deadline_passed, forward, is_grpc,
};
use seawall_policy::{Advice, Reason, Rejection, Scope, Tick};

use crate::answer::{self, Own};
use crate::body::{RequestBody, ResponseBody};
use crate::cache::{self, Look, Written};
use crate::client::{Busy, Client, Sure};
use crate::collect;
use crate::counters::Fault;
use crate::deliver::Sending;
use crate::exchange::Place;
use crate::headers::{self, Names};
use crate::origin::Origin;
use crate::plan::Plan;
use crate::router::Target;
use crate::send::learn;
use crate::stall::Handed;
use crate::way::Way;

/// Answers one request. The error type is uninhabited: whatever goes wrong has an answer.
pub(crate) async fn serve(
    client: Arc<Client>,
    handed: Option<Handed>,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let now = client.core.clock.now();
    let plan = client.core.plan.load_full();
    let mut busy = client.begin(now);
    busy.handed.clone_from(&handed);
    busy.record = client
        .core
        .shared
        .access
        .begin(plan.sampler, &request, || client.core.random());
    let names = Names::find(request.headers());
    let grpc = names.has(Names::CONTENT_TYPE) && is_grpc(request.headers());
    let wire = if grpc { Wire::Grpc } else { Wire::Http };
    let upgrade = headers::is_upgrade(&request, names).then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let head_only = parts.method == Method::HEAD;
    let framing = if names.has(Names::TRANSFER_ENCODING) {
        client.framing()
    } else {
        Sure::Yes
    };
    if let Some(record) = &mut busy.record {
        let router = &plan.router;
        let route = router.find(&parts).and_then(|target| target.route);
        record.route = router.label(route).cloned();
    }
    let written = Written::new(&client, &plan, &parts);
    let response = match arrive(&client, &plan, &parts, names, wire, framing, now) {
        Ok((target, read)) => {
            let arrival = Arrival {
                client: &client,
                plan: &plan,
                target,
                read,
                names,
                grpc,
                wire,
                busy,
                key: Key::OVERFLOW,
            };
            arrival.pass(&plan, parts, incoming, upgrade).await
        }
        Err(refusal) => {
            busy.answer(&refusal, None);
            refusal
        }
    };
    if let Some(written) = written {
        written.answered(&client.core, &plan, &response);
    }
    client.core.counters().responded(response.status());
    let response = if head_only {
        without_body(response)
    } else {
        response
    };
    if let Some(handed) = handed {
        handed.over(0);
    }
    Ok(response)
}

/// An answer of our own to `HEAD`: hyper leaves its body out over HTTP/1.1 only.
fn without_body(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if let ResponseBody::Own(body) = response.body_mut() {
        let length = HeaderValue::from(std::mem::take(body).len());
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
    }
    response
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
    client: &Client,
    plan: &'a Plan,
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
    let Some(target) = plan.router.find(parts) else {
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
        let shadow = plan.deadline_shadow || target.shadow;
        core.remember(
            now,
            plan,
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
pub(crate) struct Arrival<'a> {
    pub(crate) client: &'a Arc<Client>,
    pub(crate) plan: &'a Plan,
    pub(crate) target: &'a Target,
    pub(crate) read: Extracted,
    names: Names,
    pub(crate) grpc: bool,
    pub(crate) wire: Wire,
    pub(crate) busy: Busy,
    /// What was learned of its route.
    pub(crate) key: Key,
}

impl<'a> Arrival<'a> {
    /// A call to fill the cache with: as the request that it is begun for, but that nobody's
    /// connection hangs on it.
    pub(crate) fn of_fill(
        client: &'a Arc<Client>,
        plan: &'a Plan,
        target: &'a Target,
        read: Extracted,
        parts: &Parts,
        now: Tick,
    ) -> Self {
        let mut busy = client.begin(now);
        // Whom it is answered for counts it.
        busy.answered = true;
        Self {
            client,
            plan,
            target,
            read,
            names: Names::find(&parts.headers),
            grpc: false,
            wire: Wire::Http,
            busy,
            key: Key::OVERFLOW,
        }
    }
}

impl Arrival<'_> {
    /// By the cache, where its route has one and its upstream is to be asked at all.
    async fn pass(
        mut self,
        plan: &Arc<Plan>,
        parts: Parts,
        incoming: Incoming,
        upgrade: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        let origin = &self.plan.origins[self.target.origin];
        let always = origin.fallback.as_ref().is_some_and(|f| f.always);
        let Some(rules) = self.target.cache.as_ref().filter(|_| !always) else {
            return self.take(parts, incoming, upgrade).await;
        };
        let more = (!incoming.is_end_stream(), upgrade.is_some());
        match cache::look(&mut self, plan, rules, &parts, more) {
            Look::Answer(response) => self.deliver(response),
            Look::Pass(why) => {
                self.count(why);
                let tagged = self.is_tagged();
                let mut response = self.take(parts, incoming, upgrade).await;
                cache::went_by(&mut response, why, tagged);
                response
            }
            // On the heap, for it to cost nothing where it is not taken.
            Look::Miss(miss) => Box::pin(cache::follow(self, plan, rules, parts, miss)).await,
        }
    }

    /// Takes the body, and goes on.
    async fn take(
        mut self,
        parts: Parts,
        incoming: Incoming,
        upgrade: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        let origin = &self.plan.origins[self.target.origin];
        if origin.fallback.as_ref().is_some_and(|f| f.always) {
            return match self.stand_in(origin) {
                Some(stands_in) => stands_in,
                // gRPC knows no such answer, but the upstream is to be left alone.
                None => {
                    let now = self.busy.start;
                    self.unreachable(now)
                }
            };
        }
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
        self.go(parts, body, upgrade).await
    }

    /// Admission, and what follows.
    pub(crate) async fn go(
        mut self,
        mut parts: Parts,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        let origin = &self.plan.origins[self.target.origin];
        let shape = Shape::of(&parts.method, parts.uri.path());
        let key = origin.admission.keys().get(shape);
        self.key = key.unwrap_or(Key::OVERFLOW);
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
        let (place, asked) = match self.admit(origin, self.key, &body).await {
            Ok(admitted) => admitted,
            Err(rejection) => return self.reject(rejection),
        };
        let core = &self.client.core;
        let (call, ip) = (&self.read.call, self.client.ip);
        let head = (&parts, upgrade.is_some());
        let time = (asked, &core.clock);
        let mut way = match Way::new(origin, head, call, ip, time, core.random()) {
            Ok(way) => way,
            Err(rejection) => {
                self.remember(asked, self.key, rejection, false);
                core.counters().rejected(rejection.reason, call.criticality);
                return match self.stand_in(origin) {
                    Some(stands_in) => stands_in,
                    None => self.reject(rejection),
                };
            }
        };
        let head_only = parts.method == Method::HEAD;
        let http2 = match origin.speaks_http2(self.grpc) {
            _ if upgrade.is_some() => false,
            Some(http2) => http2,
            None => Box::pin(learn(core, &way.fleet, call.deadline)).await,
        };
        if let Err(own) = self.prepare(&mut parts, origin, asked, http2, upgrade.is_some()) {
            self.client.core.counters().fault(Fault::BadRequest);
            return self.refuse(own);
        }
        // A request is some 300 bytes. It stays here until the connection takes it.
        let mut request = Some(Request::from_parts(parts, body));
        let admitted = (place, asked);
        let write = way.write.take();
        let sending = Sending {
            way,
            http2,
            upgrade,
            head_only,
        };
        let response = self.exchange(origin, admitted, sending, &mut request).await;
        // Before its client learns of it, and reads.
        if let Some(write) = write {
            write.answered(response.status());
        }
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
        if let (Trust::Internal, Some(marks)) = (self.client.site.trust, &self.plan.under_way)
            && marks.apply(headers, &mut self.read.call).is_err()
        {
            core.counters().fault(Fault::BadMark);
        }
    }

    /// Whether the deadline is a stranger's: they asked for less time than we allow. It must not
    /// count as the origin's failure, or strangers could bring the limit down.
    pub(crate) fn impatient(&self) -> bool {
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
                    self.remember(now, key, would_be, true);
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
        self.remember(now, key, rejection, self.target.shadow);
        if self.target.shadow {
            core.counters().shadowed(rejection.reason);
            return Ok((Place::None, now));
        }
        Err(rejection)
    }

    /// Remembers a rejection for `/explain`.
    pub(crate) fn remember(&self, at: Tick, key: Key, rejection: Rejection, shadow: bool) {
        let criticality = self.read.call.criticality;
        let core = &self.client.core;
        core.remember(
            at,
            self.plan,
            self.target,
            key,
            criticality,
            rejection,
            shadow,
        );
    }

    pub(crate) fn reject(mut self, rejection: Rejection) -> Response<ResponseBody> {
        let response = answer::rejected(rejection, self.wire, self.client.core.random());
        self.busy.answer(&response, Some(rejection));
        response
    }

    pub(crate) fn refuse(&mut self, own: Own) -> Response<ResponseBody> {
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
}
