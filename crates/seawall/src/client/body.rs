//! The body of what a client sends and gets.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde::de::DeserializeOwned;

use super::coalesce::collect;
use super::error::{Error, ErrorKind};

/// How much [`Body::bytes`] reads: 2 MiB.
pub const READ_LIMIT: usize = 2 * 1024 * 1024;

/// The body of a request or an answer: bytes that are there, or any other body, boxed.
///
/// ```
/// use seawall::client::Body;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let body = Body::from("[1, 2]");
/// let numbers: Vec<u32> = body.json().await?;
/// assert_eq!(numbers, [1, 2]);
/// # Ok::<(), seawall::client::Error>(())
/// # }).unwrap();
/// ```
#[derive(Default)]
pub struct Body(Kind);

enum Kind {
    Whole(Bytes),
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = Error> + Send>>),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Any other body. One that is at its end is not boxed.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if body.is_end_stream() {
            return Self::default();
        }
        Self(Kind::Boxed(Box::pin(Errors { body })))
    }

    /// The whole of it, at most [`READ_LIMIT`].
    ///
    /// # Errors
    /// It is longer, or broke off.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        self.bytes_up_to(READ_LIMIT).await
    }

    /// The whole of it, at most `limit` bytes.
    ///
    /// # Errors
    /// It is longer, or broke off.
    pub async fn bytes_up_to(self, limit: usize) -> Result<Bytes, Error> {
        Ok(collect(self, limit as u64).await?.data)
    }

    /// As [`bytes`](Self::bytes), as UTF-8.
    ///
    /// # Errors
    /// It is longer, broke off, or is no UTF-8.
    pub async fn text(self) -> Result<String, Error> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into())
            .map_err(|e| ErrorKind::BadBody(std::sync::Arc::new(e)).into())
    }

    /// As [`bytes`](Self::bytes), as JSON.
    ///
    /// # Errors
    /// It is longer, broke off, or is not what a `T` is read from.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ErrorKind::BadBody(std::sync::Arc::new(error)).into())
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Kind::Whole(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("size", &HttpBody::size_hint(self).exact())
            .finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    struct Errors<B> {
        #[pin]
        body: B,
    }
}

impl<B> HttpBody for Errors<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = self.project().body.poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(|error| Error::from(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
