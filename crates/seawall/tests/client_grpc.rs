//! `seawall::Client` under tonic's client, against real tonic servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;
#[path = "../examples/tonic_server.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;
#[allow(dead_code, reason = "some of it is for servers")]
mod layers_support;

use std::net::SocketAddr;
use std::time::Duration;

use client_support::{builder, listen};
use example::{GREET, Greeter, REPORT, Text};
use http::uri::PathAndQuery;
use layers_support::{Held, until};
use seawall::Client;
use seawall::client::{ErrorKind, Repeatable};
use seawall::context::Trust;
use seawall::layer::Protect;
use seawall_policy::balance::Algorithm;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::{Code, Request, Status};

/// A server on a runtime of its own, so that killing it cuts its connections.
struct Origin {
    address: SocketAddr,
    work: Held,
    runtime: Option<Runtime>,
}

impl Origin {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let work = Held::new(&[GREET, REPORT]);
        let (listener, address) = listen();
        let greeter = Greeter::new(work.work());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            let protect = Protect::default().trust(Trust::Internal);
            let server = Server::builder().layer(protect).add_service(greeter);
            server.serve_with_incoming(incoming).await
        });
        Self {
            address,
            work,
            runtime: Some(runtime),
        }
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn greet(client: &Client, timeout: Option<Duration>) -> Result<String, Status> {
    let mut greeter = tonic::client::Grpc::new(client.grpc());
    greeter.ready().await.unwrap();
    let mut request = Request::new("sea".to_owned());
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let path = PathAndQuery::from_static(GREET);
    Ok(greeter.unary(request, path, Text).await?.into_inner())
}

#[tokio::test]
async fn calls_go_to_all_and_past_one_that_is_killed() {
    let mut origins = [Origin::start(), Origin::start()];
    for origin in &origins {
        origin.work.end(GREET, 1_000);
    }
    let client = builder(origins.iter().map(|origin| origin.address));
    let client = client.algorithm(Algorithm::RoundRobin).build().unwrap();
    for _ in 0..50 {
        assert_eq!(greet(&client, None).await.unwrap(), "hello, sea");
    }
    assert!(origins.iter().all(|origin| origin.work.begun(GREET) > 0));
    origins[0].kill();
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(greet(&client, None).await.is_err());
    }
    // What had been sent when the connection was cut may have run, so it is not sent again; what
    // could not be sent is.
    assert!(failed <= 1, "{failed}");
    until(|| client.hosts().iter().all(|host| host.in_flight == 0)).await;
}

#[tokio::test]
async fn the_deadline_goes_along_and_ends_the_call() {
    let origin = Origin::start();
    let client = builder([origin.address]).build().unwrap();
    let late = greet(&client, Some(Duration::from_millis(20))).await;
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    until(|| client.hosts()[0].in_flight == 0).await;
    // It was its host's failure, not nothing.
    assert!(client.hosts()[0].failing > 0.1);
    let none = greet(&client, Some(Duration::ZERO)).await.unwrap_err();
    assert_eq!(none.code(), Code::DeadlineExceeded);
    assert_eq!(origin.work.begun(GREET), 1, "the second was not sent");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let (listener, address) = listen();
    drop(listener);
    let client = builder([address]).build().unwrap();
    let status = greet(&client, None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("no connection"), "{status}");
    assert_eq!(client.totals().retry.retries, 2);
}

#[tokio::test]
async fn a_failure_is_told_by_the_grpc_status() {
    let origin = Origin::start();
    let client = builder([origin.address]).build().unwrap();
    let mut greeter = tonic::client::Grpc::new(client.grpc());
    greeter.ready().await.unwrap();
    let path = PathAndQuery::from_static("/demo.Greeter/Nothing");
    let status = greeter.unary(Request::new(String::new()), path, Text).await;
    // Its caller's mistake, and no failure of the host's.
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(client.hosts()[0].failing, 0.0);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_in_flight() {
    let origin = Origin::start();
    let client = builder([origin.address]).build().unwrap();
    let called = client.clone();
    let call = tokio::spawn(async move { greet(&called, None).await });
    until(|| origin.work.begun(GREET) == 1).await;
    assert_eq!(client.hosts()[0].in_flight, 1);
    call.abort();
    until(|| client.hosts()[0].in_flight == 0).await;
}

#[tokio::test]
async fn what_is_declared_repeatable_is_sent_again() {
    let (address, serving) = resetting(h2::Reason::INTERNAL_ERROR).await;
    let client = builder([address]).build().unwrap();
    let mut greeter = tonic::client::Grpc::new(client.grpc());
    greeter.ready().await.unwrap();
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(Repeatable);
    let path = PathAndQuery::from_static(GREET);
    // The second time the server answers, if not in gRPC.
    let answer = greeter.unary(request, path, Text).await;
    assert!(answer.is_err());
    assert_eq!(client.totals().retry.retries, 1);
    serving.abort();
}

/// A server of HTTP/2 that resets its first stream, and answers the others.
async fn resetting(reason: h2::Reason) -> (SocketAddr, JoinHandle<()>) {
    let (listener, address) = listen();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut first = true;
        while let Some(Ok((_, mut reply))) = connection.accept().await {
            if std::mem::take(&mut first) {
                reply.send_reset(reason);
            } else {
                reply.send_response(http::Response::new(()), true).unwrap();
            }
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_and_a_broken_one_is_not() {
    for (reason, again) in [
        (h2::Reason::REFUSED_STREAM, true),
        (h2::Reason::INTERNAL_ERROR, false),
    ] {
        let (address, serving) = resetting(reason).await;
        let client = builder([address]).http2().build().unwrap();
        let answer = client.send(http::Method::POST, "/x", "x").await;
        if again {
            assert_eq!(answer.unwrap().status(), 200);
        } else {
            let error = answer.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Failed(_)), "{error}");
            assert!(error.may_have_run());
        }
        assert_eq!(client.totals().retry.retries, u64::from(again));
        serving.abort();
    }
}
