//! Spans that reach a real collector: those of sampled calls, and what `tracing` saw in them.
#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use seawall::api::{Method, Streaming};
use seawall::context::Trust;
use seawall::layer::{Methods, Stack};
use seawall::telemetry::{Otlp, SpanLayer};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::{Status, transport::Server};
use tower::{Layer, ServiceExt, service_fn};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

const SAY: Method = Method::new(
    "echo.v1.Echo/Say",
    &[("GET", "/say")],
    Streaming::NONE,
    true,
);

struct Collector(UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn listener() -> TcpListener {
    loop {
        let port = seawall_testkit::free_port().unwrap();
        // Another test may have been faster.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            break listener;
        }
    }
}

/// A collector, and what it is sent.
async fn collector() -> (SocketAddr, UnboundedReceiver<ExportTraceServiceRequest>) {
    let (sender, received) = unbounded_channel();
    let listener = listener().await;
    let address: SocketAddr = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let collector = TraceServiceServer::new(Collector(sender));
    tokio::spawn(
        Server::builder()
            .add_service(collector)
            .serve_with_incoming(incoming),
    );
    (address, received)
}

#[tokio::test]
async fn a_sampled_call_and_the_spans_in_it_reach_the_collector() {
    let (address, mut received) = collector().await;
    let otlp = Arc::new(Otlp::start(&format!("http://{address}"), "echo", "1.2.3").unwrap());
    let stack = Stack::builder(Methods::new(&[SAY]).unwrap())
        .trust(Trust::Internal)
        .spans(otlp.clone())
        .build()
        .unwrap();
    let service = stack.layer(service_fn(async |_: Request<()>| {
        let outer = tracing::info_span!("load", id = 7);
        async {
            tracing::info_span!("parse").in_scope(|| tracing::error!("it broke"));
        }
        .instrument(outer)
        .await;
        Ok::<_, Infallible>(Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
    }));
    let subscriber = tracing_subscriber::registry().with(SpanLayer::new(otlp.clone()));
    let _here = tracing::subscriber::set_default(subscriber);
    for sampled in ["00", "01"] {
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{sampled}");
        let request = Request::get("/say").header("traceparent", parent);
        let request = request.body(()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    otlp.shutdown().await;

    let batch = received.recv().await.unwrap();
    let resource = &batch.resource_spans[0];
    let told = format!("{:?}", resource.resource);
    assert!(told.contains("echo") && told.contains("1.2.3"), "{told}");
    let spans = &resource.scope_spans[0].spans;
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(
        names,
        ["parse", "load", SAY.name],
        "of the sampled call alone"
    );
    let [parse, load, call] = &spans[..] else {
        unreachable!()
    };
    assert_eq!(call.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(load.parent_span_id, call.span_id);
    assert_eq!(parse.parent_span_id, load.span_id);
    assert_eq!(parse.trace_id, call.trace_id);
    assert_eq!(parse.status.as_ref().unwrap().code, 2, "an error within it");
}

/// Nothing but a setting, and the last spans are sent at the end.
#[cfg(feature = "app")]
#[tokio::test]
async fn a_program_sends_spans_where_its_configuration_says() {
    use seawall::app::App;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (address, mut received) = collector().await;
    let endpoint = format!("trace.endpoint=http://{address}");
    let settings = [
        "http.address=127.0.0.1:0",
        "admin.address=127.0.0.1:0",
        "trace.sample=1.0",
        &endpoint,
    ];
    let arguments = settings.iter().flat_map(|setting| ["--set", setting]);
    let app = App::<()>::new("echo").version("1.2.3").environment([]);
    let running = app.arguments(arguments).launch(async |app| {
        let say = axum::routing::get(async || "hello");
        app.http(axum::Router::new().route("/say", say));
        Ok(())
    });
    let running = running.await.unwrap();
    let http = running.addresses().http().unwrap();
    let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
    let request = b"GET /say HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.ends_with("hello"), "{reply}");
    assert_eq!(running.stop().await, 0);

    let batch = received.try_recv().unwrap();
    let resource = &batch.resource_spans[0];
    let told = format!("{:?}", resource.resource);
    assert!(told.contains("echo") && told.contains("1.2.3"), "{told}");
    assert_eq!(resource.scope_spans[0].spans[0].name, "other");
}
