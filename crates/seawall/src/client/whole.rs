//! A body that was read before it is passed on, wholly or in part.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// What was read of a body to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

pin_project! {
    /// A body that passes through, or that is there as a whole.
    #[derive(Debug)]
    pub struct PassedOrWhole<B> {
        #[pin]
        passed: Option<B>,
        data: Bytes,
        trailers: Option<HeaderMap>,
    }
}

impl<B> PassedOrWhole<B> {
    pub(super) const fn passed(body: B) -> Self {
        Self {
            passed: Some(body),
            data: Bytes::new(),
            trailers: None,
        }
    }

    pub(super) fn whole(whole: Whole) -> Self {
        Self {
            passed: None,
            data: whole.data,
            trailers: whole.trailers,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for PassedOrWhole<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(body) = this.passed.as_pin_mut() {
            return body.poll_frame(cx);
        }
        if !this.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(this.data)))));
        }
        Poll::Ready(
            this.trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        )
    }

    fn is_end_stream(&self) -> bool {
        match &self.passed {
            Some(body) => body.is_end_stream(),
            None => self.data.is_empty() && self.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.passed {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(self.data.len() as u64),
        }
    }
}
