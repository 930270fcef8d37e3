//! Ends what nobody waits for any more.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use pin_project_lite::pin_project;
use seawall_sync::ambient::Scoped;
use tokio::time::Sleep;
use tower::{Layer, Service};

use super::body::ResponseBody;
use super::context::{Arrival, within};
use crate::Tick;
use crate::clock::Clock;
use crate::context::{Wire, deadline_passed, names};

/// Refuses a call whose time is up, and drops the handler's future when its time runs out.
///
/// Either way the caller is told 504, gRPC DEADLINE_EXCEEDED, and not to try again. A response
/// that has begun is not cut: its caller sees it come, and can hang up. A call without a deadline
/// costs a comparison, one with a deadline a timer of tokio's.
///
/// # Panics
/// Where a call has a deadline and tokio's timer is not enabled (`#[tokio::main]` enables it).
///
/// ```
/// use seawall::layer::DeadlineLayer;
/// use std::time::Duration;
///
/// let layer = DeadlineLayer::default().default_timeout(Duration::from_secs(10));
/// assert_eq!(layer.totals().refused, 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct DeadlineLayer {
    default: Option<Duration>,
    shadow: bool,
    clock: Clock,
    counts: Arc<Counts>,
}

/// What became of calls whose time was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlineTotals {
    /// Refused, as the time was up on arrival.
    pub refused: u64,
    /// Ended in the middle.
    pub ended: u64,
    /// Would have been refused or ended, but for shadow mode.
    pub shadowed: u64,
}

/// Written only when time runs out, so not sharded.
#[derive(Debug, Default)]
struct Counts {
    refused: AtomicU64,
    ended: AtomicU64,
    shadowed: AtomicU64,
}

impl DeadlineLayer {
    /// The time limit of a call that states none; by default it has none.
    #[must_use]
    pub fn default_timeout(mut self, timeout: Duration) -> Self {
        self.default = Some(timeout);
        self
    }

    /// Only counts whose deadline passes, and ends nobody.
    #[must_use]
    pub fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// The clock; that of the [`ContextLayer`](super::ContextLayer) above.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What all clones of this layer did so far.
    #[must_use]
    pub fn totals(&self) -> DeadlineTotals {
        DeadlineTotals {
            refused: self.counts.refused.load(Relaxed),
            ended: self.counts.ended.load(Relaxed),
            shadowed: self.counts.shadowed.load(Relaxed),
        }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service below a [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, B, R> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let DeadlineLayer {
            default,
            shadow,
            clock,
            counts,
        } = &self.layer;
        let read = Arrival::of(request.extensions());
        let mut arrival = read.unwrap_or_else(|| Arrival::of_request(&request, clock.now()));
        let stated = arrival.call.deadline;
        if let (Tick::MAX, Some(timeout)) = (stated, default) {
            arrival.call.deadline = arrival.at + *timeout;
        }
        // Most calls have no deadline, and need no clock.
        let timed = arrival.call.deadline != Tick::MAX;
        let now = if timed { clock.now() } else { Tick::ZERO };
        if timed && arrival.call.deadline <= now {
            if !shadow {
                counts.refused.fetch_add(1, Relaxed);
                return DeadlineFuture {
                    state: State::Refused { wire: arrival.wire },
                };
            }
            counts.shadowed.fetch_add(1, Relaxed);
            arrival.call.deadline = Tick::MAX;
        }
        let due = arrival.call.deadline;
        let known = read.is_some() && due == stated;
        if !known {
            request.extensions_mut().insert(arrival);
        }
        let timed = due != Tick::MAX;
        let future = self.inner.call(request);
        DeadlineFuture {
            state: State::Running {
                // Above it is the current call already.
                future: if known {
                    Either::Right(future)
                } else {
                    Either::Left(within(arrival.call, clock, future))
                },
                sleep: timed.then(|| tokio::time::sleep(due.since(now))),
                shadow: *shadow,
                wire: arrival.wire,
                counts: counts.clone(),
            },
        }
    }
}

pin_project! {
    /// The future of a [`DeadlineService`].
    pub struct DeadlineFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F> {
        Running {
            #[pin] future: Either<Scoped<F>, F>,
            #[pin] sleep: Option<Sleep>,
            shadow: bool,
            wire: Wire,
            counts: Arc<Counts>,
        },
        Refused { wire: Wire },
        Done,
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            Projected::Running {
                future,
                mut sleep,
                shadow,
                wire,
                counts,
            } => {
                if let Poll::Ready(answer) = future.poll(cx) {
                    return Poll::Ready(answer.map(|r| r.map(ResponseBody::passed)));
                }
                let due = sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx));
                if due.is_none_or(|due| due.is_pending()) {
                    return Poll::Pending;
                }
                if *shadow {
                    counts.shadowed.fetch_add(1, Relaxed);
                    sleep.set(None);
                    return Poll::Pending;
                }
                counts.ended.fetch_add(1, Relaxed);
                let reply = ended(*wire);
                // Drops the handler's future now, whatever becomes of this one.
                state.set(State::Done);
                Poll::Ready(Ok(reply.map(ResponseBody::own)))
            }
            Projected::Refused { wire } => {
                Poll::Ready(Ok(deadline_passed(*wire).map(ResponseBody::own)))
            }
            Projected::Done => Poll::Pending,
        }
    }
}

