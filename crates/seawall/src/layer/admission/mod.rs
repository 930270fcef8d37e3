//! Asks for a place, waits for it, and gives it back at the response's last byte.

mod future;
mod held;
#[cfg(test)]
mod tests;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use http_body::Body;
use tower::{Layer, Service};

pub use future::AdmissionFuture;
pub(super) use held::Held;

use super::body::ResponseBody;
use super::context::Arrival;
use super::lane::Names;
use crate::admission::{Admission, Admit, Key, Lane, Shape};
use crate::context::Wire;

/// Request bodies from this length on go to the bulk lane, as in the gateway.
const BULK: u64 = 1024 * 1024;

/// Lets in what can be served, and turns the rest away in the caller's language: 503 or 429 with
/// `retry-after`, gRPC UNAVAILABLE or RESOURCE_EXHAUSTED with `grpc-retry-pushback-ms`, both with
/// `seawall-reject`.
///
/// A call that has to wait does so in this layer; the handler is not called before there is a
/// place. How the answer counts:
///
/// | answer | outcome |
/// |---|---|
/// | 429, 503; gRPC RESOURCE_EXHAUSTED, UNAVAILABLE | overloaded |
/// | other 5xx, an error of the service or of the body; gRPC UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, DATA_LOSS | failure |
/// | the handler panicked, or was dropped at or after the call's deadline | failure |
/// | dropped before (the client hung up) | ignored |
/// | anything else | success |
///
/// gRPC's status counts wherever it stands, headers or trailers. A sample ends at the last byte,
/// less the time in which the client did not take what there was. A response of unknown length
/// gives up its place for one among the streams (capped in number) when it has gone on for two
/// seconds, one of `text/event-stream` at its headers; one that is upgraded, at its headers, for
/// none. A request with a body of 1 MiB or more is of the bulk lane where no lane is named.
///
/// Layers that are given clones of one [`Admission`] share its places, queue and routes.
///
/// # Panics
/// Where a response of unknown length falls silent and tokio's timer is not enabled
/// (`#[tokio::main]` enables it).
///
/// ```
/// use seawall::admission::{Admission, GateSettings};
/// use seawall::clock::Clock;
/// use seawall::layer::AdmissionLayer;
///
/// let admission = Admission::new(GateSettings::default(), Clock::system());
/// let layer = AdmissionLayer::new(admission);
/// assert_eq!(layer.admission().snapshot().inflight, 0);
/// ```
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    admission: Admission,
}

impl AdmissionLayer {
    /// In front of what is below, this entrance.
    #[must_use]
    pub fn new(admission: Admission) -> Self {
        Self { admission }
    }

    /// The entrance.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = AdmissionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AdmissionService {
            inner,
            admission: self.admission.clone(),
        }
    }
}

/// A service below an [`AdmissionLayer`].
#[derive(Clone, Debug)]
pub struct AdmissionService<S> {
    inner: S,
    admission: Admission,
}

impl<S, B, R> Service<Request<B>> for AdmissionService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = AdmissionFuture<S, Request<B>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Not the tick of the arrival: what stands in between may have taken its time.
        let now = self.admission.clock().now();
        let arrival = Arrival::of_request(&request, now);
        let asked = Asked::of(&request, &arrival, &self.admission);
        let called = Called {
            admission: self.admission.clone(),
            deadline: arrival.call.deadline,
            wire: arrival.wire,
            head_only: request.method() == Method::HEAD,
            streams: arrival.answers_with_stream(),
            unknown: asked.unknown,
        };
        match self
            .admission
            .acquire(&arrival.call, asked.key, asked.lane, now)
        {
            Admit::Now(permit) => {
                let held = Held::new(permit, &called);
                AdmissionFuture::running(self.inner.call(request), held, called)
            }
            Admit::Wait(waiting) => {
                // The clone has not been asked whether it is ready; the one that has, is called.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                AdmissionFuture::waiting(waiting, ready, request, called)
            }
            Admit::Rejected(rejection) => AdmissionFuture::rejected(rejection, called),
        }
    }
}

/// What is remembered of a call until its response.
#[derive(Debug)]
struct Called {
    admission: Admission,
    deadline: crate::Tick,
    wire: Wire,
    head_only: bool,
    streams: bool,
    /// Boxed, as few are.
    unknown: Option<Box<Unknown>>,
}

/// A route that has no key yet. It gets one when it has answered well, so that a scan for holes
/// does not use the keys up.
#[derive(Debug)]
struct Unknown {
    shape: Shape,
    method: Method,
    path: Path,
}

#[derive(Debug)]
enum Path {
    Asked(Uri),
    Named(std::sync::Arc<str>),
}

impl Called {
    /// Takes in the head of the answer.
    fn answered(&mut self, status: http::StatusCode, headers: &HeaderMap) {
        let well = || {
            status.is_success()
                && headers
                    .get(crate::context::names::GRPC_STATUS)
                    .is_none_or(|code| code == "0")
        };
        if let Some(unknown) = self.unknown.take().filter(|_| well()) {
            let path = match &unknown.path {
                Path::Asked(uri) => uri.path(),
                Path::Named(name) => name,
            };
            self.admission
                .keys()
                .intern(unknown.shape, &unknown.method, path);
        }
    }
}

/// What the gate is asked by.
#[derive(Debug)]
struct Asked {
    key: Key,
    lane: Option<Lane>,
    unknown: Option<Box<Unknown>>,
}

impl Asked {
    fn of<B>(request: &Request<B>, arrival: &Arrival, admission: &Admission) -> Self {
        #[cfg(feature = "api")]
        if let Some(asked) = Self::known(request, arrival, admission) {
            return asked;
        }
        #[cfg(not(feature = "api"))]
        let _ = arrival;
        let names = request.extensions().get::<Names>();
        let named = names.and_then(|names| names.route.as_ref());
        let path = named.map_or(request.uri().path(), |name| name);
        let shape = Shape::of(request.method(), path);
        let keys = admission.keys();
        let key = keys.get(shape);
        let unknown = (key.is_none() && keys.has_room()).then(|| {
            Box::new(Unknown {
                shape,
                method: request.method().clone(),
                path: named.map_or_else(
                    || Path::Asked(request.uri().clone()),
                    |name| Path::Named(name.clone()),
                ),
            })
        });
        let lane = names
            .and_then(|names| names.lane)
            .or_else(|| is_bulk(request.headers()).then_some(Lane::BULK))
            // A route of which nothing is known is not judged by what it shares the last key with.
            .or_else(|| unknown.as_ref().map(|_| Lane::DEFAULT));
        Self {
            key: key.unwrap_or(Key::OVERFLOW),
            lane,
            unknown,
        }
    }

    /// Of a method that a stack has found: it is its own route. `None` leaves it to the path.
    #[cfg(feature = "api")]
    fn known<B>(request: &Request<B>, arrival: &Arrival, admission: &Admission) -> Option<Self> {
        let known = arrival.known?;
        let key = admission.keys().get(known.shape?)?;
        let bulk = || is_bulk(request.headers()).then_some(Lane::BULK);
        let lane = known.lane.or_else(bulk);
        let unknown = None;
        Some(Self { key, lane, unknown })
    }
}

fn is_bulk(headers: &HeaderMap) -> bool {
    length(headers).is_some_and(|length| length >= BULK)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
