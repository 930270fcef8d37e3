//! Collecting small request bodies before a place is taken, so that a slow client holds none, and
//! so that head and body reach the origin in one write.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use seawall_policy::Tick;

use crate::answer::{BODY_BAD, BODY_SLOW, DEADLINE, Own};
use crate::body::RequestBody;
use crate::client::Client;
use crate::headers::Names;

/// Bodies up to this length are collected.
const SMALL: u64 = 64 * 1024;

/// Bodies from this length on go to the bulk lane.
pub(crate) const BULK: u64 = 1024 * 1024;

/// The body for the origin: collected if it is small, to be streamed otherwise.
pub(crate) async fn body(
    client: &Arc<Client>,
    names: Names,
    grpc: bool,
    mut incoming: Incoming,
    deadline: Tick,
) -> Result<RequestBody, Own> {
    if incoming.is_end_stream() {
        return Ok(RequestBody::Empty);
    }
    let length = incoming.size_hint().exact();
    // Who expects `100 Continue` wants to know first whether it is let in.
    if length.is_none_or(|length| length > SMALL) || names.has(Names::EXPECT) {
        return Ok(RequestBody::stream(incoming, client, grpc));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut alarm = None;
    let mut due = Tick::MAX;
    while !incoming.is_end_stream() {
        let frame = poll_fn(|cx| match Pin::new(&mut incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => {
                let alarm = alarm.get_or_insert_with(|| {
                    // One limit for the whole of it: it is small.
                    due = (client.core.clock.now() + client.site.body_timeout).min(deadline);
                    let alarm = client.core.sweep.alarm();
                    alarm.set(due);
                    alarm
                });
                alarm
                    .poll(cx)
                    .map(|()| Err(if due == deadline { DEADLINE } else { BODY_SLOW }))
            }
        });
        match frame.await? {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if first.is_empty() {
                    first = data;
                } else {
                    if rest.is_empty() {
                        rest.reserve(length.unwrap_or(SMALL) as usize);
                        rest.extend_from_slice(&first);
                    }
                    rest.extend_from_slice(&data);
                }
            }
            Some(Err(_)) => return Err(BODY_BAD),
            None => break,
        }
    }
    Ok(RequestBody::Full(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    }))
}

/// Whether a body is for the bulk lane: large, or nobody knows how large. gRPC never says.
pub(crate) fn is_bulk(body: &RequestBody, grpc: bool) -> bool {
    matches!(body, RequestBody::Stream(_))
        && body
            .size_hint()
            .exact()
            .map_or(!grpc, |length| length >= BULK)
}
