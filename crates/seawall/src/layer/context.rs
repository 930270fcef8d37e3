//! Reads the request context once, for every layer and handler below.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use seawall_sync::ambient::{self, Ambient, Scoped};
use tower::{Layer, Service};

use crate::admission::outcome;
use crate::clock::Clock;
#[cfg(feature = "api")]
use crate::context::ContextHeader;
use crate::context::{ContextHeaders, Reader, Trust, Wire, names};
use crate::{Call, Criticality, Outcome, Tick};

/// The call that the running task is part of; `None` outside of one.
///
/// Known while a handler's future is polled, below a [`ContextLayer`], and in what the handler
/// starts: the tasks of a [`Group`](crate::sync::Group), the work of a
/// [`Flight`](crate::sync::Flight), a pipeline. A bare spawn is part of the call where its future is
/// spawned [`in_current_call`](crate::sync::AmbientExt::in_current_call). A response body that is
/// polled after the handler returned is not.
///
/// The deadline of the call is that of every group made in it: tasks that are not done by then end,
/// with a [`DeadlineLayer`](super::DeadlineLayer) or without. A flight's work, which others wait for
/// too, is not ended.
///
/// ```
/// use seawall::layer;
/// use seawall::sync::AmbientExt;
///
/// async fn handler() {
///     let in_time = async { layer::current().map(|call| call.deadline) };
///     let task = tokio::spawn(in_time.in_current_call());
///     // …
///     # let _ = task.await;
/// }
/// ```
#[must_use]
pub fn current() -> Option<Call> {
    Surroundings::current().map(|surroundings| surroundings.call)
}

/// Makes `call` the [`current`] one while `future` runs, and its deadline, by `clock`, that of groups.
///
/// A server's layers do this for what they receive; it is for work that nobody calls for, such as a
/// scan that is to give way to everything else.
///
/// ```
/// use seawall::clock::Clock;
/// use seawall::{Call, Criticality, layer};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let call = Call { criticality: Criticality::Sheddable, ..Call::default() };
/// let scan = async { layer::current() };
/// assert_eq!(layer::within(call, &Clock::system(), scan).await, Some(call));
/// # });
/// ```
pub fn within<F: Future>(call: Call, clock: &Clock, future: F) -> Scoped<F> {
    let kept = Surroundings::current().map(|surroundings| surroundings.kept);
    let kept = kept.unwrap_or_default();
    Surroundings { call, kept }.ambient(clock).scope(future)
}

/// What is ambient while a call is worked on.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) call: Call,
    pub(crate) kept: Arc<Kept>,
}

impl Surroundings {
    pub(crate) fn current() -> Option<Self> {
        ambient::current().get::<Self>().cloned()
    }

    pub(super) fn ambient(self, clock: &Clock) -> Ambient {
        let around = ambient::current();
        match clock.instant(self.call.deadline) {
            Some(deadline) => around.with_until(self, deadline),
            None => around.with(self),
        }
    }
}

/// What travels with a call and no policy reads, and what its outgoing calls tell of themselves.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Headers that go on to the next hop as they came.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// A call made for this one was retried in vain, so nobody above is to retry.
    pub(crate) retried: AtomicBool,
    /// Which writer it is to its databases; 0 for a call that has not written.
    #[cfg(any(feature = "mysql", feature = "sqlite"))]
    pub(crate) writer: std::sync::atomic::AtomicU64,
    /// Where the call stands in its trace; its outgoing calls continue it.
    #[cfg(feature = "api")]
    pub(crate) trace: Option<super::Trace>,
}

impl Kept {
    fn of(headers: &HeaderMap, trust: Trust) -> Self {
        const TRACE: [HeaderName; 2] = [
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
        ];
        const BELIEVED: [HeaderName; 2] = [names::TENANT, names::UNDER_WAY];
        let believed = BELIEVED.into_iter().filter(|_| trust == Trust::Internal);
        let kept = TRACE.into_iter().chain(believed).filter_map(|name| {
            let value = headers.get(&name)?.clone();
            Some((name, value))
        });
        Self {
            headers: kept.collect(),
            ..Self::default()
        }
    }

    /// Of a call whose trace is known: the header is made from it when one goes out.
    #[cfg(feature = "api")]
    pub(super) fn traced(
        headers: &HeaderMap,
        trust: Trust,
        seen: ContextHeaders,
        trace: super::Trace,
    ) -> Self {
        let mut kept = Self {
            trace: Some(trace),
            ..Self::default()
        };
        // What came with a parent that made no sense makes none either.
        if trace.parent_id != 0
            && let Some(state) = super::trace::state(headers)
        {
            kept.headers.push((super::trace::TRACESTATE, state));
        }
        if trust == Trust::Internal {
            for header in [ContextHeader::Tenant, ContextHeader::UnderWay] {
                if seen.contains(header)
                    && let Some(value) = headers.get(header.name())
                {
                    kept.headers.push((header.name(), value.clone()));
                }
            }
        }
        kept
    }

