//! What `examples/echo` answers to `Say`, by tonic and by axum as one has it without Seawall. The
//! server is what tonic's generated code comes to.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::extract::Path;
use echo::v1::{SayReply, SayRequest};
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
                let mut grpc = Grpc::new(ProstCodec::<SayReply, SayRequest>::default());
                Ok(grpc.unary(Say, request).await)
            }),
            _ => Box::pin(ready(Ok(Status::unimplemented("").into_http()))),
        }
    }
}

struct Say;

impl UnaryService<SayRequest> for Say {
    type Response = SayReply;
    type Future = Ready<Result<tonic::Response<SayReply>, Status>>;

    fn call(&mut self, request: tonic::Request<SayRequest>) -> Self::Future {
        let text = request.into_inner().text;
        ready(Ok(tonic::Response::new(SayReply { text })))
    }
}
