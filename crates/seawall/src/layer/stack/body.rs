//! The body of an answer, watched to its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use crate::context::Wire;
use crate::layer::ResponseBody;
use crate::layer::answer::Refusal;
use crate::layer::record::Record;
use crate::layer::recovery::{BoxError, RecoveredBody};

type Below<B> = ResponseBody<ResponseBody<RecoveredBody<B>>>;

pin_project! {
    /// The body of an answer that a [`Stack`](super::Stack) gave or passed on.
    pub struct StackBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = Projected]
    #[allow(clippy::large_enum_variant, reason = "the usual one is the large one")]
    enum Kind<B> {
        Own { text: Bytes },
        Watched {
            #[pin] body: Below<B>,
            record: Record,
            // Bytes to come; `None` where the answer does not say.
            left: Option<u64>,
            idle: Option<Idle>,
        },
        Ended,
    }
}

/// How long a stream may be silent. A timer is made when it is for the first time.
pub(super) struct Idle {
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            sleep: None,
        }
    }

    fn heard(&mut self) {
        let next = Instant::now() + self.timeout;
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(next);
        }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let timeout = self.timeout;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        sleep.as_mut().poll(cx).is_ready()
    }
}

/// A stream that was silent for too long.
#[derive(Debug, thiserror::Error)]
#[error("the stream was silent for longer than it may be")]
struct Silent;

impl<B> StackBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn own(text: Bytes) -> Self {
        Self {
            kind: Kind::Own { text },
        }
    }

    pub(super) fn watched(body: Below<B>, mut record: Record, idle: Option<Idle>) -> Self {
        // Nobody asks for what is not there.
        if record.head_only || body.is_end_stream() {
            record.complete();
        }
        let left = body.size_hint().exact();
        Self {
            kind: Kind::Watched {
                body,
                record,
                left,
                idle,
            },
        }
    }
}

impl<B> Body for StackBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut kind = self.project().kind;
        let (mut body, record, left, idle) = match kind.as_mut().project() {
            Projected::Own { text } if text.is_empty() => return Poll::Ready(None),
            Projected::Own { text } => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))));
            }
            Projected::Watched {
                body,
                record,
                left,
                idle,
            } => (body, record, left, idle),
            Projected::Ended => return Poll::Ready(None),
        };
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(idle) = idle {
                    idle.heard();
                }
                if let (Some(left), Some(data)) = (&mut *left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    record.trailers(trailers);
                }
                // Once the announced length has come nobody asks again.
                if frame.is_trailers() || *left == Some(0) || body.is_end_stream() {
                    record.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                record.broke();
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                record.complete();
                Poll::Ready(None)
            }
            Poll::Pending if idle.as_mut().is_some_and(|idle| idle.is_over(cx)) => {
                record.refused(Refusal::IDLE);
                record.complete();
                let wire = record.wire();
                // What is below ends now, and gives back what it holds.
                kind.set(Kind::Ended);
                Poll::Ready(Some(match wire {
                    Wire::Grpc => Ok(Frame::trailers(Refusal::IDLE.trailers())),
                    Wire::Http => Err(Silent.into()),
                }))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { text } => text.is_empty(),
            Kind::Watched { body, .. } => body.is_end_stream(),
            Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { text } => SizeHint::with_exact(text.len() as u64),
            Kind::Watched { body, .. } => body.size_hint(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}
