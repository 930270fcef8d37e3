//! One request at the origin, from its response's headers to its last byte.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seawall_policy::Tick;

use crate::body::BodyError;
use crate::client::Busy;
use crate::pool::Lease;
use crate::sweep::Alarm;

/// A response that is being passed on.
#[derive(Debug)]
pub(crate) struct Exchange {
    incoming: Incoming,
    /// Read ahead of the client's asking; see [`Exchange::read_ahead`].
    ahead: Option<Result<Frame<Bytes>, hyper::Error>>,
    /// `None` once the response has ended.
    lease: Option<Lease>,
    alarm: Alarm,
    armed: bool,
    busy: Busy,
}

impl Exchange {
    pub(crate) fn new(incoming: Incoming, lease: Lease, alarm: Alarm, busy: Busy) -> Self {
        alarm.set(Tick::MAX);
        Self {
            incoming,
            ahead: None,
            lease: Some(lease),
            alarm,
            armed: false,
            busy,
        }
    }

    /// Takes the first frame if it has already arrived, as it has for every small response. Head
    /// and body then leave in one write instead of two.
    pub(crate) async fn read_ahead(&mut self) {
        if self.incoming.is_end_stream() {
            self.complete();
            return;
        }
        let mut yielded = false;
        std::future::poll_fn(|cx| match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.ahead = frame;
                Poll::Ready(())
            }
            // Asking has woken the connection's task. It runs before we do again, and if the bytes
            // are in its buffer, they are here then.
            Poll::Pending if !yielded => {
                yielded = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(()),
        })
        .await;
        if self.incoming.is_end_stream() {
            self.complete();
        }
    }

    /// The origin's last byte has come.
    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.complete(self.busy.0.core.clock.now());
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match self.ahead.take() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(frame) => {
                if self.armed {
                    self.alarm.set(Tick::MAX);
                    self.armed = false;
                }
                match frame {
                    Some(Ok(frame)) => {
                        if frame.is_trailers() || self.incoming.is_end_stream() {
                            self.complete();
                        }
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Some(Err(error)) => {
                        self.lease = None;
                        Poll::Ready(Some(Err(error.into())))
                    }
                    None => {
                        self.complete();
                        Poll::Ready(None)
                    }
                }
            }
            Poll::Pending => {
                if !self.armed {
                    let core = &self.busy.0.core;
                    self.alarm
                        .set(core.clock.now() + std::time::Duration::from_secs(60));
                    self.armed = true;
                }
                if self.alarm.poll(cx).is_ready() {
                    self.lease = None;
                    return Poll::Ready(Some(Err(BodyError::SlowResponse)));
                }
                Poll::Pending
            }
        }
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

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.complete();
        }
    }
}
