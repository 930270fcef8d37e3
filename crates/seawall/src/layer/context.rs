//! Reads the request context once, for every layer and handler below.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Request};
use seawall_sync::ambient::{self, Scoped};
use tower::{Layer, Service};

use crate::clock::Clock;
use crate::context::{ContextHeaders, Reader, Trust, Wire, is_grpc};
use crate::{Call, Criticality, Tick};

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
    ambient::current().get::<Call>().copied()
}

/// Makes `call` the [`current`] one while `future` runs, and its deadline that of groups.
pub(super) fn within<F: Future>(call: Call, clock: &Clock, future: F) -> Scoped<F> {
    let around = ambient::current();
    let ambient = match clock.instant(call.deadline) {
        Some(deadline) => around.with_until(call, deadline),
        None => around.with(call),
    };
    ambient.scope(future)
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

    fn new<B>(call: Call, malformed: ContextHeaders, request: &Request<B>, at: Tick) -> Self {
        let grpc = is_grpc(request.headers());
        let wire = if grpc { Wire::Grpc } else { Wire::Http };
        Self {
            call,
            at,
            wire,
            malformed,
        }
    }
}

/// Puts an [`Arrival`] among the request's extensions, and makes its call the [`current`] one.
///
/// At an [edge](Trust::Edge), which is the default, the context headers are taken off the request.
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

impl<S, B> Service<Request<B>> for ContextService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Scoped<S::Future>;

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
        request.extensions_mut().insert(arrival);
        within(read.call, &self.layer.clock, self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
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
            Ok::<_, Infallible>(seen)
        }));
        let mut request = Request::new(());
        for (name, value) in pairs {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let Ok(seen) = service.call(request).await;
        seen
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
            Ok::<_, Infallible>((grouped, shared, spawned.await, bare.await))
        }));
        let mut request = Request::new(());
        let value = "sheddable".parse().unwrap();
        request.headers_mut().insert("seawall-criticality", value);
        let Ok((grouped, shared, spawned, bare)) = service.call(request).await;
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
                Ok::<_, Infallible>((error, time, shared.await))
            }));
            let mut request = Request::new(());
            let value = "250".parse().unwrap();
            request.headers_mut().insert("seawall-timeout-ms", value);
            let Ok((error, time, shared)) = service.call(request).await;
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
