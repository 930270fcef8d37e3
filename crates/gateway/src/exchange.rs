//! One call at the origin, from its response's headers to its last byte.
//!
//! The place is held until then, and the sample that the limit learns from ends there, less the
//! time in which the client did not take what there was. A response that goes on for long without
//! saying how long it is, moves to the stream lane.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seawall::admission::{Permit, StreamPermit, outcome};
use seawall_policy::{Outcome, Tick};

use crate::attempt::Attempt;
use crate::body::BodyError;
use crate::client::Busy;
use crate::counters::Fault;
use crate::origin::Origin;
use crate::pool::Lease;
use crate::stall::PIECE;
use crate::sweep::Alarm;
use crate::trailers;
use crate::way::Side;

/// The right to be at the origin.
#[derive(Debug)]
pub(crate) enum Place {
    /// A place under the limit.
    Held(Permit),
    /// A long-lived response.
    Stream { _permit: StreamPermit },
    /// Let through in shadow, or ended.
    None,
}

/// What is known of a call when its response's headers have come.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) origin: Arc<Origin>,
    /// At which host; `None` once its end was told.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) side: Side,
    pub(crate) place: Place,
    pub(crate) busy: Busy,
    /// Nobody waits any longer than to here.
    pub(crate) deadline: Tick,
    /// The deadline is a stranger's own, and says nothing of the origin.
    pub(crate) impatient: bool,
    pub(crate) outcome: Outcome,
    pub(crate) grpc: bool,
    /// When the headers came.
    pub(crate) head_at: Tick,
}

/// A response that is being passed on.
#[derive(Debug)]
pub(crate) struct Exchange {
    incoming: Incoming,
    /// Read before the client asked; see [`Exchange::read_ahead`].
    ahead: Option<Result<Frame<Bytes>, hyper::Error>>,
    /// `None` once the response has ended.
    lease: Option<Lease>,
    alarm: Alarm,
    armed: bool,
    flushed: bool,
    /// When the client was last given something, while it has not asked for more.
    handed: Option<Tick>,
    blocked: Duration,
    call: Call,
}

impl Exchange {
    /// `waited` of the call's time went by between attempts, and was not the origin's.
    pub(crate) fn new(
        incoming: Incoming,
        lease: Lease,
        alarm: Alarm,
        waited: Duration,
        call: Call,
    ) -> Self {
        alarm.set(Tick::MAX);
        Self {
            incoming,
            ahead: None,
            lease: Some(lease),
            alarm,
            armed: false,
            flushed: false,
            handed: None,
            blocked: waited,
            call,
        }
    }

