//! The layers in a real axum server: the one of `examples/axum_server.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/axum_server.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;
mod layers_support;

use std::net::{Ipv4Addr, SocketAddr};

use example::REPORTS;
use layers_support::{Held, entrance, until};
use seawall::admission::Admission;
use seawall::context::Trust;
use seawall::layer::Protect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server of the test's own; its runtime ends it.
struct Server {
    address: SocketAddr,
    admission: Admission,
    work: Held,
}

impl Server {
    async fn start(limit: u32, shadow: bool) -> Self {
        let admission = entrance(limit, usize::from(REPORTS.0), 0.5, shadow);
        let work = Held::new(&["page", "report"]);
        let protect = Protect::new(admission.clone()).trust(Trust::Internal);
        let app = example::app(protect, work.work());
        let listener = loop {
            let port = seawall_testkit::free_port().unwrap();
            // Another test may have been faster.
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                break listener;
            }
        };
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            admission,
            work,
        }
    }

    async fn send(&self, path: &str, header: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The whole response, once it is there.
    async fn get(&self, path: &str, header: &str) -> String {
        read(self.send(path, header).await).await
    }

    /// Asks, and waits until the work for it has begun.
    async fn begin(&self, path: &str, kind: &str) -> JoinHandle<String> {
        let before = self.work.begun(kind);
        let response = tokio::spawn(read(self.send(path, "").await));
        until(|| self.work.begun(kind) > before).await;
        response
    }

    /// Asks, and waits until it waits.
    async fn queue(&self, path: &str) -> JoinHandle<String> {
        let response = tokio::spawn(read(self.send(path, "").await));
        until(|| self.admission.snapshot().queued == 1).await;
        response
    }

    async fn until_idle(&self) {
        until(|| self.admission.snapshot().inflight == 0).await;
    }
}

async fn read(mut stream: TcpStream) -> String {
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_call_passes_and_gives_its_place_back() {
    let server = Server::start(1, false).await;
    server.work.end("page", 2);
    for _ in 0..2 {
        let response = server.get("/", "").await;
        assert_eq!(status(&response), "200");
        assert!(response.ends_with("page\n"), "{response}");
    }
    server.until_idle().await;
    assert_eq!(server.work.begun("page"), 2);
}

#[tokio::test]
async fn beyond_limit_and_queue_it_is_turned_away_with_a_reason() {
    let server = Server::start(1, false).await;
    let first = server.begin("/", "page").await;
    let second = server.queue("/").await;
    // Of equals the newest is kept: its caller will wait longest.
    let third = tokio::spawn(read(server.send("/", "").await));
    let refused = second.await.unwrap();
    assert_eq!(status(&refused), "503");
    assert!(
        refused.contains("seawall-reject: reason=queue-full; scope=host; after_ms="),
        "{refused}"
    );
    assert!(refused.contains("retry-after: "), "{refused}");
    assert_eq!(server.work.begun("page"), 1, "nobody else was let in");
    server.work.end("page", 2);
    assert_eq!(status(&first.await.unwrap()), "200");
    assert_eq!(status(&third.await.unwrap()), "200");
}

#[tokio::test]
async fn an_expired_deadline_never_reaches_the_handler() {
    let server = Server::start(1, false).await;
    let response = server.get("/", "seawall-timeout-ms: 0\r\n").await;
    assert_eq!(status(&response), "504");
    assert!(
        response.contains("seawall-reject: reason=deadline; scope=route; retry=no"),
        "{response}"
    );
    assert_eq!(server.work.begun("page"), 0);
}

#[tokio::test]
async fn a_handler_that_runs_out_of_time_is_ended_and_frees_its_place() {
    let server = Server::start(1, false).await;
    let response = server.get("/", "seawall-timeout-ms: 20\r\n").await;
    assert_eq!(status(&response), "504");
    assert_eq!(server.work.begun("page"), 1);
    assert_eq!(server.admission.snapshot().inflight, 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_place() {
    let server = Server::start(1, false).await;
    let gone = server.send("/", "").await;
    until(|| server.work.begun("page") == 1).await;
    let next = server.queue("/").await;
    drop(gone);
    // Nothing has ended: the next begins because the first was cancelled.
    until(|| server.work.begun("page") == 2).await;
    server.work.end("page", 1);
    assert_eq!(status(&next.await.unwrap()), "200");
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_leaves_the_queue() {
    let server = Server::start(1, false).await;
    let first = server.begin("/", "page").await;
    let gone = server.send("/", "").await;
    until(|| server.admission.snapshot().queued == 1).await;
    drop(gone);
    until(|| {
        server.admission.tick();
        server.admission.snapshot().queued == 0
    })
    .await;
    server.work.end("page", 1);
    assert_eq!(status(&first.await.unwrap()), "200");
    server.until_idle().await;
    assert_eq!(server.work.begun("page"), 1);
}

#[tokio::test]
async fn a_flooded_lane_does_not_hold_up_the_others() {
    let server = Server::start(2, false).await;
    let running = server.begin("/reports/1", "report").await;
    // One place is free, but half of the places is all that reports may hold.
    let waiting = server.queue("/reports/2").await;
    server.work.end("page", 1);
    assert_eq!(status(&server.get("/", "").await), "200");
    assert_eq!(server.work.begun("report"), 1);
    server.work.end("report", 2);
    assert_eq!(status(&running.await.unwrap()), "200");
    assert!(waiting.await.unwrap().ends_with("report 2\n"));
}

#[tokio::test]
async fn in_shadow_all_pass() {
    let server = Server::start(1, true).await;
    let mut responses = Vec::new();
    for _ in 0..4 {
        responses.push(server.begin("/", "page").await);
    }
    server.work.end("page", 4);
    for response in responses {
        assert_eq!(status(&response.await.unwrap()), "200");
    }
}

#[tokio::test]
async fn the_gate_learns_by_routes_that_answered_well() {
    let server = Server::start(1, false).await;
    server.work.end("report", 2);
    server.get("/reports/17", "").await;
    server.get("/nowhere", "").await;
    server.get("/reports/18", "").await;
    let keys = server.admission.keys();
    assert_eq!(keys.name(seawall::admission::Key(0)), "GET /reports/*");
    assert_eq!(keys.name(seawall::admission::Key(1)), "*");
}
