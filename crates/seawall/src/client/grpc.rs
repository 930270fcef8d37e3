//! A client as tonic's generated code wants it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;
use tower::Service;

use super::kit::ClientFuture;
use super::{Body, Client, Error};
use crate::context::{Wire, names};

/// A [`Client`] for gRPC: what has no answer comes as a gRPC status, UNAVAILABLE or
/// DEADLINE_EXCEEDED, and so does a body that breaks off. Made by [`Client::grpc`].
///
/// It stands where tonic's `Channel` does. Not above one: a `Channel` that balances has its own
/// hosts, connections and queue, and none of what is here would know of them.
#[derive(Clone, Debug)]
pub struct Grpc {
    client: Client,
    #[cfg(feature = "api")]
    methods: &'static [crate::api::Method],
}

impl Grpc {
    pub(super) const fn new(client: Client) -> Self {
        Self {
            client,
            #[cfg(feature = "api")]
            methods: &[],
        }
    }

    /// Calls of those that are idempotent may run twice, as if each were marked
    /// [`Repeatable`](super::Repeatable). Generated code does it: `orders::client(&client)`.
    #[cfg(feature = "api")]
    #[must_use]
    pub fn methods(mut self, methods: &'static [crate::api::Method]) -> Self {
        self.methods = methods;
        self
    }

    #[cfg(feature = "api")]
    fn mark<B>(&self, request: &mut Request<B>) {
        let name = request.uri().path().trim_start_matches('/');
        let method = self.methods.iter().find(|method| method.name == name);
        if method.is_some_and(|method| method.idempotent) {
            request.extensions_mut().insert(super::Repeatable);
        }
    }
}

impl<B> Service<Request<B>> for Grpc
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = GrpcFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(
        &mut self,
        #[cfg_attr(not(feature = "api"), expect(unused_mut))] mut request: Request<B>,
    ) -> GrpcFuture {
        #[cfg(feature = "api")]
        self.mark(&mut request);
        GrpcFuture {
            future: self.client.call(request),
        }
    }
}

pin_project! {
    /// The future of a [`Grpc`].
    pub struct GrpcFuture {
        #[pin]
        future: ClientFuture,
    }
}

impl Future for GrpcFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match ready!(self.project().future.poll(cx)) {
            Ok(reply) => reply.map(|body| Body::new(Ended { body, over: false })),
            Err(error) => said(&error).map(Body::from),
        }))
    }
}

fn said(error: &Error) -> Response<Bytes> {
    let mut reply = error.reply(Wire::Grpc);
    if let Ok(message) = error.to_string().replace('%', "%25").try_into() {
        reply.headers_mut().insert(names::GRPC_MESSAGE, message);
    }
    reply
}

/// A body whose error is its trailers.
struct Ended {
    body: Body,
    over: bool,
}

impl HttpBody for Ended {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Err(error)) => {
                self.over = true;
                let (parts, _) = said(&error).into_parts();
                Some(Ok(Frame::trailers(parts.headers)))
            }
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }
}