    /// Takes the first frame if it has already arrived, as it has for every small response. Head
    /// and body then leave in one write instead of two.
    pub(crate) async fn read_ahead(&mut self) {
        if !self.incoming.is_end_stream() {
            let mut yielded = false;
            self.ahead = std::future::poll_fn(|cx| match self.poll_incoming(cx) {
                Poll::Ready(frame) => Poll::Ready(frame),
                // Asking has woken the connection's task. It runs before we do again, and if the
                // bytes are in its buffer, they are here then.
                Poll::Pending if !yielded => {
                    yielded = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Ready(None),
            })
            .await;
        }
        if self.ahead.is_some()
            && !self.incoming.is_end_stream()
            && self.incoming.size_hint().exact().is_none()
        {
            // The end of a chunked body comes the same way, one turn later.
            next_turn().await;
        }
        if self.incoming.is_end_stream() && !matches!(self.ahead, Some(Err(_))) {
            // No event was waited for since the headers came.
            self.complete(self.call.head_at);
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(lease) = &self.lease else {
            return Pin::new(&mut self.incoming).poll_frame(cx);
        };
        lease.take(|| {
            let polled = Pin::new(&mut self.incoming).poll_frame(cx);
            let ended = matches!(polled, Poll::Ready(Some(Ok(_)))) && self.incoming.is_end_stream();
            (polled, ended)
        })
    }

    /// The origin broke off right after the head. Nothing has been sent yet, so the client can be
    /// told properly.
    pub(crate) fn broke_early(&mut self) -> bool {
        let broke = matches!(self.ahead, Some(Err(_)));
        if broke {
            self.fail(Fault::OriginBroke);
        }
        broke
    }

    /// From here on it is a reply to this request.
    pub(crate) fn adopt(&mut self, busy: Busy) {
        let before = std::mem::replace(&mut self.call.busy, busy);
        if self.lease.is_none() {
            self.call.busy.answered = true;
            self.call.busy.ended = before.ended;
        }
    }

    /// Another reply goes out in its stead.
    pub(crate) fn answer<B: Body>(&mut self, response: &Response<B>) {
        self.call.busy.answer(response, None);
    }

    /// The origin's last byte has come: the connection and the place are free again.
    fn complete(&mut self, now: Tick) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        if let Some(Ok(frame)) = &self.ahead {
            self.call.read_trailers(frame);
        }
        lease.complete(now);
        self.call.busy.answered = true;
        self.call.finish(self.call.outcome, self.blocked, now);
    }

    /// The origin failed in the middle. Its connection goes with the lease.
    fn fail(&mut self, fault: Fault) {
        if self.lease.take().is_some() {
            let core = &self.call.busy.client.core;
            core.counters().fault(fault);
            let now = core.clock.now();
            let host = self.call.attempt.as_ref().map(|attempt| &*attempt.host);
            if fault == Fault::OriginBroke {
                let what = "in the middle of its reply";
                self.call.origin.tell_broke(host, what, now);
            } else if now < self.call.deadline {
                self.call.origin.tell_slow(host, "`body_timeout`", now);
            }
            self.call.busy.answered = true;
            let left = fault == Fault::OriginSlow && now >= self.call.deadline;
            let outcome = if left && self.call.impatient {
                Outcome::Ignored
            } else {
                Outcome::Failure
            };
            if let Some(attempt) = self.call.attempt.take()
                && outcome == Outcome::Failure
            {
                attempt.broke(now);
            }
            self.call.finish(outcome, self.blocked, now);
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(handed) = &self.call.busy.handed {
            handed.asked();
        }
        if let Some(handed) = self.handed.take() {
            let now = self.call.busy.client.core.clock.now();
            self.blocked += now.since(handed);
        }
        let polled = match self.ahead.take() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_incoming(cx),
        };
        match polled {
            Poll::Ready(Some(Err(error))) if !self.flushed => {
                // hyper drops what it has not written when a body fails. One turn lets it write.
                self.flushed = true;
                self.ahead = Some(Err(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(mut frame) => {
                if let (Some(handed), Some(Ok(frame))) = (&self.call.busy.handed, &mut frame) {
                    self.ahead = rest(frame).map(Ok);
                    handed.over(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(self.came(frame))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn came(
        &mut self,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        if self.armed {
            self.alarm.set(Tick::MAX);
            self.armed = false;
        }
        match frame {
            Some(Ok(mut frame)) => {
                self.call.read_trailers(&frame);
                if let Some(trailers) = frame.trailers_mut() {
                    trailers::to_client(trailers);
                }
                if let (Some(record), Some(data)) = (&mut self.call.busy.record, frame.data_ref()) {
                    record.sent += data.len() as u64;
                }
                if self.lease.is_some() {
                    let now = self.call.busy.client.core.clock.now();
                    if frame.is_trailers() || self.incoming.is_end_stream() {
                        self.complete(now);
                    } else {
                        self.handed = Some(now);
                        self.call
                            .stream_if_long(self.incoming.size_hint().exact().is_none(), now);
                    }
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.fail(Fault::OriginBroke);
                Some(Err(error.into()))
            }
            None => {
                if self.lease.is_some() {
                    self.complete(self.call.busy.client.core.clock.now());
                }
                None
            }
        }
    }

    /// Nothing there. Guards the pause, and notices that the response has become a stream.
    fn wait(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let clock = &self.call.busy.client.core.clock;
        if !self.armed {
            let idle = clock.now() + self.call.origin.body_timeout;
            let mut due = idle.min(self.call.deadline);
            if matches!(self.call.place, Place::Held(_))
                && self.incoming.size_hint().exact().is_none()
            {
                due = due.min(self.call.head_at + self.call.origin.stream_after);
            }
            self.alarm.set(due);
            self.armed = true;
        }
        if self.alarm.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let now = clock.now();
        if self
            .call
            .stream_if_long(self.incoming.size_hint().exact().is_none(), now)
            && now < self.call.deadline
        {
            self.armed = false;
            return self.wait(cx);
        }
        self.fail(Fault::OriginSlow);
        Poll::Ready(Some(Err(BodyError::SlowResponse)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        if let Some(data) = self
            .ahead
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            let ahead = data.len() as u64;
            match hint.exact() {
                Some(rest) => hint.set_exact(rest + ahead),
                None => hint.set_lower(hint.lower() + ahead),
            }
        }
        hint
    }
}

/// Leaves one piece of a frame, and returns the rest.
fn rest(frame: &mut Frame<Bytes>) -> Option<Frame<Bytes>> {
    let data = frame.data_mut().filter(|data| data.len() > PIECE)?;
    Some(Frame::data(data.split_off(PIECE)))
}

/// Goes to the end of the core's run queue, once. Unlike tokio's it does not wait for I/O.
async fn next_turn() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Call {
    fn read_trailers(&mut self, frame: &Frame<Bytes>) {
        if self.grpc
            && let Some(outcome) = frame.trailers_ref().and_then(outcome::by_grpc)
        {
            self.outcome = outcome;
        }
    }

    fn finish(&mut self, outcome: Outcome, blocked: Duration, now: Tick) {
        self.busy.client.core.counters().took(self.busy.start, now);
        self.busy.ended = Some(now);
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(outcome, now);
        }
        std::mem::take(&mut self.side).finish(outcome, now);
        if let Place::Held(permit) = std::mem::replace(&mut self.place, Place::None) {
            permit.finish_less(outcome, now, blocked);
        }
    }

    /// Trades the place for a stream's, if it is time. Where there are too many streams, this one
    /// goes on uncounted: cutting it in the middle would be worse. True if it traded.
    fn stream_if_long(&mut self, unknown_length: bool, now: Tick) -> bool {
        if !unknown_length
            || !matches!(self.place, Place::Held(_))
            || now < self.head_at + self.origin.stream_after
        {
            return false;
        }
        if let Place::Held(permit) = std::mem::replace(&mut self.place, Place::None)
            // Its latency, as far as the limit is concerned, was that of its headers.
            && let Ok(permit) = permit.into_stream(self.head_at)
        {
            self.place = Place::Stream { _permit: permit };
        }
        // A host is not busy for as long as somebody listens.
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(self.outcome, now);
        }
        true
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // hyper does not ask again once the announced length has come, nor at all for HEAD.
        if self.lease.is_some()
            && self.incoming.is_end_stream()
            && !matches!(self.ahead, Some(Err(_)))
        {
            let now = self.call.busy.client.core.clock.now();
            self.complete(now);
        }
    }
}
