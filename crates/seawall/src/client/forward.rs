//! Writes the context onto each attempt.

use std::task::{Context, Poll};

use http::{HeaderMap, Request};
use tower::{Layer, Service};

use super::error::Error;
use super::outgoing::Outgoing;
use crate::clock::Clock;
use crate::context::{ContextHeaders, Trust, forward, is_grpc};

/// Writes what is left of the deadline, criticality and attempt onto each attempt, and hands on the
/// tenant, the under-way mark and the trace of the request that it is made for.
///
/// Below retries, so that every attempt says what is left by then. For a side that is
/// [not ours](Self::external) it writes the time alone.
///
/// ```
/// use seawall::client::ForwardLayer;
/// use tower::{Layer, ServiceExt, service_fn};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let origin = service_fn(|request: http::Request<()>| async move {
///     let said = request.headers()["seawall-timeout-ms"].clone();
///     Ok::<_, std::convert::Infallible>(said)
/// });
/// let request = http::Request::get("/x").header("grpc-timeout", "2S").body(())?;
/// let said = ForwardLayer::default().layer(origin).oneshot(request).await?;
/// assert!(said == "2000" || said == "1999");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct ForwardLayer {
    external: bool,
    clock: Clock,
}

impl ForwardLayer {
    /// The other side is somebody else's: it is told the time that is left, and nothing else of us.
    #[must_use]
    pub fn external(mut self) -> Self {
        self.external = true;
        self
    }

    /// The clock; the system's by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn write(&self, headers: &mut HeaderMap, outgoing: &Outgoing, now: crate::Tick) {
        let grpc = is_grpc(headers);
        if self.external {
            let bare = crate::Call {
                deadline: outgoing.call.deadline,
                ..crate::Call::default()
            };
            forward(headers, Trust::Edge, outgoing.seen, &bare, now, grpc);
            return;
        }
        let seen: ContextHeaders = outgoing.seen;
        forward(headers, Trust::Internal, seen, &outgoing.call, now, grpc);
        #[cfg(feature = "api")]
        if let Some(trace) = outgoing.kept.as_ref().and_then(|kept| kept.trace) {
            let parent = headers.entry(crate::layer::trace::TRACEPARENT);
            parent.or_insert_with(|| trace.value());
        }
        for (name, value) in outgoing.kept.iter().flat_map(|kept| &kept.headers) {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = ForwardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ForwardService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service below a [`ForwardLayer`].
#[derive(Clone, Debug)]
pub struct ForwardService<S> {
    inner: S,
    layer: ForwardLayer,
}

impl<S, B> Service<Request<B>> for ForwardService<S>
where
    S: Service<Request<B>>,
    S::Error: Into<Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let now = self.layer.clock.now();
        let outgoing = Outgoing::of(&request, now);
        self.layer.write(request.headers_mut(), &outgoing, now);
        self.inner.call(request)
    }
}
