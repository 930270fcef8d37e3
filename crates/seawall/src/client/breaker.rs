//! Turns calls away while their origin fails them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use seawall_policy::breaker::{Breaker, Pass};
use tower::{Layer, Service};

use super::error::{Error, ErrorKind};
use super::outgoing::Outgoing;
use super::recorded::{Record, Recorded, Sample};
use crate::clock::Clock;
use crate::context::Wire;
use crate::{Outcome, Tick};

/// Asks a [`Breaker`] before each attempt, and tells it how the attempt ended.
///
/// What it turns away is [`ErrorKind::Rejected`], and costs neither an allocation nor a look at
/// what is below. It stands below retries, so that each attempt is asked about, and above the
/// balance, so that an outage of all hosts is seen as one.
///
/// ```
/// use seawall::client::BreakerLayer;
/// use seawall::Tick;
/// use seawall_policy::breaker::{Throttle, ThrottleSettings};
/// use std::sync::Arc;
///
/// let breaker = Arc::new(Throttle::new(ThrottleSettings::default(), Tick::ZERO));
/// let layer = BreakerLayer::new(breaker).shadow();
/// assert_eq!(layer.shadowed(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct BreakerLayer {
    breaker: Option<Arc<dyn Breaker>>,
    shadow: bool,
    shadowed: Arc<AtomicU64>,
    clock: Clock,
}

impl BreakerLayer {
    /// Obeys this breaker.
    #[must_use]
    pub fn new(breaker: Arc<dyn Breaker>) -> Self {
        Self {
            breaker: Some(breaker),
            ..Self::off()
        }
    }

    /// Lets everything pass and counts nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Counts what it would have turned away, and lets it pass.
    #[must_use]
    pub fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// The clock; the system's by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What all clones of this layer would have turned away, but for shadow mode.
    #[must_use]
    pub fn shadowed(&self) -> u64 {
        self.shadowed.load(Relaxed)
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = BreakerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service below a [`BreakerLayer`].
#[derive(Clone, Debug)]
pub struct BreakerService<S> {
    inner: S,
    layer: BreakerLayer,
}

/// A pass, to be recorded with the breaker that gave it.
#[derive(Debug)]
pub struct Passed {
    breaker: Arc<dyn Breaker>,
    pass: Pass,
}

impl Record for Passed {
    fn record(self, outcome: Outcome, latency: Duration, now: Tick) {
        self.breaker.record(self.pass, outcome, latency, now);
    }
}

impl<S, B, R> Service<Request<B>> for BreakerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Error>,
    R: Body<Data = Bytes>,
{
    type Response = Response<Recorded<R, Passed>>;
    type Error = Error;
    type Future = BreakerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let layer = &self.layer;
        let wire = Wire::of(request.headers());
        let Some(breaker) = &layer.breaker else {
            let sample = Sample::new(None, &layer.clock, Tick::ZERO, Tick::MAX, wire);
            return BreakerFuture::running(self.inner.call(request), sample);
        };
        let now = layer.clock.now();
        let call = Outgoing::call_of(&request, now);
        let passed = match breaker.ask_as(call.criticality, now, fastrand::u64(..)) {
            Ok(pass) => Some(Passed {
                breaker: breaker.clone(),
                pass,
            }),
            Err(_) if layer.shadow => {
                layer.shadowed.fetch_add(1, Relaxed);
                None
            }
            Err(rejection) => {
                let error = Some(ErrorKind::Rejected(rejection).into());
                return BreakerFuture {
                    state: State::Refused { error },
                };
            }
        };
        let sample = Sample::new(passed, &layer.clock, now, call.deadline, wire);
        BreakerFuture::running(self.inner.call(request), sample)
    }
}

pin_project! {
    /// The future of a [`BreakerService`].
    pub struct BreakerFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F> {
        Running { #[pin] future: F, sample: Option<Sample<Passed>> },
        Refused { error: Option<Error> },
    }
}

impl<F> BreakerFuture<F> {
    fn running(future: F, sample: Sample<Passed>) -> Self {
        let sample = Some(sample);
        Self {
            state: State::Running { future, sample },
        }
    }
}

impl<F, R, E> Future for BreakerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<Error>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<Recorded<R, Passed>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Running { future, sample } => {
                let answer = ready!(future.poll(cx)).map_err(Into::into);
                let sample = sample.take().expect("a future is not polled after its end");
                Poll::Ready(match answer {
                    Ok(reply) => Ok(sample.head(reply)),
                    Err(error) => {
                        sample.ended(of_error(&error));
                        Err(error)
                    }
                })
            }
            Projected::Refused { error } => Poll::Ready(Err(error
                .take()
                .expect("a future is not polled after its end"))),
        }
    }
}

/// How an attempt without an answer ended, as far as its origin is concerned.
pub(super) fn of_error(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::Rejected(_) | ErrorKind::TooLate | ErrorKind::NoHost(_) | ErrorKind::Uri(_) => {
            Outcome::Ignored
        }
        _ => Outcome::Failure,
    }
}