    /// Says on a reply that fails that a call made for it was retried in vain.
    pub(super) fn mark<B>(&self, reply: &mut Response<B>, wire: Wire) {
        if self.retried.load(Relaxed)
            && outcome::of_head(reply.status(), reply.headers(), wire) != Outcome::Success
        {
            let mark = HeaderValue::from_static("1");
            reply.headers_mut().insert(names::RETRIED, mark);
        }
    }
}

/// A call as it arrived; among the request's extensions below a [`ContextLayer`].
///
/// ```
/// use seawall::layer::Arrival;
///
/// // In axum: `axum::Extension(arrival): axum::Extension<Arrival>`; anywhere:
/// fn units(request: &http::Request<()>) -> u32 {
///     Arrival::of(request.extensions()).map_or(1, |arrival| arrival.call.cost)
/// }
/// # assert_eq!(units(&http::Request::new(())), 1);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// What the policies read.
    pub call: Call,
    /// When its headers were read.
    pub at: Tick,
    /// The language in which it is answered.
    pub wire: Wire,
    /// Context headers of a trusted caller that made no sense, and were ignored.
    pub malformed: ContextHeaders,
    /// What a stack knows besides.
    #[cfg(feature = "api")]
    pub(super) known: Option<super::stack::Entry>,
}

impl Arrival {
    /// The one among a request's extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// The one that was read above, or else what an edge would have read.
    pub(super) fn of_request<B>(request: &Request<B>, now: Tick) -> Self {
        Self::of(request.extensions()).unwrap_or_else(|| {
            let read = Reader::default().read(request.method(), request.headers(), now);
            Self::new(read.call, read.malformed, request, now)
        })
    }

    /// Whether the method's definition says that many messages come back.
    pub(super) fn answers_with_stream(&self) -> bool {
        #[cfg(feature = "api")]
        if let Some(known) = self.known {
            return known.streams;
        }
        false
    }

    fn new<B>(call: Call, malformed: ContextHeaders, request: &Request<B>, at: Tick) -> Self {
        Self {
            call,
            at,
            wire: Wire::of(request.headers()),
            malformed,
            #[cfg(feature = "api")]
            known: None,
        }
    }
}

/// Puts an [`Arrival`] among the request's extensions, and makes its call the [`current`] one.
///
/// At an [edge](Trust::Edge), which is the default, the context headers are taken off the request.
///
/// A reply that fails carries `seawall-retried` where a [`Client`](crate::client) that was called
/// on the way has retried in vain: so of many tiers only the lowest retries, without a handler's
/// doing.
#[derive(Clone, Debug, Default)]
pub struct ContextLayer {
    reader: Reader,
    clock: Clock,
}

impl ContextLayer {
    /// For a server that anyone may call: nobody is believed, but who will not wait for as long as
    /// we allow.
    #[must_use]
    pub fn edge() -> Self {
        Self::default()
    }

    /// For a server that only our own services call: all of them are believed.
    #[must_use]
    pub fn internal() -> Self {
        Self::default().trust(Trust::Internal)
    }

    /// Whether callers are believed.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.reader.trust = trust;
        self
    }

    /// What a call is that does not say how much it matters; `critical` by default.
    #[must_use]
    pub fn criticality(mut self, criticality: Criticality) -> Self {
        self.reader.criticality = criticality;
        self
    }

    /// The longest that anyone waits here, whatever the caller says; no limit by default.
    #[must_use]
    pub fn max_timeout(mut self, timeout: Duration) -> Self {
        self.reader.timeout = Some(timeout);
        self
    }

    /// Turns tenants' names into numbers; the same on every replica, and a constant by default.
    #[must_use]
    pub fn tenant_seed(mut self, seed: u64) -> Self {
        self.reader.tenant_seed = seed;
        self
    }

    /// The clock; that of the [`Admission`](crate::admission::Admission) below, where it is not
    /// the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl<S> Layer<S> for ContextLayer {
    type Service = ContextService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ContextService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service below a [`ContextLayer`].
#[derive(Clone, Debug)]
pub struct ContextService<S> {
    inner: S,
    layer: ContextLayer,
}

impl<S, B, R> Service<Request<B>> for ContextService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ContextFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let reader = &self.layer.reader;
        let now = self.layer.clock.now();
        let read = reader.read(request.method(), request.headers(), now);
        let arrival = Arrival::new(read.call, read.malformed, &request, now);
        if reader.trust == Trust::Edge {
            for header in read.seen.iter() {
                request.headers_mut().remove(header.name());
            }
        }
        let kept = Arc::new(Kept::of(request.headers(), reader.trust));
        request.extensions_mut().insert(arrival);
        let surroundings = Surroundings {
            call: read.call,
            kept: kept.clone(),
        };
        let ambient = surroundings.ambient(&self.layer.clock);
        let future = ambient.enter(|| self.inner.call(request));
        ContextFuture {
            future: ambient.scope(future),
            kept,
            wire: arrival.wire,
        }
    }
}

pin_project! {
    /// The future of a [`ContextService`].
    pub struct ContextFuture<F> {
        #[pin]
        future: Scoped<F>,
        kept: Arc<Kept>,
        wire: Wire,
    }
}

