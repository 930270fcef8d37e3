//! The service: what it is sent comes back. Made by hand as generated code would be.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::extract::Path;
use http::{Request, Response};
use serde::Serialize;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

/// `{ "text": "hello" }`
#[derive(Serialize)]
pub(crate) struct Said {
    text: String,
}

pub(crate) async fn say(Path(text): Path<String>) -> Json<Said> {
    Json(Said { text })
}

/// `message Text { string text = 1; }`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// The service by gRPC.
#[derive(Clone, Debug)]
pub(crate) struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "echo.v1.Echo";
}

impl tower::Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request.uri().path() {
            "/echo.v1.Echo/Say" => Box::pin(async move {
                let mut grpc = Grpc::new(ProstCodec::<Text, Text>::default());
                Ok(grpc.unary(Say, request).await)
            }),
            _ => Box::pin(ready(Ok(Status::unimplemented("").into_http()))),
        }
    }
}

struct Say;

impl UnaryService<Text> for Say {
    type Response = Text;
    type Future = Ready<Result<tonic::Response<Text>, Status>>;

    fn call(&mut self, request: tonic::Request<Text>) -> Self::Future {
        ready(Ok(tonic::Response::new(request.into_inner())))
    }
}
