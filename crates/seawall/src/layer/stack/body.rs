//! The body of an answer, watched to its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

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
            patience: Option<Box<Patience>>,
        },
        Ended,
    }
}

/// Until when a stream goes on: for as long as its caller waits, and for as long as it is not silent.
/// A timer is made when it is silent for the first time.
pub(super) struct Patience {
    silence: Option<Duration>,
    due: Option<Instant>,
    until: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(silence: Option<Duration>, due: Option<Instant>) -> Self {
        Self {
            silence,
            due,
            until: None,
            sleep: None,
        }
    }

    fn heard(&mut self) {
        self.until = None;
    }

    /// Why the stream ends here, if it does.
    fn ends(&mut self, cx: &mut Context<'_>) -> Option<Refusal> {
        if self.until.is_none() {
            let silence = self.silence.map(|silence| Instant::now() + silence);
            self.until = match (silence, self.due) {
                (Some(silence), Some(due)) => Some(silence.min(due)),
                (silence, due) => silence.or(due),
            };
            if let (Some(sleep), Some(until)) = (&mut self.sleep, self.until) {
                sleep.as_mut().reset(until);
            }
        }
        let until = self.until?;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.as_mut().poll(cx).is_pending() {
            return None;
        }
        let late = self.due.is_some_and(|due| due <= until);
        Some(if late {
            Refusal::DEADLINE
        } else {
            Refusal::IDLE
        })
    }
}

/// A stream that was ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Ended(&'static str);

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

    pub(super) fn watched(
        body: Below<B>,
        mut record: Record,
        patience: Option<Box<Patience>>,
    ) -> Self {
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
                patience,
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
        let (mut body, record, left, patience) = match kind.as_mut().project() {
            Projected::Own { text } if text.is_empty() => return Poll::Ready(None),
            Projected::Own { text } => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))));
            }
            Projected::Watched {
                body,
                record,
                left,
                patience,
            } => (body, record, left, patience),
            Projected::Ended => return Poll::Ready(None),
        };
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(patience) = patience {
                    patience.heard();
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
            Poll::Pending => {
                let Some(refusal) = patience.as_mut().and_then(|patience| patience.ends(cx)) else {
                    return Poll::Pending;
                };
                record.refused(refusal);
                record.complete();
                let wire = record.wire();
                // What is below ends now, and gives back what it holds.
                kind.set(Kind::Ended);
                Poll::Ready(Some(match wire {
                    Wire::Grpc => Ok(Frame::trailers(refusal.trailers())),
                    Wire::Http => Err(Ended(refusal.message).into()),
                }))
            }
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
