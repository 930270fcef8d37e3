//! An attempt's end, told once to whoever counts it.
//!
//! A failing head says all there is to say, so it is told at once: who retries drops the rest. Any
//! other answer is told of at its last byte or trailers, less the time that the caller took to ask
//! for more. One that is dropped before that was cancelled, and is nothing; unless its time was up,
//! which is a failure: else the slowest calls would be seen by nobody. What lasts two seconds
//! beyond its head and announces no end is a stream, told of by its head.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::admission::outcome;
use crate::clock::Clock;
use crate::context::Wire;
use crate::{Outcome, Tick};

const STREAM_AFTER: Duration = Duration::from_secs(2);

/// Whoever counts how attempts end.
pub trait Record {
    /// Its head has come.
    fn head(&mut self, headers: &HeaderMap) {
        let _ = headers;
    }

    /// It ended like this at `now`, `latency` after its start.
    fn record(self, outcome: Outcome, latency: Duration, now: Tick);
}

/// An attempt that has not been told of yet.
#[derive(Debug)]
pub(super) struct Sample<R: Record> {
    record: Option<R>,
    clock: Clock,
    started: Tick,
    deadline: Tick,
    wire: Wire,
    /// As far as it is known.
    outcome: Outcome,
    head_at: Tick,
    /// Bytes to come; `None` where the answer does not say.
    left: Option<u64>,
    /// When the caller was last given something, while it has not asked for more.
    handed: Option<Tick>,
    blocked: Duration,
}

impl<R: Record> Sample<R> {
    /// `None` is told nothing.
    pub(super) fn new(
        record: Option<R>,
        clock: &Clock,
        started: Tick,
        deadline: Tick,
        wire: Wire,
    ) -> Self {
        Self {
            record,
            clock: clock.clone(),
            started,
            deadline,
            wire,
            outcome: Outcome::Success,
            head_at: Tick::MAX,
            left: None,
            handed: None,
            blocked: Duration::ZERO,
        }
    }

    /// The answer's head, with the body that is to be watched.
    pub(super) fn head<B: Body>(mut self, reply: Response<B>) -> Response<Recorded<B, R>> {
        if let Some(record) = &mut self.record {
            record.head(reply.headers());
            self.outcome = outcome::of_head(reply.status(), reply.headers(), self.wire);
            self.head_at = self.clock.now();
            self.left = reply.body().size_hint().exact();
            let stream = reply
                .headers()
                .get(header::CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            let ended = reply.body().is_end_stream() || stream;
            if ended || self.outcome != Outcome::Success {
                self.end(self.outcome, self.head_at);
            }
        }
        reply.map(|body| Recorded { body, sample: self })
    }

    /// It ended without an answer.
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.end(outcome, self.clock.now());
    }

    fn asked(&mut self) {
        if let Some(handed) = self.handed.take() {
            self.blocked += self.clock.now().since(handed);
        }
    }

    fn came(&mut self, frame: &Frame<Bytes>, last: bool) {
        if self.record.is_none() {
            return;
        }
        if let (Wire::Grpc, Some(trailers)) = (self.wire, frame.trailers_ref()) {
            self.outcome = outcome::by_grpc(trailers).unwrap_or(self.outcome);
        }
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        let now = self.clock.now();
        if last || frame.is_trailers() || self.left == Some(0) {
            self.end(self.outcome, now);
        } else if self.left.is_none() && now.since(self.head_at) >= STREAM_AFTER {
            self.end(self.outcome, self.head_at);
        } else {
            self.handed = Some(now);
        }
    }

    fn end(&mut self, outcome: Outcome, now: Tick) {
        if let Some(record) = self.record.take() {
            let latency = now.since(self.started).saturating_sub(self.blocked);
            record.record(outcome, latency, now);
        }
    }
}

impl<R: Record> Drop for Sample<R> {
    fn drop(&mut self) {
        if self.record.is_some() {
            let now = self.clock.now();
            let failed = now >= self.deadline || std::thread::panicking();
            let outcome = if failed {
                Outcome::Failure
            } else {
                Outcome::Ignored
            };
            self.end(outcome, now);
        }
    }
}

pin_project! {
    /// The body of an answer whose end is counted.
    #[derive(Debug)]
    pub struct Recorded<B, R: Record> {
        #[pin]
        body: B,
        sample: Sample<R>,
    }
}

impl<B: Body<Data = Bytes>, R: Record> Body for Recorded<B, R> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        this.sample.asked();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => this.sample.came(frame, this.body.is_end_stream()),
            Some(Err(_)) => this.sample.end(Outcome::Failure, this.sample.clock.now()),
            None => this
                .sample
                .end(this.sample.outcome, this.sample.clock.now()),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
