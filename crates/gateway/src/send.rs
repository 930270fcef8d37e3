//! Sending a request to the origin and waiting for its response's headers.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use seawall_policy::{Outcome, Tick};

use crate::answer::{self, Own};
use crate::body::{BodyError, RequestBody};
use crate::core::Core;
use crate::counters::Fault;
use crate::fleet::{Endpoint, Fleet};
use crate::origin::Origin;
use crate::pool::{DialError, Lease, Pool};
use crate::sweep::Alarm;
use crate::tls::TlsFailure;

/// Why there is no response from the origin.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The upstream has no host: none was found yet.
    NoHost,
    /// No connection, and so nothing was sent.
    Dial(DialError),
    /// The connection broke, or the response made no sense.
    Broke,
    /// The origin switched protocols and nobody had asked.
    Unasked,
    /// No response's headers within the origin's limit.
    Slow,
    /// The caller's time is up.
    Deadline,
    /// The client's own body stalled.
    BodySlow,
    /// The client's own body broke off or is malformed.
    BodyBad,
}

impl Failed {
    /// The answer; `None` for a rejection as unreachable.
    pub(crate) fn own(&self) -> Option<Own> {
        Some(match self {
            Self::Dial(DialError::Slow) => answer::CONNECT_SLOW,
            Self::NoHost | Self::Dial(_) => return None,
            Self::Broke | Self::Unasked => answer::BROKE,
            Self::Slow => answer::SLOW,
            Self::Deadline => answer::DEADLINE,
            Self::BodySlow => answer::BODY_SLOW,
            Self::BodyBad => answer::BODY_BAD,
        })
    }

    /// Whether it is the upstream's failure, for which something may stand in.
    pub(crate) fn is_origins(&self) -> bool {
        !matches!(self, Self::Deadline | Self::BodySlow | Self::BodyBad)
    }

    /// What the limit learns of it; `None` where the origin is not to blame.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::NoHost | Self::BodySlow | Self::BodyBad | Self::Dial(DialError::Exhausted) => {
                None
            }
            _ => Some(Outcome::Failure),
        }
    }

    /// For whoever keeps the gateway: what the origin did wrong.
    pub(crate) fn tell(&self, origin: &Origin, host: Option<&Endpoint>, now: Tick) {
        match self {
            Self::Dial(error) => origin.tell_unreachable(host, error, now),
            Self::Broke => {
                let what = "before its reply, or what it said made no sense";
                origin.tell_broke(host, what, now);
            }
            Self::Unasked => {
                origin.tell_broke(host, "by switching to a protocol nobody asked for", now);
            }
            Self::Slow => origin.tell_slow(host, "`response_timeout`", now),
            Self::NoHost => origin.tell_no_host(now),
            Self::Deadline | Self::BodySlow | Self::BodyBad => {}
        }
    }

    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::NoHost | Self::Dial(_) => Fault::Unreachable,
            Self::Broke | Self::Unasked => Fault::OriginBroke,
            Self::Slow | Self::Deadline => Fault::OriginSlow,
            Self::BodySlow | Self::BodyBad => Fault::ClientBody,
        }
    }
}

/// What one sending may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) now: Tick,
    /// From the request to the response's headers.
    pub(crate) limit: Duration,
    /// Nobody waits any longer than to here.
    pub(crate) deadline: Tick,
}

/// Sends the request and waits for the response's headers. One more try on a fresh connection, if
/// the pooled one was closed before a byte of the request had been sent on it; otherwise none.
///
/// Dropping it cancels the origin's work: see [`Lease`].
pub(crate) async fn send(
    core: &Core,
    pool: &Arc<Pool>,
    request: &mut Option<Request<RequestBody>>,
    http2: bool,
    times: Times,
    alarm: &Alarm,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let mut fresh = false;
    let (mut now, deadline) = (times.now, times.deadline);
    loop {
        let mut lease = match pool.lease_now(core, http2, fresh) {
            Some(lease) => lease,
            None => {
                alarm.set(deadline);
                let lease = timed(pin!(pool.lease(core, http2, fresh)), alarm).await;
                now = core.clock.now();
                lease
                    .ok_or(Failed::Deadline)?
                    .map_err(|error| Failed::Dial(*error))?
            }
        };
        let limit = now + times.limit;
        alarm.set(limit.min(deadline));
        let request_now = request.take().ok_or(Failed::Broke)?;
        let answered = match &mut lease {
            Lease::Http1(lease) => {
                timed(pin!(lease.send.send.try_send_request(request_now)), alarm).await
            }
            Lease::Http2(lease) => {
                timed(pin!(lease.send.try_send_request(request_now)), alarm).await
            }
        };
        match answered {
            None => {
                return Err(if deadline < limit {
                    Failed::Deadline
                } else {
                    Failed::Slow
                });
            }
            Some(Ok(response)) => return Ok((response, lease)),
            Some(Err(mut error)) => match error.take_message() {
                Some(unsent) if lease.reused() => {
                    core.counters().fault(Fault::Redialled);
                    *request = Some(unsent);
                    fresh = true;
                    now = core.clock.now();
                }
                // Not a byte of it was sent.
                Some(unsent) => {
                    *request = Some(unsent);
                    return Err(why(*error, lease.reused()));
                }
                None => return Err(why(*error, lease.reused())),
            },
        }
    }
}

/// How many hosts are asked what they offer.
const ASKED: usize = 3;

/// Finds out whether an upstream offers HTTP/2, for who comes before that is known. Where no host
/// can be asked, HTTP/1.1 is tried: what is wrong with them shows then.
pub(crate) async fn learn(core: &Core, fleet: &Fleet, deadline: Tick) -> bool {
    let alarm = core.sweep.alarm();
    alarm.set(deadline);
    let mut endpoints = fleet.endpoints();
    // Not all cores ask the same one.
    let first = core.index % endpoints.len().max(1);
    endpoints.rotate_left(first);
    for endpoint in endpoints.iter().take(ASKED) {
        match timed(pin!(endpoint.pool.learn(core)), &alarm).await {
            Some(Ok(http2)) => return http2,
            Some(Err(_)) => {}
            None => break,
        }
    }
    false
}

/// `None` when the alarm rang first.
/// An error comes in a box: it may hold the whole request.
async fn timed<T, E>(
    mut future: Pin<&mut impl Future<Output = Result<T, E>>>,
    alarm: &Alarm,
) -> Option<Result<T, Box<E>>> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output.map_err(Box::new))),
        Poll::Pending => alarm.poll(cx).map(|()| None),
    })
    .await
}

fn why(error: TrySendError<Request<RequestBody>>, reused: bool) -> Failed {
    let error = error.into_error();
    let mut source = error.source();
    while let Some(cause) = source {
        match cause.downcast_ref::<BodyError>() {
            Some(BodyError::SlowRequest) => return Failed::BodySlow,
            Some(_) => return Failed::BodyBad,
            None => source = cause.source(),
        }
    }
    match TlsFailure::behind(&error) {
        // Who does not take our certificate has not looked at the request.
        Some(failure) if !reused => Failed::Dial(failure.into()),
        _ => Failed::Broke,
    }
}