impl<F, R, E> Future for ContextFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.future.poll(cx));
        if let Ok(reply) = &mut answer {
            this.kept.mark(reply, *this.wire);
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tower::service_fn;

    type Seen = (Option<Arrival>, Option<Call>, HeaderMap);

    async fn through(layer: ContextLayer, pairs: &[(&'static str, &'static str)]) -> Seen {
        let mut service = layer.layer(service_fn(async |request: Request<()>| {
            let seen = (
                Arrival::of(request.extensions()),
                current(),
                request.headers().clone(),
            );
            Ok::<_, Infallible>(Response::new(seen))
        }));
        let mut request = Request::new(());
        for (name, value) in pairs {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let Ok(seen) = service.call(request).await;
        seen.into_body()
    }

    const FORGED: [(&str, &str); 4] = [
        ("host", "shop"),
        ("seawall-timeout-ms", "250"),
        ("seawall-criticality", "critical-plus"),
        ("content-type", "application/grpc"),
    ];

    #[tokio::test]
    async fn an_edge_believes_nobody_and_takes_the_headers_off() {
        let clock = Clock::manual();
        let layer = ContextLayer::edge().clock(clock);
        let (arrival, current, headers) = through(layer, &FORGED).await;
        let arrival = arrival.unwrap();
        // But who does not wait, does not.
        assert_eq!(arrival.call.deadline, Tick::from_millis(250));
        assert_eq!(arrival.call.criticality, Criticality::Critical);
        assert_eq!(arrival.wire, Wire::Grpc);
        assert_eq!(current, Some(arrival.call));
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert_eq!(super::current(), None, "outside of a call");
    }

    #[tokio::test]
    async fn inside_all_are_believed_and_the_headers_stay() {
        let clock = Clock::manual();
        clock.advance(Duration::from_secs(1));
        let layer = ContextLayer::internal().clock(clock);
        let (arrival, _, headers) = through(layer, &FORGED).await;
        let arrival = arrival.unwrap();
        assert_eq!(arrival.call.deadline, Tick::from_millis(1_250));
        assert_eq!(arrival.call.criticality, Criticality::CriticalPlus);
        assert_eq!(headers.len(), 4);
    }

    #[tokio::test]
    async fn the_call_follows_into_what_a_handler_starts() {
        use crate::sync::{AmbientExt, Flight, Group};

        let layer = ContextLayer::internal().clock(Clock::manual());
        let flight = Flight::new();
        let mut service = layer.layer(service_fn(async |_: Request<()>| {
            let mut group = Group::<_, Infallible>::new();
            group.spawn(async { Ok(current()) });
            let grouped = group.join().await.all().unwrap();
            let shared = flight.run("key", async { current() }).await.unwrap();
            let spawned = tokio::spawn(async { current() }.in_current_call());
            let bare = tokio::spawn(async { current() });
            let seen = (grouped, shared, spawned.await, bare.await);
            Ok::<_, Infallible>(Response::new(seen))
        }));
        let mut request = Request::new(());
        let value = "sheddable".parse().unwrap();
        request.headers_mut().insert("seawall-criticality", value);
        let Ok(seen) = service.call(request).await;
        let (grouped, shared, spawned, bare) = seen.into_body();
        for seen in [grouped[0], shared, spawned.unwrap()] {
            assert_eq!(seen.unwrap().criticality, Criticality::Sheddable);
        }
        assert_eq!(bare.unwrap(), None, "a bare spawn loses it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_ends_at_the_deadline_of_its_call() {
        use crate::sync::{Flight, Group, group::TaskError};

        for clock in [Clock::system(), Clock::manual()] {
            clock.advance(Duration::from_secs(5));
            let layer = ContextLayer::internal().clock(clock);
            let flight = Flight::new();
            let mut service = layer.layer(service_fn(async |_: Request<()>| {
                let begun = tokio::time::Instant::now();
                let mut group = Group::<(), ()>::new();
                group.spawn(std::future::pending());
                let error = group.join().await.all().unwrap_err().error;
                let time = begun.elapsed();
                // For all who wait, not for this call alone.
                let shared = flight.run("key", async {
                    let mut group = Group::<_, ()>::new();
                    group.spawn(async { Ok(7) });
                    group.join().await.all().ok()
                });
                Ok::<_, Infallible>(Response::new((error, time, shared.await)))
            }));
            let mut request = Request::new(());
            let value = "250".parse().unwrap();
            request.headers_mut().insert("seawall-timeout-ms", value);
            let Ok(seen) = service.call(request).await;
            let (error, time, shared) = seen.into_body();
            assert_eq!(error, TaskError::DeadlineExceeded);
            // The test's clock, which stood still from before the system's was read.
            assert!(time >= Duration::from_millis(250), "{time:?}");
            assert_eq!(shared, Ok(Some(vec![7])));
        }
    }

    #[tokio::test]
    async fn nonsense_is_ignored_and_told() {
        let bad = [("seawall-cost", "much"), ("seawall-attempt", "2")];
        let (arrival, ..) = through(ContextLayer::internal(), &bad).await;
        let arrival = arrival.unwrap();
        assert_eq!((arrival.call.cost, arrival.call.attempt), (1, 2));
        assert!(!arrival.malformed.is_empty());
    }
}
