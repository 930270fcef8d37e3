//! Many messages over HTTP.
//!
//! | | each message | an error, last | `content-type` |
//! |---|---|---|---|
//! | lines | `{"result":{…}}` | `{"error":{…}}` | `application/x-ndjson` |
//! | events | `data: {…}` | `event: error`, `data: {…}` | `text/event-stream` |
//!
//! The wrapper tells an error from a message with a field of that name. Events are for whoever
//! accepts `text/event-stream`: a browser's `EventSource`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as _;

use super::{Binding, body, render};
use crate::api::{Error, Replies};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Events,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
        let events = accept.is_some_and(|a| {
            let mut kinds = a
                .split(',')
                .map(|k| k.split(';').next().unwrap_or("").trim());
            kinds.any(|k| k.eq_ignore_ascii_case("text/event-stream"))
        });
        if events { Self::Events } else { Self::Lines }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn message(self, json: &[u8]) -> Bytes {
        match self {
            Self::Lines => framed(b"{\"result\":", json, b"}\n"),
            Self::Events => framed(b"data: ", json, b"\n\n"),
        }
    }

    fn error(self, error: &Error) -> Bytes {
        match self {
            Self::Lines => framed(b"{\"error\":", &error.body(), b"}\n"),
            Self::Events => framed(b"event: error\ndata: ", &error.body(), b"\n\n"),
        }
    }
}

fn framed(before: &[u8], json: &[u8], after: &[u8]) -> Bytes {
    Bytes::from([before, json, after].concat())
}

/// Streams the replies; the first error is the last of them.
pub(super) fn reply<A, B: Send + 'static>(
    binding: &'static Binding<A, B>,
    form: Form,
    replies: Replies<B>,
) -> Response<Body> {
    let pieces = stream::unfold(Some(replies), move |replies| async move {
        let mut replies = replies?;
        let next = replies.next().await?;
        match next.and_then(|reply| render(binding, &reply)) {
            Ok(json) => Some((Ok::<_, Error>(form.message(&json)), Some(replies))),
            Err(error) => {
                error.log(binding.method.name);
                Some((Ok(form.error(&error)), None))
            }
        }
    });
    let mut reply = Response::new(Body::from_stream(pieces));
    let headers = reply.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(form.content_type()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx keeps back what it streams unless it is told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    reply
}

/// A body's messages, a line of JSON each; empty lines are passed over.
pub struct Lines<T> {
    body: Body,
    held: BytesMut,
    /// How much of `held` is known to have no end of line.
    seen: usize,
    max: usize,
    read: fn(&[u8]) -> serde_json::Result<T>,
    ended: bool,
}

impl<T> Lines<T> {
    pub(super) fn new(body: Body, max: usize, read: fn(&[u8]) -> serde_json::Result<T>) -> Self {
        Self {
            body,
            held: BytesMut::new(),
            seen: 0,
            max,
            read,
            ended: false,
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        loop {
            let end = self.held[self.seen..].iter().position(|b| *b == b'\n');
            let line = match end {
                Some(end) => {
                    let line = self.held.split_to(self.seen + end).freeze();
                    self.held.advance(1);
                    line
                }
                None if self.ended => self.held.split().freeze(),
                None => {
                    self.seen = self.held.len();
                    return None;
                }
            };
            self.seen = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
            if self.held.is_empty() {
                return None;
            }
        }
    }
}

impl<T> Unpin for Lines<T> {}

impl<T> Stream for Lines<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(line) = self.line() {
                let read = (self.read)(&line).map_err(|e| body::malformed(&e));
                return Poll::Ready(Some(read));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.held.len() > self.max {
                self.ended = true;
                self.held.clear();
                return Poll::Ready(Some(Err(body::too_large(self.max))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    self.held.clear();
                    return Poll::Ready(Some(Err(body::broken(error))));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

impl<T> fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}
