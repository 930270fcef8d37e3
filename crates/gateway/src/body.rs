//! The two bodies that pass through, as plain enums.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seawall_policy::Tick;

use crate::cache::{Copied, Pieces};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::pace::Pace;
use crate::sweep::Alarm;
use crate::trailers;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The peer's connection broke, or what it sent was malformed.
    #[error(transparent)]
    Peer(#[from] hyper::Error),
    /// The client sends its body too slowly.
    #[error(
        "the request body stalled for longer than `body_timeout`, or was slower than `min_rate`"
    )]
    SlowRequest,
    /// What another call brought broke off.
    #[error("the response broke off while it was copied")]
    CopyBroke,
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

/// Whose turn it is while a body is passed on: the client's, to send, or the origin's, to read and
/// then to answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<AtomicBool>);

impl Turn {
    pub(crate) fn is_clients(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, clients: bool) {
        self.0.store(clients, Relaxed);
    }
}

/// A request body that still arrives.
#[derive(Debug)]
pub(crate) struct Streaming {
    incoming: Incoming,
    client: Arc<Client>,
    pace: Pace,
    /// Made when the client lets us wait for the first time; most never do.
    alarm: Option<Alarm>,
    armed: bool,
    turn: Turn,
}

impl RequestBody {
    /// A body that is passed on as it comes. gRPC may be silent for long by its nature, and owes
    /// no rate.
    pub(crate) fn stream(incoming: Incoming, client: &Arc<Client>, grpc: bool) -> Self {
        let rate = if grpc { 0 } else { client.site.min_rate };
        Self::Stream(Streaming {
            incoming,
            client: client.clone(),
            pace: Pace::new(client.site.body_timeout, rate),
            alarm: None,
            armed: false,
            turn: Turn::default(),
        })
    }
}

impl RequestBody {
    /// Whose turn it is, where it is passed on as it comes.
    pub(crate) fn turn(&self) -> Option<Turn> {
        match self {
            Self::Stream(stream) => Some(stream.turn.clone()),
            Self::Empty | Self::Full(_) => None,
        }
    }

    /// Another copy of it; `None` for one that still arrives.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Full(bytes) => Some(Self::Full(bytes.clone())),
            Self::Stream(_) => None,
        }
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
                    self.turn.set(false);
                }
                if let Some(Ok(frame)) = &mut frame {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    let clock = &self.client.core.clock;
                    self.pace.moved(bytes as u64, || clock.now());
                    if let Some(trailers) = frame.trailers_mut() {
                        trailers::to_origin(trailers);
                    }
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Peer)))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    /// Only time in which we wait for the client counts: an origin that takes its time costs the
    /// client nothing.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let core = &self.client.core;
        let alarm = self.alarm.get_or_insert_with(|| core.sweep.alarm());
        if !self.armed {
            self.pace.share(self.client.active());
            alarm.set(self.pace.wait(core.clock.now()));
            self.armed = true;
            self.turn.set(true);
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
    /// The origin's, while a copy of it is made.
    Copied(Box<Copied>),
    /// One that is kept.
    Pieces(Box<Pieces>),
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
            Self::Copied(copied) => copied.poll_frame(cx),
            Self::Pieces(pieces) => pieces.poll_frame(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Origin(exchange) => exchange.is_end_stream(),
            Self::Copied(copied) => copied.is_end_stream(),
            Self::Pieces(pieces) => pieces.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Origin(exchange) => exchange.size_hint(),
            Self::Copied(copied) => copied.size_hint(),
            Self::Pieces(pieces) => pieces.size_hint(),
        }
    }
}
