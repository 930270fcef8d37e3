//! What generated code calls for gRPC.
//!
//! One boxed future a call, made by the generated service. tonic's own generated server boxes
//! three times (the call, its service, the trait's method); it is used for clients alone.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic_prost::ProstCodec;
use tower::{ServiceExt, service_fn};

use super::request::MaxBody;
use super::{Code, Error, Messages, Method, Replies, Request, Validate};

/// A call's answer, whatever method it is of.
pub type Answer = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

/// A service: finds the method of a call by its path and calls it.
pub struct Server<T> {
    implementation: Arc<T>,
    call: fn(&Arc<T>, http::Request<Body>) -> Answer,
}

impl<T> Server<T> {
    /// For generated code.
    pub fn new(implementation: Arc<T>, call: fn(&Arc<T>, http::Request<Body>) -> Answer) -> Self {
        Self {
            implementation,
            call,
        }
    }
}

impl<T> Clone for Server<T> {
    fn clone(&self) -> Self {
        Self {
            implementation: Arc::clone(&self.implementation),
            call: self.call,
        }
    }
}

impl<T> fmt::Debug for Server<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl<T: Send + Sync + 'static> tower::Service<http::Request<Body>> for Server<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Served {
        Served((self.call)(&self.implementation, request))
    }
}

/// A service under its full name, for tonic's own server.
pub fn routes<T: Send + Sync + 'static>(
    name: &'static str,
    server: Server<T>,
) -> tonic::service::Routes {
    let service = server.map_request(|r: http::Request<axum::body::Body>| r.map(Body::new));
    let mut routes = tonic::service::Routes::default();
    let router = std::mem::take(routes.axum_router_mut());
    *routes.axum_router_mut() = router.route_service(&format!("/{name}/{{*rest}}"), service);
    routes
}

/// A call under way.
pub struct Served(Answer);

impl Future for Served {
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map(Ok)
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served")
    }
}

/// A request as tonic hands it over.
type Sent<A> = tonic::Request<tonic::Streaming<A>>;

type Grpc<A, B> = tonic::server::Grpc<ProstCodec<B, A>>;

fn server<A, B>(request: &http::Request<Body>) -> Grpc<A, B>
where
    A: Message + Default + 'static,
    B: Message + 'static,
{
    let max = MaxBody::of(request.extensions());
    Grpc::new(ProstCodec::default()).max_decoding_message_size(max)
}

/// One message there, one back.
pub async fn unary<A, B, F, R>(
    method: &'static Method,
    request: http::Request<Body>,
    handler: F,
) -> http::Response<Body>
where
    A: Message + Default + Validate + 'static,
    B: Message + 'static,
    F: FnOnce(Request<A>) -> R + Send,
    R: Future<Output = Result<B, Error>> + Send,
{
    let mut server = server::<A, B>(&request);
    let mut handler = Some(handler);
    let service = service_fn(move |request: Sent<A>| {
        let handler = handler.take();
        async move {
            let handler = handler.ok_or_else(called_twice)?;
            let reply = answer(method, request, handler).await;
            reply
                .map(tonic::Response::new)
                .map_err(|e| status(method, e))
        }
    });
    server.client_streaming(service, request).await
}

/// One message there, many back.
pub async fn server_streaming<A, B, F, R>(
    method: &'static Method,
    request: http::Request<Body>,
    handler: F,
) -> http::Response<Body>
where
    A: Message + Default + Validate + 'static,
    B: Message + Send + 'static,
    F: FnOnce(Request<A>) -> R + Send,
    R: Future<Output = Result<Replies<B>, Error>> + Send,
{
    let mut server = server::<A, B>(&request);
    let mut handler = Some(handler);
    let service = service_fn(move |request: Sent<A>| {
        let handler = handler.take();
        async move {
            let handler = handler.ok_or_else(called_twice)?;
            let replies = answer(method, request, handler).await;
            streamed(method, replies)
        }
    });
    server.streaming(service, request).await
}

