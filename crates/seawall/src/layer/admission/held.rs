//! A place, from the moment it is given to the response's last byte.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Frame;
use tokio::time::Sleep;

use super::{Called, length};
use crate::admission::{Permit, StreamPermit, outcome};
use crate::clock::Clock;
use crate::context::Wire;
use crate::{Outcome, Rejection, Tick};

/// A response of unknown length that lasts longer than this is a stream, as in the gateway.
const STREAM_AFTER: Duration = Duration::from_secs(2);

/// The right to be at work, and how it will be accounted for.
#[derive(Debug)]
pub(in crate::layer) struct Held {
    place: Place,
    clock: Clock,
    deadline: Tick,
    grpc: bool,
    /// A stream by its definition.
    streams: bool,
    /// As far as it is known.
    outcome: Outcome,
    /// When the head came of a response that may become a stream.
    head_at: Tick,
    /// Bytes to come; `None` where the response does not say.
    left: Option<u64>,
    /// When the client was last given something, while it has not asked for more.
    handed: Option<Tick>,
    blocked: Duration,
    /// Until the response counts as a stream; made when it falls silent for the first time.
    patience: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Place {
    Held(Permit),
    Stream { _permit: StreamPermit },
    Done,
}

impl Held {
    pub(super) fn new(permit: Permit, called: &Called) -> Self {
        Self {
            place: Place::Held(permit),
            clock: called.admission.clock().clone(),
            deadline: called.deadline,
            grpc: called.wire == Wire::Grpc,
            streams: called.streams,
            outcome: Outcome::Success,
            head_at: Tick::MAX,
            left: None,
            handed: None,
            blocked: Duration::ZERO,
            patience: None,
        }
    }

    /// Takes in the response's head; `length` is what its body says of itself.
    ///
    /// The error: one that is a stream by its very head, and there are too many of them.
    pub(super) fn head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        length_hint: Option<u64>,
    ) -> Result<(), Rejection> {
        self.outcome = outcome::by_status(status);
        if self.grpc
            && let Some(trailers_only) = outcome::by_grpc(headers)
        {
            self.outcome = trailers_only;
        }
        // gRPC announces neither a length nor an event stream.
        self.left = length_hint.or_else(|| (!self.grpc).then(|| length(headers)).flatten());
        if self.left.is_none() {
            self.head_at = self.clock.now();
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.complete();
        } else if self.left.is_none() && (self.streams || !self.grpc && is_event_stream(headers)) {
            return self.become_stream();
        }
        Ok(())
    }

    /// The client asks for more.
    pub(in crate::layer) fn asked(&mut self) {
        if let Some(handed) = self.handed.take() {
            self.blocked += self.clock.now().since(handed);
        }
    }

    /// The response has nothing more to give at present.
    pub(in crate::layer) fn silent(&mut self, cx: &mut Context<'_>) {
        if !self.may_become_stream() {
            return;
        }
        let so_far = self.clock.now().since(self.head_at);
        let patience = self.patience.get_or_insert_with(|| {
            Box::pin(tokio::time::sleep(STREAM_AFTER.saturating_sub(so_far)))
        });
        if patience.as_mut().poll(cx).is_ready() {
            self.become_stream_if_it_can();
        }
    }

    /// A frame came; `last` where the body says that no other follows.
    pub(in crate::layer) fn came(&mut self, frame: &Frame<Bytes>, last: bool) {
        if !matches!(self.place, Place::Held(_)) {
            return;
        }
        if let (true, Some(trailers)) = (self.grpc, frame.trailers_ref()) {
            self.outcome = outcome::by_grpc(trailers).unwrap_or(self.outcome);
        }
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        // Once the announced length has come nobody asks again.
        if last || frame.is_trailers() || self.left == Some(0) {
            self.complete();
            return;
        }
        let now = self.clock.now();
        self.handed = Some(now);
        if self.may_become_stream() && now.since(self.head_at) >= STREAM_AFTER {
            self.become_stream_if_it_can();
        }
    }

    /// The last byte has come.
    pub(in crate::layer) fn complete(&mut self) {
        self.finish(self.outcome);
    }

    /// The handler or its body failed.
    pub(in crate::layer) fn broke(&mut self) {
        self.finish(Outcome::Failure);
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Place::Held(permit) = std::mem::replace(&mut self.place, Place::Done) {
            permit.finish_less(outcome, self.clock.now(), self.blocked);
        }
    }

    fn may_become_stream(&self) -> bool {
        self.left.is_none() && matches!(self.place, Place::Held(_))
    }

    /// Where there are too many streams this one goes on uncounted: cutting it in the middle would
    /// be worse.
    fn become_stream_if_it_can(&mut self) {
        let _ = self.become_stream();
        self.patience = None;
    }

    fn become_stream(&mut self) -> Result<(), Rejection> {
        if let Place::Held(permit) = std::mem::replace(&mut self.place, Place::Done) {
            // Its latency, as far as the limit is concerned, was that of its headers.
            let permit = permit.into_stream(self.head_at)?;
            self.place = Place::Stream { _permit: permit };
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if matches!(self.place, Place::Held(_)) {
            let failed = std::thread::panicking() || self.clock.now() >= self.deadline;
            self.finish(if failed {
                Outcome::Failure
            } else {
                Outcome::Ignored
            });
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
