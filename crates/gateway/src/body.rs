//! The two bodies that pass through, as plain enums.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seawall_policy::Tick;

use crate::core::Core;
use crate::exchange::Exchange;
use crate::site::Site;
use crate::sweep::Alarm;
use crate::trailers;

/// What a client owes is reckoned over so much time of waiting for it; the first is its grace.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The peer's connection broke, or what it sent was malformed.
    #[error(transparent)]
    Peer(#[from] hyper::Error),
    /// The client sends its body too slowly.
    #[error(
        "the request body stalled for longer than `body_timeout`, or was slower than `body_min_rate`"
    )]
    SlowRequest,
    /// The origin stalled in the middle of its reply, or the deadline passed.
    #[error("the response stalled for longer than it may")]
    SlowResponse,
}

/// A request body on its way to the origin.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None, or one that was already sent.
    Empty,
    /// Collected before a place was taken.
    Full(Bytes),
    /// Passed on as it comes, with the origin's back-pressure.
    Stream(Streaming),
}

/// A request body that still arrives.
#[derive(Debug)]
pub(crate) struct Streaming {
    incoming: Incoming,
    core: Arc<Core>,
    limit: Duration,
    /// Bytes that the client owes for every `window` that it lets us wait; 0: none.
    owed: u64,
    window: Duration,
    /// Of the window: what has come, how long it was waited for.
    came: u64,
    waited: Duration,
    /// When the wait that lasts began.
    since: Tick,
    /// Made when the client lets us wait for the first time; most never do.
    alarm: Option<Alarm>,
    armed: bool,
}

impl RequestBody {
    /// A body that is passed on as it comes from a client of `site`. gRPC may be silent for long by
    /// its nature, and owes no rate.
    pub(crate) fn stream(incoming: Incoming, core: &Arc<Core>, site: &Site, grpc: bool) -> Self {
        let window = site.body_timeout.min(RATE_WINDOW);
        let owed = site.body_min_rate as f64 * window.as_secs_f64();
        Self::Stream(Streaming {
            incoming,
            core: core.clone(),
            limit: site.body_timeout,
            owed: if grpc { 0 } else { owed as u64 },
            window,
            came: 0,
            waited: Duration::ZERO,
            since: Tick::ZERO,
            alarm: None,
            armed: false,
        })
    }
}

impl Streaming {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(mut frame) => {
                if let (true, Some(alarm)) = (self.armed, &self.alarm) {
                    alarm.set(Tick::MAX);
                    self.armed = false;
                    if self.owed > 0 {
                        self.waited += self.core.clock.now().since(self.since);
                    }
                }
                if let Some(Ok(data)) = frame.as_ref().map(|f| f.as_ref().map(Frame::data_ref)) {
                    self.came += data.map_or(0, |data| data.len() as u64);
                }
                if let Some(Ok(Some(trailers))) =
                    frame.as_mut().map(|f| f.as_mut().map(Frame::trailers_mut))
                {
                    trailers::to_origin(trailers);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Peer)))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    /// Only time in which we wait for the client counts: an origin that takes its time costs the
    /// client nothing.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let alarm = self.alarm.get_or_insert_with(|| self.core.sweep.alarm());
        if !self.armed {
            if self.came >= self.owed || self.waited >= self.window {
                if self.came < self.owed {
                    return Poll::Ready(Some(Err(BodyError::SlowRequest)));
                }
                (self.came, self.waited) = (0, Duration::ZERO);
            }
            self.since = self.core.clock.now();
            let left = if self.owed > 0 {
                self.window - self.waited
            } else {
                self.limit
            };
            alarm.set(self.since + self.limit.min(left));
            self.armed = true;
        }
        ready!(alarm.poll(cx));
        Poll::Ready(Some(Err(BodyError::SlowRequest)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            this @ Self::Full(_) => {
                let Self::Full(bytes) = std::mem::replace(this, Self::Empty) else {
                    return Poll::Ready(None);
                };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

/// A response body on its way to the client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Ours: a refusal or an error.
    Own(Bytes),
    /// The origin's. Boxed, because hyper moves a response about ten times.
    Origin(Box<Exchange>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Origin(exchange) => exchange.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Origin(exchange) => exchange.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Origin(exchange) => exchange.size_hint(),
        }
    }
}
