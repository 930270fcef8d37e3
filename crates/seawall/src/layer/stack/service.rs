//! A call on its way through the stack.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use pin_project_lite::pin_project;
use seawall_sync::ambient::Scoped;
use tower::Service;

use super::body::Patience;
use super::{Below, Entry, Shared, StackBody};
use crate::context::{ContextHeaders, Reader, Trust, Wire, names, tenant_hash};
use crate::layer::ResponseBody;
use crate::layer::answer::Refusal;
use crate::layer::context::{Arrival, Kept, Surroundings};
use crate::layer::methods::{Plan, Rules};
use crate::layer::record::Record;
use crate::layer::recovery::{BoxError, RecoveredBody};
use crate::layer::requests::{OnBoard, on_board};
use crate::layer::trace::Trace;

/// A service below a [`Stack`](super::Stack).
#[derive(Clone, Debug)]
pub struct StackService<S> {
    below: Below<S>,
    shared: Shared,
}

impl<S> StackService<S> {
    pub(super) fn new(below: Below<S>, shared: Shared) -> Self {
        Self { below, shared }
    }
}

impl<S, B, R> Service<Request<B>> for StackService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Response = Response<StackBody<R>>;
    type Error = S::Error;
    type Future = StackFuture<OnBoard<<Below<S> as Service<Request<B>>>::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        <Below<S> as Service<Request<B>>>::poll_ready(&mut self.below, cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = &self.shared;
        let wire = Wire::of(request.headers());
        let index = shared.methods.find(&request, wire);
        let plan = shared.methods.plan();
        let rules = plan.rules(index);
        let (mut arrival, trace, seen) = arrive(shared, rules, &mut request, wire, index);
        let logged = rules.access_log.keeps(fastrand::u64(..));
        let mut record = Record::begin(
            shared.clone(),
            arrival,
            (index, trace),
            logged,
            request.method(),
        );
        let tenant = match may_pass(&plan, rules, &mut request) {
            Ok(tenant) => tenant,
            Err(refusal) => {
                record.refused(refusal);
                return StackFuture {
                    state: State::Refused { refusal, record },
                };
            }
        };
        let mut kept = Kept::traced(request.headers(), shared.reader.trust, seen, trace);
        if let Some(tenant) = tenant {
            let seed = shared.reader.tenant_seed;
            arrival.call.tenant = tenant_hash(tenant.as_bytes(), seed);
            kept.headers.retain(|(name, _)| *name != names::TENANT);
            kept.headers.push((names::TENANT, tenant));
        }
        let kept = Arc::new(kept);
        request.extensions_mut().insert(arrival);
        let surroundings = Surroundings {
            call: arrival.call,
            kept: kept.clone(),
        };
        let ambient = surroundings.ambient(shared.clock());
        let patience = patience(shared, rules, &arrival);
        drop(plan);
        let name = shared.methods.known(index).method.name;
        let future = ambient.enter(|| {
            let below = || self.below.call(request);
            on_board(name, arrival, shared.clock(), trace.trace_id, below)
        });
        StackFuture {
            state: State::Running {
                future: ambient.scope(future),
                kept,
                patience,
                record: Some(record),
            },
        }
    }
}

/// Until when an answer of many messages goes on.
fn patience(shared: &Shared, rules: &Rules, arrival: &Arrival) -> Option<Box<Patience>> {
    if !arrival.answers_with_stream() {
        return None;
    }
    let due = shared.clock().instant(arrival.call.deadline);
    let due = due.filter(|_| !shared.shadow_deadlines);
    let silence = rules.idle_timeout;
    (silence.is_some() || due.is_some()).then(|| Box::new(Patience::new(silence, due)))
}

/// Reads what the call says of itself.
fn arrive<B>(
    shared: &Shared,
    rules: &Rules,
    request: &mut Request<B>,
    wire: Wire,
    index: u16,
) -> (Arrival, Trace, ContextHeaders) {
    let reader = Reader {
        criticality: rules.criticality.unwrap_or(shared.reader.criticality),
        timeout: rules.timeout,
        ..shared.reader
    };
    let now = shared.clock().now();
    let read = reader.read(request.method(), request.headers(), now);
    let trace = Trace::of(request.headers(), reader.trust, rules.trace);
    if reader.trust == Trust::Edge {
        for header in read.seen.iter() {
            request.headers_mut().remove(header.name());
        }
    }
    let known = shared.methods.known(index);
    let mut call = read.call;
    call.idempotent |= known.method.idempotent;
    let arrival = Arrival {
        call,
        at: now,
        wire,
        malformed: read.malformed,
        known: Some(Entry {
            index,
            trace,
            lane: rules.lane,
            shape: known.shape,
            streams: known.method.streaming.server,
            max_body: rules.max_body,
        }),
    };
    (arrival, trace, read.seen)
}

/// Whether the call is such as may be let in at all: what its head says of its body, and its token,
/// which may name the tenant.
fn may_pass<B>(
    plan: &Plan,
    rules: &Rules,
    request: &mut Request<B>,
) -> Result<Option<HeaderValue>, Refusal> {
    if let Some(most) = rules.max_body {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(Refusal::BODY_TOO_LARGE);
        }
    }
    #[cfg(feature = "jwt")]
    if let Some(verifier) = &plan.auth {
        return verifier.admit(rules.auth, request);
    }
    #[cfg(not(feature = "jwt"))]
    let _ = plan;
    Ok(None)
}

pin_project! {
    /// The future of a [`StackService`].
    pub struct StackFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projected]
    #[allow(clippy::large_enum_variant, reason = "the usual one is the large one")]
    enum State<F> {
        Running {
            #[pin] future: Scoped<F>,
            kept: Arc<Kept>,
            patience: Option<Box<Patience>>,
            record: Option<Record>,
        },
        Refused { refusal: Refusal, record: Record },
    }
}

impl<F, R, E> Future for StackFuture<F>
where
    F: Future<Output = Result<Response<ResponseBody<ResponseBody<RecoveredBody<R>>>>, E>>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<StackBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Running {
                future,
                kept,
                patience,
                record,
            } => {
                let answer = ready!(future.poll(cx));
                let Some(mut record) = record.take() else {
                    return Poll::Pending;
                };
                let mut response = match answer {
                    Ok(response) => response,
                    Err(error) => {
                        record.broke();
                        return Poll::Ready(Err(error));
                    }
                };
                kept.mark(&mut response, record.wire());
                let own = response
                    .body()
                    .inner()
                    .is_none_or(|below| below.inner().is_none());
                record.head(&response, own);
                let patience = patience.take();
                Poll::Ready(Ok(
                    response.map(|body| StackBody::watched(body, record, patience))
                ))
            }
            Projected::Refused { refusal, record } => {
                record.complete();
                Poll::Ready(Ok(refusal.response(record.wire()).map(StackBody::own)))
            }
        }
    }
}
