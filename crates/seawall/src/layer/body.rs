//! The body of a response that passed a layer, or of one that the layer gave itself.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::admission::Held;

pin_project! {
    /// A response's body: the inner service's, or a refusal's. Nothing is boxed.
    ///
    /// Below an [`AdmissionLayer`](super::AdmissionLayer) it holds the call's place: to its last
    /// byte, or until it is dropped.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = Projected]
    #[derive(Debug)]
    enum Kind<B> {
        Own { text: Bytes },
        Passed { #[pin] body: B },
        Held { #[pin] body: B, held: Held },
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn own(text: Bytes) -> Self {
        Self {
            kind: Kind::Own { text },
        }
    }

    pub(super) fn passed(body: B) -> Self {
        Self {
            kind: Kind::Passed { body },
        }
    }

    #[cfg(feature = "api")]
    /// What was passed on; `None` of a layer's own answer.
    pub(super) fn inner(&self) -> Option<&B> {
        match &self.kind {
            Kind::Own { .. } => None,
            Kind::Passed { body } | Kind::Held { body, .. } => Some(body),
        }
    }

    pub(super) fn held(body: B, held: Held) -> Self {
        Self {
            kind: Kind::Held { body, held },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            Projected::Own { text } if text.is_empty() => Poll::Ready(None),
            Projected::Own { text } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Projected::Passed { body } => body.poll_frame(cx),
            Projected::Held { mut body, held } => {
                held.asked();
                let polled = body.as_mut().poll_frame(cx);
                if polled.is_pending() {
                    held.silent(cx);
                }
                let frame = ready!(polled);
                match &frame {
                    Some(Ok(frame)) => held.came(frame, body.is_end_stream()),
                    Some(Err(_)) => held.broke(),
                    None => held.complete(),
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { text } => text.is_empty(),
            Kind::Passed { body } | Kind::Held { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { text } => SizeHint::with_exact(text.len() as u64),
            Kind::Passed { body } | Kind::Held { body, .. } => body.size_hint(),
        }
    }
}