/// Many messages there, one back.
pub async fn client_streaming<A, B, F, R>(
    method: &'static Method,
    request: http::Request<Body>,
    handler: F,
) -> http::Response<Body>
where
    A: Message + Default + Validate + 'static,
    B: Message + 'static,
    F: FnOnce(Request<Messages<A>>) -> R + Send,
    R: Future<Output = Result<B, Error>> + Send,
{
    let mut server = server::<A, B>(&request);
    let mut handler = Some(handler);
    let service = service_fn(move |request: Sent<A>| {
        let handler = handler.take();
        async move {
            let handler = handler.ok_or_else(called_twice)?;
            let reply = handler(messages(method, request)).await;
            reply
                .map(tonic::Response::new)
                .map_err(|e| status(method, e))
        }
    });
    server.client_streaming(service, request).await
}

/// Many messages there, many back.
pub async fn streaming<A, B, F, R>(
    method: &'static Method,
    request: http::Request<Body>,
    handler: F,
) -> http::Response<Body>
where
    A: Message + Default + Validate + 'static,
    B: Message + Send + 'static,
    F: FnOnce(Request<Messages<A>>) -> R + Send,
    R: Future<Output = Result<Replies<B>, Error>> + Send,
{
    let mut server = server::<A, B>(&request);
    let mut handler = Some(handler);
    let service = service_fn(move |request: Sent<A>| {
        let handler = handler.take();
        async move {
            let handler = handler.ok_or_else(called_twice)?;
            streamed(method, handler(messages(method, request)).await)
        }
    });
    server.streaming(service, request).await
}

/// A path that is no method of the service.
#[must_use]
pub fn unimplemented(request: &http::Request<Body>) -> Answer {
    let path = request.uri().path();
    let status = Status::unimplemented(format!("there is no method {path}"));
    Box::pin(std::future::ready(status.into_http()))
}

/// The one message of a call that has one. tonic would put the request's trailers among its headers,
/// where a layer above has looked already and would let nobody write.
async fn one<A>(mut stream: tonic::Streaming<A>) -> Result<A, Error> {
    let message = stream.message().await.map_err(unreadable)?;
    let message = message.ok_or_else(|| malformed("there is no message"))?;
    match stream.message().await.map_err(unreadable)? {
        None => Ok(message),
        Some(_) => Err(malformed("there is more than one message")),
    }
}

fn malformed(text: impl Into<Cow<'static, str>>) -> Error {
    Error::ours(Code::InvalidArgument, "BODY_MALFORMED", text)
}

/// What is wrong with a body is its sender's fault. tonic has gRPC's `INTERNAL` for it, which would
/// count as a failure of the service wherever those are counted.
pub(super) fn unreadable(status: Status) -> Error {
    let text = status.message().to_owned();
    match status.code() {
        Code::Internal => malformed(text),
        Code::OutOfRange | Code::ResourceExhausted => {
            Error::ours(Code::OutOfRange, "BODY_TOO_LARGE", text)
                .http_status(http::StatusCode::PAYLOAD_TOO_LARGE)
        }
        _ => {
            let text = "the body broke off";
            Error::ours(Code::Cancelled, "BODY_BROKEN", text).because(status)
        }
    }
}

async fn answer<A, B, F, R>(
    method: &'static Method,
    request: Sent<A>,
    handler: F,
) -> Result<B, Error>
where
    A: Validate + 'static,
    F: FnOnce(Request<A>) -> R,
    R: Future<Output = Result<B, Error>>,
{
    let (metadata, extensions, stream) = request.into_parts();
    let message = one(stream).await?;
    message.check()?;
    let headers = metadata.into_headers();
    handler(Request::new(method, message, headers, extensions)).await
}

fn messages<A: Validate>(method: &'static Method, request: Sent<A>) -> Request<Messages<A>> {
    let (metadata, extensions, stream) = request.into_parts();
    let headers = metadata.into_headers();
    Request::new(method, Messages::grpc(stream), headers, extensions)
}

fn streamed<B: Send + 'static>(
    method: &'static Method,
    replies: Result<Replies<B>, Error>,
) -> Result<tonic::Response<impl Stream<Item = Result<B, Status>> + Send>, Status> {
    let replies = replies.map_err(|e| status(method, e))?;
    let replies = replies.map(move |reply| reply.map_err(|e| status(method, e)));
    Ok(tonic::Response::new(replies))
}

fn status(method: &'static Method, error: Error) -> Status {
    error.log(method.name);
    error.into()
}

fn called_twice() -> Status {
    Status::internal("the handler of one call was asked for two")
}
