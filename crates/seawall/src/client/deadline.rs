//! No call is begun that cannot finish.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower::{Layer, Service};

use super::error::{Error, ErrorKind};
use super::outgoing::Outgoing;
use crate::Tick;
use crate::clock::Clock;

/// Gives an outgoing request the deadline of the call that it is made for, or the default; sends
/// nothing when that has passed, and ends what is under way when it passes: the answer's body, too.
///
/// It is the outermost layer of a client. Where the answer is a stream without an end (server-sent
/// events, a streaming RPC), its caller has no deadline, or the stream ends by it.
///
/// A call without a deadline costs a look at the request, one with a deadline a timer of tokio's.
///
/// # Panics
/// Where a call has a deadline and tokio's timer is not enabled (`#[tokio::main]` enables it).
///
/// ```
/// use seawall::client::DeadlineLayer;
/// use std::time::Duration;
///
/// let layer = DeadlineLayer::default().default_timeout(Duration::from_secs(2));
/// assert_eq!(layer.not_sent(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct DeadlineLayer {
    default: Option<Duration>,
    not_sent: Arc<AtomicU64>,
    clock: Clock,
}

impl DeadlineLayer {
    /// How long a call that has no deadline may take up to its answer's head; by default for ever.
    /// The body may take longer then: it may be a stream.
    #[must_use]
    pub fn default_timeout(mut self, timeout: Duration) -> Self {
        self.default = Some(timeout);
        self
    }

    /// The clock; the system's by default, as that of the server's layers.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Calls of all clones of this layer that were not sent since their time was up.
    #[must_use]
    pub fn not_sent(&self) -> u64 {
        self.not_sent.load(Relaxed)
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
    S::Error: Into<Error>,
{
    type Response = Response<TimedBody<R>>;
    type Error = Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let layer = &self.layer;
        let now = layer.clock.now();
        let mut outgoing = Outgoing::of(&request, now);
        let call = &mut outgoing.call;
        let stated = call.deadline != Tick::MAX;
        if let (Tick::MAX, Some(timeout)) = (call.deadline, layer.default) {
            call.deadline = now + timeout;
        }
        let due = call.deadline;
        if due <= now {
            layer.not_sent.fetch_add(1, Relaxed);
            return DeadlineFuture {
                state: State::TooLate,
            };
        }
        request.extensions_mut().insert(outgoing);
        let timed = due != Tick::MAX;
        DeadlineFuture {
            state: State::Running {
                future: self.inner.call(request),
                stated,
                sleep: timed.then(|| Box::pin(tokio::time::sleep(due.since(now)))),
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
        Running { #[pin] future: F, stated: bool, sleep: Option<Pin<Box<Sleep>>> },
        TooLate,
        Done,
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<Error>,
{
    type Output = Result<Response<TimedBody<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let answer = match state.as_mut().project() {
            Projected::Running {
                future,
                stated,
                sleep,
            } => match future.poll(cx) {
                Poll::Ready(answer) => {
                    let sleep = sleep.take().filter(|_| *stated);
                    let timed = |body| TimedBody { body, sleep };
                    return Poll::Ready(answer.map(|r| r.map(timed)).map_err(Into::into));
                }
                Poll::Pending if passed(sleep, cx) => Err(ErrorKind::Deadline.into()),
                Poll::Pending => return Poll::Pending,
            },
            Projected::TooLate => Err(ErrorKind::TooLate.into()),
            Projected::Done => panic!("a future is not polled after its end"),
        };
        // What is below ends now, whatever becomes of this future.
        state.set(State::Done);
        Poll::Ready(answer)
    }
}

fn passed(sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    let sleep = sleep.as_mut();
    sleep.is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
}

pin_project! {
    /// The body of an answer, until the call's deadline.
    #[derive(Debug)]
    pub struct TimedBody<B> {
        #[pin]
        body: B,
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.project();
        match this.body.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending if passed(this.sleep, cx) => {
                Poll::Ready(Some(Err(ErrorKind::Deadline.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
