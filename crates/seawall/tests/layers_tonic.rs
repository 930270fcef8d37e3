//! The layers in a real tonic server: the one of `examples/tonic_server.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/tonic_server.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;
mod layers_support;

use std::net::{Ipv4Addr, SocketAddr};

use example::{GREET, REPORT, REPORTS, Text};
use http::uri::PathAndQuery;
use layers_support::{Held, entrance, until};
use seawall::admission::Admission;
use tokio::task::JoinHandle;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// A server of the test's own, and a client of it; its runtime ends both.
struct Server {
    client: Grpc<Channel>,
    admission: Admission,
    work: Held,
}

impl Server {
    async fn start(limit: u32, shadow: bool) -> Self {
        let admission = entrance(limit, usize::from(REPORTS.0), 0.5, shadow);
        let work = Held::new(&[GREET, REPORT]);
        let channel = loop {
            let port = seawall_testkit::free_port().unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let protect = example::protection(admission.clone());
            let serving = tokio::spawn(example::serve(address, protect, work.work()));
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            // It binds when it is first polled; another test may have been faster.
            let channel = loop {
                tokio::task::yield_now().await;
                match endpoint.connect().await {
                    Ok(channel) if !serving.is_finished() => break Some(channel),
                    _ if serving.is_finished() => break None,
                    _ => {}
                }
            };
            if let Some(channel) = channel {
                break channel;
            }
        };
        Self {
            client: Grpc::new(channel),
            admission,
            work,
        }
    }

    fn call(&self, path: &'static str, timeout_ms: Option<&str>) -> JoinHandle<Answer> {
        let mut client = self.client.clone();
        let mut request = Request::new("sea".to_owned());
        if let Some(ms) = timeout_ms {
            let ms = ms.parse().unwrap();
            request.metadata_mut().insert("seawall-timeout-ms", ms);
        }
        tokio::spawn(async move {
            client
                .ready()
                .await
                .map_err(|error| Status::unknown(error.to_string()))?;
            let path = PathAndQuery::from_static(path);
            let answer = client.unary(request, path, Text).await?;
            Ok(answer.into_inner())
        })
    }

    /// Calls, and waits until the work for it has begun.
    async fn begin(&self, path: &'static str) -> JoinHandle<Answer> {
        let before = self.work.begun(path);
        let answer = self.call(path, None);
        until(|| self.work.begun(path) > before).await;
        answer
    }

    /// Calls, and waits until it waits.
    async fn queue(&self, path: &'static str) -> JoinHandle<Answer> {
        let answer = self.call(path, None);
        until(|| self.admission.snapshot().queued == 1).await;
        answer
    }
}

type Answer = Result<String, Status>;

#[tokio::test]
async fn a_call_passes_and_gives_its_place_back() {
    let server = Server::start(1, false).await;
    server.work.end(GREET, 2);
    for _ in 0..2 {
        let answer = server.call(GREET, None).await.unwrap();
        assert_eq!(answer.unwrap(), "hello, sea");
    }
    until(|| server.admission.snapshot().inflight == 0).await;
}

#[tokio::test]
async fn beyond_limit_and_queue_it_is_turned_away_with_a_reason() {
    let server = Server::start(1, false).await;
    let first = server.begin(GREET).await;
    let second = server.queue(GREET).await;
    // Of equals the newest is kept: its caller will wait longest.
    let third = server.call(GREET, None);
    let refused = second.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let said = |name| refused.metadata().get(name).unwrap().to_str().unwrap();
    let pushback: u64 = said("grpc-retry-pushback-ms").parse().unwrap();
    assert!(pushback > 0);
    assert_eq!(
        said("seawall-reject"),
        format!("reason=queue-full; scope=host; after_ms={pushback}")
    );
    server.work.end(GREET, 2);
    assert!(first.await.unwrap().is_ok());
    assert!(third.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_expired_deadline_never_reaches_the_handler() {
    let server = Server::start(1, false).await;
    let status = server.call(GREET, Some("0")).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let pushback = status.metadata().get("grpc-retry-pushback-ms");
    assert_eq!(pushback.unwrap(), "-1");
    assert_eq!(server.work.begun(GREET), 0);
}

#[tokio::test]
async fn a_handler_that_runs_out_of_time_is_ended_and_frees_its_place() {
    let server = Server::start(1, false).await;
    let status = server.call(GREET, Some("20")).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(server.work.begun(GREET), 1);
    assert_eq!(server.admission.snapshot().inflight, 0);
}

#[tokio::test]
async fn a_client_that_cancels_frees_its_place() {
    let server = Server::start(1, false).await;
    let gone = server.begin(GREET).await;
    let next = server.queue(GREET).await;
    gone.abort();
    // Nothing has ended: the next begins because the first was cancelled.
    until(|| server.work.begun(GREET) == 2).await;
    server.work.end(GREET, 1);
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_flooded_lane_does_not_hold_up_the_others() {
    let server = Server::start(2, false).await;
    let running = server.begin(REPORT).await;
    // One place is free, but half of the places is all that reports may hold.
    let waiting = server.queue(REPORT).await;
    server.work.end(GREET, 1);
    assert!(server.call(GREET, None).await.unwrap().is_ok());
    assert_eq!(server.work.begun(REPORT), 1);
    server.work.end(REPORT, 2);
    assert!(running.await.unwrap().is_ok());
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn in_shadow_all_pass() {
    let server = Server::start(1, true).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(server.begin(GREET).await);
    }
    server.work.end(GREET, 4);
    for answer in answers {
        assert!(answer.await.unwrap().is_ok());
    }
}
