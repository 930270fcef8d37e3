//! Sends a failing pool's calls to a small reserve.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use seawall_policy::fallback::{Gutter, Pass, Way};
use tower::{Layer, Service};

use super::breaker::of_error;
use super::error::{Error, ErrorKind};
use super::outgoing::Outgoing;
use super::recorded::{Record, Recorded, Sample};
use crate::clock::Clock;
use crate::context::Wire;
use crate::{Outcome, Tick};

/// Sends calls to a second service while the one below fails, as a [`Gutter`] decides, and tells it
/// how calls end.
///
/// The second one must not retry ([`RetryLayer`](super::RetryLayer) with one attempt at most): a
/// reserve that is retried is overrun as the main pool was. A call that it cannot bear is
/// [`ErrorKind::Rejected`].
///
/// ```
/// use http::StatusCode;
/// use seawall::client::{Body, GutterLayer};
/// use seawall::clock::Clock;
/// use seawall_policy::fallback::{Gutter, GutterSettings, Stage};
/// use std::convert::Infallible;
/// use std::sync::Arc;
/// use tower::{Layer, ServiceExt, service_fn};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let answers = |status: StatusCode| {
///     service_fn(move |_: http::Request<()>| async move {
///         let mut reply = http::Response::new(Body::empty());
///         *reply.status_mut() = status;
///         Ok::<_, Infallible>(reply)
///     })
/// };
/// let gutter = Arc::new(Gutter::new(&GutterSettings::default()));
/// let layer = GutterLayer::new(gutter.clone(), answers(StatusCode::OK), Clock::system());
/// let service = layer.layer(answers(StatusCode::BAD_GATEWAY));
/// for _ in 0..20 {
///     service.clone().oneshot(http::Request::new(())).await?;
/// }
/// assert_eq!(gutter.stage(), Stage::Gutter);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct GutterLayer<G> {
    gutter: Option<(Arc<Gutter>, G)>,
    clock: Clock,
}

impl<G> GutterLayer<G> {
    /// Sends calls to `reserve` while `gutter` says so.
    #[must_use]
    pub fn new(gutter: Arc<Gutter>, reserve: G, clock: Clock) -> Self {
        Self {
            gutter: Some((gutter, reserve)),
            clock,
        }
    }

    /// Sends every call to what is below.
    #[must_use]
    pub fn off() -> Self {
        Self {
            gutter: None,
            clock: Clock::system(),
        }
    }
}

impl<S, G: Clone> Layer<S> for GutterLayer<G> {
    type Service = GutterService<S, G>;

    fn layer(&self, inner: S) -> Self::Service {
        GutterService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service below a [`GutterLayer`].
#[derive(Clone, Debug)]
pub struct GutterService<S, G> {
    inner: S,
    layer: GutterLayer<G>,
}

/// A call's way, to be recorded with the gutter that chose it.
#[derive(Debug)]
pub struct Taken {
    gutter: Arc<Gutter>,
    pass: Pass,
}

impl Record for Taken {
    fn record(self, outcome: Outcome, _: Duration, now: Tick) {
        self.gutter.record(self.pass, outcome, now);
    }
}

impl<S, G, B, R> Service<Request<B>> for GutterService<S, G>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Error>,
    G: Service<Request<B>, Response = Response<R>>,
    G::Error: Into<Error>,
    R: Body<Data = Bytes>,
{
    type Response = Response<Recorded<R, Taken>>;
    type Error = Error;
    type Future = GutterFuture<S::Future, G::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some((_, reserve)) = &mut self.layer.gutter {
            ready!(reserve.poll_ready(cx)).map_err(Into::into)?;
        }
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let GutterLayer { gutter, clock } = &mut self.layer;
        let wire = Wire::of(request.headers());
        let Some((gutter, reserve)) = gutter else {
            let sample = Some(Sample::new(None, clock, Tick::ZERO, Tick::MAX, wire));
            let way = Called::Main {
                future: self.inner.call(request),
            };
            return GutterFuture { way, sample };
        };
        let now = clock.now();
        let pass = match gutter.pass(now, fastrand::u64(..)) {
            Ok(pass) => pass,
            Err(rejection) => {
                let error = Some(ErrorKind::Rejected(rejection).into());
                let way = Called::Refused { error };
                return GutterFuture { way, sample: None };
            }
        };
        let deadline = Outgoing::call_of(&request, now).deadline;
        let way = match pass.way() {
            Way::Main => Called::Main {
                future: self.inner.call(request),
            },
            Way::Gutter => Called::Gutter {
                future: reserve.call(request),
            },
        };
        let gutter = gutter.clone();
        let taken = Some(Taken { gutter, pass });
        let sample = Some(Sample::new(taken, clock, now, deadline, wire));
        GutterFuture { way, sample }
    }
}

pin_project! {
    /// The future of a [`GutterService`].
    pub struct GutterFuture<F, G> {
        #[pin]
        way: Called<F, G>,
        sample: Option<Sample<Taken>>,
    }
}

pin_project! {
    #[project = Projected]
    enum Called<F, G> {
        Main { #[pin] future: F },
        Gutter { #[pin] future: G },
        Refused { error: Option<Error> },
    }
}

impl<F, G, R, E, H> Future for GutterFuture<F, G>
where
    F: Future<Output = Result<Response<R>, E>>,
    G: Future<Output = Result<Response<R>, H>>,
    E: Into<Error>,
    H: Into<Error>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<Recorded<R, Taken>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "a future is not polled after its end";
        let this = self.project();
        let answer = match this.way.project() {
            Projected::Main { future } => ready!(future.poll(cx)).map_err(Into::into),
            Projected::Gutter { future } => ready!(future.poll(cx)).map_err(Into::into),
            Projected::Refused { error } => return Poll::Ready(Err(error.take().expect(ONCE))),
        };
        let sample = this.sample.take().expect(ONCE);
        Poll::Ready(match answer {
            Ok(reply) => Ok(sample.head(reply)),
            Err(error) => {
                sample.ended(of_pool(&error));
                Err(error)
            }
        })
    }
}

/// A pool whose breaker is open or that has no host fails, unlike a host that was not asked.
fn of_pool(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::Rejected(_) | ErrorKind::NoHost(_) => Outcome::Failure,
        _ => of_error(error),
    }
}
