//! Many messages, there or back.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt, stream};

use super::rest::Lines;
use super::{Error, Validate};

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// What a handler answers with, message by message. The first error ends it: by gRPC as the call's
/// status, over HTTP as the last line or event.
///
/// Dropped when the caller leaves, and with it whatever makes the messages.
pub struct Replies<T>(Boxed<T>);

impl<T: Send + 'static> Replies<T> {
    /// Those of a stream.
    pub fn new(replies: impl Stream<Item = Result<T, Error>> + Send + 'static) -> Self {
        Self(Box::pin(replies))
    }

    /// Those that are at hand.
    pub fn all<I>(replies: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        Self::new(stream::iter(replies.into_iter().map(Ok)))
    }
}

impl<T> Stream for Replies<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl<T> fmt::Debug for Replies<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replies")
    }
}

/// What a caller sends, message by message, each as its rules ask. The first error ends it.
pub struct Messages<T> {
    from: From<T>,
    check: fn(&T) -> Result<(), Error>,
    ended: bool,
}

enum From<T> {
    Grpc(tonic::Streaming<T>),
    Http(Lines<T>),
    Held(Boxed<T>),
}

impl<T: Validate> Messages<T> {
    pub(super) fn grpc(stream: tonic::Streaming<T>) -> Self {
        Self::of(From::Grpc(stream))
    }

    pub(super) fn http(lines: Lines<T>) -> Self {
        Self::of(From::Http(lines))
    }

    /// Those of a stream, for tests of handlers.
    pub fn new(messages: impl Stream<Item = Result<T, Error>> + Send + 'static) -> Self {
        Self::of(From::Held(Box::pin(messages)))
    }

    fn of(from: From<T>) -> Self {
        Self {
            from,
            check: T::check,
            ended: false,
        }
    }
}

impl<T> Messages<T> {
    /// The next, `None` at the end. Cancel-safe: no message is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// A message that cannot be read, one that is not as its rules ask, a caller that is gone.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        StreamExt::next(self).await
    }
}

impl<T> Unpin for Messages<T> {}

impl<T> Stream for Messages<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match &mut self.from {
            From::Grpc(stream) => stream
                .poll_next_unpin(context)
                .map(|next| next.map(|read| read.map_err(super::grpc::unreadable))),
            From::Http(lines) => lines.poll_next_unpin(context),
            From::Held(stream) => stream.as_mut().poll_next(context),
        };
        next.map(|next| {
            let check = self.check;
            let next = next.map(|read| read.and_then(|m| check(&m).map(|()| m)));
            self.ended = !matches!(next, Some(Ok(_)));
            next
        })
    }
}

impl<T> fmt::Debug for Messages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Messages")
    }
}
