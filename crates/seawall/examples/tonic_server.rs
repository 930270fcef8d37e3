//! A protected tonic server. Its service is written by hand, without protobuf, to be short: a
//! message is a text.
//!
//! ```text
//! cargo run -p seawall --example tonic_server
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut};
use http::{Request, Response};
use seawall::admission::{Admission, GateSettings, Lane, LaneSettings};
use seawall::clock::Clock;
use seawall::context::Trust;
use seawall::layer::Protect;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Code, Status};
use tower::{Service, service_fn};

/// Reports are heavy: however many are asked for, greetings go on.
pub(crate) const REPORTS: Lane = Lane(Lane::FIRST_NAMED);

/// The methods' paths.
pub(crate) const GREET: &str = "/demo.Greeter/Greet";
/// The heavy one.
pub(crate) const REPORT: &str = "/demo.Greeter/Report";

type Async<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a call needs done, by its path.
pub(crate) type Work = Arc<dyn Fn(&'static str) -> Async<()> + Send + Sync>;

/// The defaults, and at most a quarter of the places for reports.
pub(crate) fn settings() -> GateSettings {
    let mut settings = GateSettings {
        shards: std::thread::available_parallelism().map_or(1, usize::from),
        ..GateSettings::default()
    };
    settings.lanes[usize::from(REPORTS.0)] = LaneSettings { share: Some(0.25) };
    settings
}

/// Only our own services call here, so their deadlines are believed.
pub(crate) fn protection(admission: Admission) -> Protect {
    Protect::new(admission)
        .trust(Trust::Internal)
        .lane_by(|head| (head.uri.path() == REPORT).then_some(REPORTS))
}

/// Serves until dropped.
pub(crate) async fn serve(
    address: SocketAddr,
    protect: Protect,
    work: Work,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .layer(protect)
        .add_service(Greeter::new(work))
        .serve(address)
        .await
}

/// The service that code generated from a protobuf file would have wrapped.
#[derive(Clone)]
pub(crate) struct Greeter {
    work: Work,
}

impl Greeter {
    /// Answers when `work` is done.
    pub(crate) const fn new(work: Work) -> Self {
        Self { work }
    }
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
            let method = match request.uri().path() {
                GREET => GREET,
                REPORT => REPORT,
                _ => return Ok(Status::new(Code::Unimplemented, "").into_http()),
            };
            let answer = service_fn(move |request: tonic::Request<String>| {
                let working = work(method);
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

/// A database of 20 connections: 20 ms for a greeting, 200 ms for a report, waiting not included.
fn database() -> Work {
    let connections = Arc::new(Semaphore::new(20));
    Arc::new(move |method| {
        let connections = connections.clone();
        Box::pin(async move {
            let _connection = connections.acquire().await;
            let ms = if method == REPORT { 200 } else { 20 };
            tokio::time::sleep(Duration::from_millis(ms)).await;
        })
    })
}

#[allow(clippy::print_stdout, reason = "an example says how to try it")]
#[tokio::main]
async fn main() -> Result<(), tonic::transport::Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 3001));
    println!("Serving gRPC on {address}. A call by hand, its message \"sea\":");
    println!(
        "  printf '\\0\\0\\0\\0\\3sea' | curl -si --http2-prior-knowledge --data-binary @- \\"
    );
    println!("    -H 'content-type: application/grpc' -H 'te: trailers' -o - \\");
    println!("    http://{address}{GREET}");
    let admission = Admission::new(settings(), Clock::system());
    serve(address, protection(admission), database()).await
}
