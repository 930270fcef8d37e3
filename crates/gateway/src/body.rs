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
use crate::sweep::Alarm;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The peer's connection broke, or what it sent was malformed.
    #[error(transparent)]
    Peer(#[from] hyper::Error),
    /// The client sends its body too slowly.
    #[error("the request body stalled for longer than `body_timeout`")]
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
    /// Made when the client lets us wait for the first time; most never do.
    alarm: Option<Alarm>,
    armed: bool,
}

impl RequestBody {
    /// `limit` is the longest pause.
    pub(crate) fn stream(incoming: Incoming, core: &Arc<Core>, limit: Duration) -> Self {
        Self::Stream(Streaming {
            incoming,
            core: core.clone(),
            limit,
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
            Poll::Ready(frame) => {
                if let (true, Some(alarm)) = (self.armed, &self.alarm) {
                    alarm.set(Tick::MAX);
                    self.armed = false;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Peer)))
            }
            Poll::Pending => {
                let alarm = self.alarm.get_or_insert_with(|| self.core.sweep.alarm());
                if !self.armed {
                    alarm.set(self.core.clock.now() + self.limit);
                    self.armed = true;
                }
                ready!(alarm.poll(cx));
                Poll::Ready(Some(Err(BodyError::SlowRequest)))
            }
        }
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
