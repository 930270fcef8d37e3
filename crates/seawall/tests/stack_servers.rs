//! One stack in front of a real tonic server and a real axum server.
#![cfg(feature = "jwt")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/tonic_server.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::routing::get;
use example::{GREET, Greeter, REPORT, Text};
use http::uri::PathAndQuery;
use seawall::api::{Method, Streaming};
use seawall::layer::settings::{AuthKey, AuthMode, AuthSettings, MethodSettings, Settings};
use seawall::layer::{Methods, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const METHODS: [Method; 2] = [
    Method::new(
        "demo.Greeter/Greet",
        &[("GET", "/greet/{name}")],
        Streaming::NONE,
        true,
    ),
    Method::new(
        "demo.Greeter/Report",
        &[("GET", "/report")],
        Streaming::NONE,
        true,
    ),
];

/// Reports panic; greetings need a token.
struct Servers {
    stack: Stack,
    grpc: Grpc<Channel>,
    http: SocketAddr,
    begun: Arc<AtomicUsize>,
}

fn settings() -> Settings {
    let mut settings = Settings {
        auth: Some(AuthSettings {
            audience: vec!["demo".to_owned()],
            keys: vec![AuthKey {
                algorithm: Some("HS256".to_owned()),
                value: Some("a secret of thirty-two bytes or more".to_owned()),
                ..AuthKey::default()
            }],
            ..AuthSettings::default()
        }),
        ..Settings::default()
    };
    let open = MethodSettings {
        auth: Some(AuthMode::None),
        ..MethodSettings::default()
    };
    settings
        .methods
        .insert("demo.Greeter/Report".to_owned(), open);
    settings
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

impl Servers {
    async fn start() -> Self {
        let methods = Methods::new(&METHODS).unwrap();
        let stack = Stack::builder(methods)
            .settings(settings())
            .build()
            .unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let count = begun.clone();
        let work: example::Work = Arc::new(move |path| {
            count.fetch_add(1, SeqCst);
            Box::pin(async move { assert_eq!(path, GREET, "reports panic") })
        });
        let (grpc, http) = (listener().await, listener().await);
        let address = grpc.local_addr().unwrap();
        let incoming = tonic::transport::server::TcpIncoming::from(grpc);
        let mut server = Server::builder().layer(stack.clone());
        tokio::spawn(
            server
                .add_service(Greeter::new(work))
                .serve_with_incoming(incoming),
        );
        let router = Router::new()
            .route("/greet/{name}", get(|| async { "hello" }))
            .route("/report", get(report))
            .layer(stack.clone());
        let http_address = http.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(http, router).await });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            stack,
            grpc: Grpc::new(endpoint.connect().await.unwrap()),
            http: http_address,
            begun,
        }
    }

    async fn call(&self, path: &'static str) -> Result<String, Status> {
        let mut client = self.grpc.clone();
        client.ready().await.unwrap();
        let request = Request::new("sea".to_owned());
        let path = PathAndQuery::from_static(path);
        let answer = client.unary(request, path, Text).await?;
        Ok(answer.into_inner())
    }
}

async fn report() -> &'static str {
    panic!("no report today")
}

#[tokio::test]
async fn a_panic_is_internal_and_the_connection_lives() {
    let servers = Servers::start().await;
    for _ in 0..2 {
        let status = servers.call(REPORT).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.get_details_error_info().unwrap().reason, "PANIC");
    }
    let mut stream = TcpStream::connect(servers.http).await.unwrap();
    let head = "GET /report HTTP/1.1\r\nhost: test\r\n";
    let requests = format!("{head}\r\n{head}connection: close\r\n\r\n");
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 500").count(), 2, "{answers}");
    assert_eq!(answers.matches("\"reason\":\"PANIC\"").count(), 2);
    // The handlers' places are back, and each panic was a sample.
    let gate = servers.stack.admission().snapshot();
    assert_eq!((gate.inflight, gate.totals.admitted[1]), (0, 4));
}

#[tokio::test]
async fn who_brings_no_token_is_told_why_in_either_language() {
    let servers = Servers::start().await;
    let status = servers.call(GREET).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "TOKEN_MISSING");
    assert_eq!(servers.begun.load(SeqCst), 0, "no handler was asked");

    let mut stream = TcpStream::connect(servers.http).await.unwrap();
    let request = "GET /greet/x HTTP/1.1\r\nhost: test\r\nauthorization: Bearer e30.e30.\r\n";
    let request = format!("{request}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    assert!(answer.contains("TOKEN_MALFORMED") && !answer.contains("e30"));
    assert_eq!(servers.stack.admission().snapshot().totals.admitted[1], 0);
}
