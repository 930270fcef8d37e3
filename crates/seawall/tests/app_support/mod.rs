//! A service written by hand as generated code has it, and what tests of programs share.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bytes::{Buf, BufMut};
use http::{Request, Response};
use seawall::api::{Method, Routes, Service as ApiService, Streaming};
use seawall::app::Setup;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService};
use tonic::{Code, Status};
use tower::{Service, service_fn};

type Async<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the handler does before it greets.
pub(crate) type Work = Arc<dyn Fn() -> Async<()> + Send + Sync>;

static METHODS: &[Method] = &[Method::new(
    "demo.Greeter/Greet",
    &[("GET", "/v1/greet/{name}")],
    Streaming::NONE,
    true,
)];

/// Serves `demo.Greeter`, by both transports.
pub(crate) fn greeter(app: &Setup<()>, work: Work) {
    let by_http = work.clone();
    let greet = async move |Path(name): Path<String>| {
        by_http().await;
        format!("hello, {name}")
    };
    app.http(Router::new().route("/v1/greet/{name}", get(greet)));
    app.service(ApiService {
        name: "demo.Greeter",
        methods: METHODS,
        grpc: tonic::service::Routes::new(Greeter { work }),
        http: Routes::new(),
        descriptors: &[],
        openapi: r#"{"paths": {"/v1/greet/{name}": {"get": {"operationId": "Greet", "parameters": [{"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}]}}}}"#,
    });
}

/// Greets at once.
pub(crate) fn at_once() -> Work {
    Arc::new(|| Box::pin(std::future::ready(())))
}

#[derive(Clone)]
struct Greeter {
    work: Work,
}

impl NamedService for Greeter {
    const NAME: &'static str = "demo.Greeter";
}

impl Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Async<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let work = self.work.clone();
        Box::pin(async move {
            if request.uri().path() != "/demo.Greeter/Greet" {
                return Ok(Status::new(Code::Unimplemented, "").into_http());
            }
            let answer = service_fn(move |request: tonic::Request<String>| {
                let working = work();
                async move {
                    working.await;
                    let name = request.into_inner();
                    Ok::<_, Status>(tonic::Response::new(format!("hello, {name}")))
                }
            });
            Ok(Grpc::new(Text).unary(answer, request).await)
        })
    }
}

/// Messages that are texts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.into())
            .map(Some)
            .map_err(|_| Status::new(Code::InvalidArgument, "not UTF-8"))
    }
}

/// Greets by gRPC.
pub(crate) async fn greet(address: SocketAddr, name: &str) -> Result<String, Status> {
    let channel = channel(address).await;
    let mut client = tonic::client::Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/demo.Greeter/Greet");
    let request = tonic::Request::new(name.to_owned());
    let reply = client.unary(request, path, Text).await?;
    Ok(reply.into_inner())
}

/// A connection to a gRPC server.
pub(crate) async fn channel(address: SocketAddr) -> tonic::transport::Channel {
    let endpoint = tonic::transport::Endpoint::try_from(format!("http://{address}")).unwrap();
    endpoint.connect_lazy()
}

/// The arguments of a program whose servers listen on free ports.
pub(crate) const ANYWHERE: [&str; 6] = [
    "--set",
    "http.address=127.0.0.1:0",
    "--set",
    "grpc.address=127.0.0.1:0",
    "--set",
    "admin.address=127.0.0.1:0",
];

/// Asks by HTTP/1.1 on a connection of its own: status and body.
pub(crate) async fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let status = reply
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

/// As [`ask`], for GET.
pub(crate) async fn see(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path}"), "").await
}