/// The reply to a call whose time ran out in the middle.
fn ended(wire: Wire) -> Response<Bytes> {
    const TEXT: &str = "deadline exceeded";
    let mut reply = deadline_passed(wire);
    match wire {
        Wire::Http => *reply.body_mut() = Bytes::from_static(TEXT.as_bytes()),
        Wire::Grpc => {
            let text = http::HeaderValue::from_static(TEXT);
            reply.headers_mut().insert(names::GRPC_MESSAGE, text);
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{ContextLayer, current};
    use http::StatusCode;
    use std::convert::Infallible;
    use tower::service_fn;

    const OK: StatusCode = StatusCode::OK;
    const ACCEPTED: StatusCode = StatusCode::ACCEPTED;

    fn request(timeout_ms: Option<&str>, grpc: bool) -> Request<()> {
        let mut request = Request::new(());
        let headers = request.headers_mut();
        if let Some(ms) = timeout_ms {
            headers.insert("seawall-timeout-ms", ms.parse().unwrap());
        }
        if grpc {
            headers.insert("content-type", "application/grpc".parse().unwrap());
        }
        request
    }

    type Answer = Response<ResponseBody<()>>;

    /// `forever`: the handler never answers; else it answers 202 if it knew a deadline.
    async fn answer(layer: &DeadlineLayer, request: Request<()>, forever: bool) -> Answer {
        let handler = service_fn(move |_: Request<()>| async move {
            if forever {
                std::future::pending::<()>().await;
            }
            let timed = current().unwrap().deadline != Tick::MAX;
            let mut response = Response::new(());
            *response.status_mut() = if timed { ACCEPTED } else { OK };
            Ok::<_, Infallible>(response)
        });
        let context = ContextLayer::internal().clock(layer.clock.clone());
        let Ok(answer) = context.layer(layer.layer(handler)).call(request).await;
        answer
    }

    fn layer() -> DeadlineLayer {
        DeadlineLayer::default().clock(Clock::manual())
    }

    #[tokio::test(start_paused = true)]
    async fn refused_when_the_time_is_up_and_ended_when_it_runs_out() {
        let layer = layer();
        for ms in ["0", "50"] {
            let http = answer(&layer, request(Some(ms), false), true).await;
            assert_eq!(http.status(), 504);
            let grpc = answer(&layer, request(Some(ms), true), true).await;
            assert_eq!(grpc.status(), 200);
            assert_eq!(grpc.headers()["grpc-status"], "4");
            assert_eq!(grpc.headers()["grpc-retry-pushback-ms"], "-1");
        }
        let totals = layer.totals();
        assert_eq!((totals.refused, totals.ended, totals.shadowed), (2, 2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn in_time_it_passes_and_the_handler_knows_the_deadline() {
        let stated = answer(&layer(), request(Some("50"), false), false).await;
        assert_eq!(stated.status(), ACCEPTED);
        let none = answer(&layer(), request(None, false), false).await;
        assert_eq!(none.status(), OK);
        let default = layer().default_timeout(Duration::from_secs(1));
        let default_given = answer(&default, request(None, false), false).await;
        assert_eq!(default_given.status(), ACCEPTED);
        let ended = answer(&default, request(None, false), true).await;
        assert_eq!(ended.status(), 504);
    }

    #[tokio::test(start_paused = true)]
    async fn in_shadow_nobody_is_refused() {
        let layer = layer().shadow();
        let late = answer(&layer, request(Some("0"), false), false).await;
        assert_eq!(late.status(), OK);
        let forever = answer(&layer, request(Some("50"), false), true);
        let patience = tokio::time::timeout(Duration::from_secs(9), forever);
        assert!(patience.await.is_err(), "it goes on");
        assert_eq!(layer.totals().shadowed, 2);
    }
}
