//! The way of one request through the gateway.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::answer;
use crate::body::{BodyError, RequestBody, ResponseBody};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::headers::{self, BadHead};
use crate::origin::{Origin, Protocol};
use crate::pool::{DialError, Lease};
use crate::sweep::Alarm;

/// Why there is no response from the origin.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No connection, and so nothing was sent.
    Dial(DialError),
    /// The connection broke, or the response made no sense.
    Broken(hyper::Error),
    /// No response's headers within the limit.
    Slow,
    /// The client's own body broke or stalled.
    Body(StatusCode),
}

/// Answers one request. The error type is uninhabited: whatever goes wrong has an answer.
pub(crate) async fn serve(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let busy = client.begin();
    Ok(match pass(&client, request, busy).await {
        Ok(response) => response,
        Err(BadHead(status, text)) => answer::plain(status, text),
    })
}

async fn pass(
    client: &Arc<Client>,
    request: Request<Incoming>,
    busy: crate::client::Busy,
) -> Result<Response<ResponseBody>, BadHead> {
    let core = &client.core;
    let (mut parts, incoming) = request.into_parts();
    headers::check(&parts)?;
    let origin = &core.shared.origins[0];
    let grpc = seawall::context::is_grpc(&parts.headers);
    let upgrade = headers::is_upgrade(&parts);
    let http2 = !upgrade
        && match origin.settings.protocol {
            Protocol::Auto => grpc,
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        };
    let head = parts.method == http::Method::HEAD;
    headers::to_origin(&mut parts, client, origin, http2, upgrade)?;
    let body = if incoming.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::stream(incoming, core)
    };
    let request = Request::from_parts(parts, body);

    let alarm = core.sweep.alarm();
    let (response, lease) = match send(client, origin, request, http2, &alarm).await {
        Ok(answered) => answered,
        Err(failed) => return Ok(refuse(&failed)),
    };
    let (mut parts, incoming) = response.into_parts();
    headers::to_client(&mut parts, upgrade);
    let mut exchange = Exchange::new(incoming, lease, alarm, busy);
    if !head {
        exchange.read_ahead().await;
    }
    Ok(Response::from_parts(parts, ResponseBody::Origin(exchange)))
}

/// Sends the request and waits for the response's headers. One more try on a fresh connection, if
/// the pooled one was closed before a byte of the request had been sent on it; otherwise none.
async fn send(
    client: &Client,
    origin: &Origin,
    mut request: Request<RequestBody>,
    http2: bool,
    alarm: &Alarm,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let core = &client.core;
    let mut fresh = false;
    loop {
        let mut lease = origin
            .pool
            .lease(core, http2, fresh)
            .await
            .map_err(Failed::Dial)?;
        alarm.set(core.clock.now() + origin.settings.response_head);
        let answered = match &mut lease {
            Lease::Http1(lease) => timed(lease.send.try_send_request(request), alarm).await,
            Lease::Http2(lease) => timed(lease.send.try_send_request(request), alarm).await,
        };
        match answered {
            None => return Err(Failed::Slow),
            Some(Ok(response)) => return Ok((response, lease)),
            Some(Err(mut error)) => match error.take_message() {
                Some(unsent) if lease.reused() => {
                    request = unsent;
                    fresh = true;
                }
                _ => return Err(why(error)),
            },
        }
    }
}

/// `None` when the alarm rang first.
async fn timed<F: Future>(future: F, alarm: &Alarm) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.poll(cx).map(|()| None),
    })
    .await
}

fn why(error: TrySendError<Request<RequestBody>>) -> Failed {
    let error = error.into_error();
    match error
        .source()
        .and_then(|source| source.downcast_ref::<BodyError>())
    {
        Some(BodyError::SlowRequest) => Failed::Body(StatusCode::REQUEST_TIMEOUT),
        Some(_) => Failed::Body(StatusCode::BAD_REQUEST),
        None => Failed::Broken(error),
    }
}

fn refuse(failed: &Failed) -> Response<ResponseBody> {
    match failed {
        Failed::Dial(DialError::Slow) => answer::plain(
            StatusCode::GATEWAY_TIMEOUT,
            "the origin does not accept connections",
        ),
        Failed::Dial(DialError::Exhausted) => answer::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "no connection to the origin is free",
        ),
        Failed::Dial(_) => answer::plain(StatusCode::BAD_GATEWAY, "the origin cannot be reached"),
        Failed::Broken(_) => answer::plain(StatusCode::BAD_GATEWAY, "the origin broke off"),
        Failed::Slow => answer::plain(
            StatusCode::GATEWAY_TIMEOUT,
            "the origin did not answer in time",
        ),
        Failed::Body(status) => answer::plain(*status, "the request body stalled or broke off"),
    }
}
