//! Tells callers how busy this host is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use seawall_policy::Tick;
use seawall_policy::balance::Load;
use tower::{Layer, Service};

use super::body::ResponseBody;
use crate::clock::Clock;
use crate::context::{LOAD_PATH, load_value, names};

/// How much one call moves what is known of all.
const STEP: f32 = 0.1;

/// Puts `seawall-load` on every response: how many calls are here, and what one that arrived now
/// would take. Answers probes at [`LOAD_PATH`] without asking the service.
///
/// For callers that balance by it (`prequal`). What a call would take is the average of late,
/// scaled by how many calls are here now to how many there were when those of late arrived. A call
/// counts until the head of its response. Costs two clock readings and three atomic writes a call.
///
/// ```
/// use http::{Request, Response};
/// use seawall::context::load;
/// use seawall::layer::LoadLayer;
/// use tower::{Layer, Service, service_fn};
///
/// # futures_util::future::FutureExt::now_or_never(async {
/// let handler = service_fn(|_: Request<()>| async { Ok::<_, ()>(Response::new(())) });
/// let response = LoadLayer::default().layer(handler).call(Request::new(())).await?;
/// assert_eq!(load(response.headers()).map(|load| load.in_flight), Some(0));
/// # Ok::<(), ()>(())
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct LoadLayer {
    state: Arc<State>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    in_flight: AtomicU32,
    /// Two `f32`: seconds, and the calls in flight that they came with. Of two calls that end at the
    /// same moment one may go uncounted.
    average: AtomicU64,
}

impl State {
    fn learn(&self, latency: Duration, among: u32) {
        let (seconds, calls) = self.average();
        let (new, among) = (latency.as_secs_f32(), among as f32);
        let next = if seconds == 0.0 {
            (new, among)
        } else {
            (
                seconds + (new - seconds) * STEP,
                calls + (among - calls) * STEP,
            )
        };
        let bits = u64::from(next.0.to_bits()) << 32 | u64::from(next.1.to_bits());
        self.average.store(bits, Relaxed);
    }

    fn average(&self) -> (f32, f32) {
        let bits = self.average.load(Relaxed);
        (
            f32::from_bits((bits >> 32) as u32),
            f32::from_bits(bits as u32),
        )
    }

    fn load(&self) -> Load {
        let in_flight = self.in_flight.load(Relaxed);
        let (seconds, among) = self.average();
        let seconds = seconds * (in_flight as f32 + 1.0) / among.max(1.0);
        Load {
            in_flight,
            latency: Duration::try_from_secs_f32(seconds).unwrap_or_default(),
        }
    }
}

impl LoadLayer {
    /// The clock; by default the system's.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// How busy this host is.
    #[must_use]
    pub fn load(&self) -> Load {
        self.state.load()
    }
}

impl<S> Layer<S> for LoadLayer {
    type Service = LoadService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        LoadService { inner, layer }
    }
}

/// A service below a [`LoadLayer`].
#[derive(Clone, Debug)]
pub struct LoadService<S> {
    inner: S,
    layer: LoadLayer,
}

impl<S, B, R> Service<Request<B>> for LoadService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = LoadFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.uri().path() == LOAD_PATH {
            let load = self.layer.load();
            return LoadFuture {
                kind: Kind::Probe { load },
            };
        }
        let started = self.layer.clock.now();
        let among = self.layer.state.in_flight.fetch_add(1, Relaxed) + 1;
        let here = Here {
            layer: self.layer.clone(),
            started,
            among,
        };
        let future = self.inner.call(request);
        LoadFuture {
            kind: Kind::Call { future, here },
        }
    }
}

/// A call that is here, until it is answered or dropped.
#[derive(Debug)]
struct Here {
    layer: LoadLayer,
    started: Tick,
    among: u32,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.layer.state.in_flight.fetch_sub(1, Relaxed);
    }
}

pin_project! {
    /// The future of a [`LoadService`].
    pub struct LoadFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<F> {
        Call { #[pin] future: F, here: Here },
        Probe { load: Load },
        Done,
    }
}

impl<F, R, E> Future for LoadFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut kind = self.project().kind;
        let (mut response, load) = match kind.as_mut().project() {
            Projected::Call { future, here } => {
                let response = ready!(future.poll(cx))?.map(ResponseBody::passed);
                let state = here.layer.state.clone();
                let latency = here.layer.clock.now().since(here.started);
                state.learn(latency, here.among);
                // It is answered, and counts no more.
                kind.set(Kind::Done);
                (response, state.load())
            }
            Projected::Probe { load } => {
                let mut response = Response::new(ResponseBody::own(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                (response, *load)
            }
            Projected::Done => return Poll::Pending,
        };
        response.headers_mut().insert(names::LOAD, load_value(load));
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::load;
    use tower::service_fn;

    #[tokio::test]
    async fn it_says_how_many_are_here_and_how_long_one_takes() {
        let clock = Clock::manual();
        let layer = LoadLayer::default().clock(clock.clone());
        let handler = service_fn(|_: Request<()>| {
            let clock = clock.clone();
            async move {
                clock.advance(Duration::from_millis(10));
                Ok::<_, ()>(Response::new(()))
            }
        });
        let mut service = layer.layer(handler);
        let response = service.call(Request::new(())).await.unwrap();
        let said = load(response.headers()).unwrap();
        assert_eq!((said.in_flight, said.latency.as_millis()), (0, 10));
        let (one, two) = (
            service.call(Request::new(())),
            service.call(Request::new(())),
        );
        let mut probe = Request::new(());
        *probe.uri_mut() = LOAD_PATH.parse().unwrap();
        let probed = service.call(probe).await.unwrap();
        assert_eq!(probed.status(), StatusCode::NO_CONTENT);
        let said = load(probed.headers()).unwrap();
        let micros = said.latency.as_micros();
        assert_eq!((said.in_flight, micros.div_ceil(1_000)), (2, 30));
        drop((one, two));
        assert_eq!(layer.load().in_flight, 0, "who leaves is not here");
    }
}
