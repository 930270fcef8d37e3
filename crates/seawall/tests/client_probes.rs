//! What becomes of a call that finds out whether an ejected host answers again, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use client_support::{Count, MS, budget, get, read, reply};
use http::{Method, Request, Response, StatusCode};
use seawall::client::{
    BalanceOptions, Balanced, Body, DeadlineLayer, Error, ErrorKind, Replay, ReplayLayer,
    RetryLayer,
};
use seawall::clock::Clock;
use seawall::discovery::Endpoint;
use seawall_policy::balance::{Algorithm, BalanceSettings, HostState};
use seawall_policy::retry::RetrySettings;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

/// What the host does; the other one answers at once.
const WELL: u8 = 0;
const FAILS: u8 = 1;
const HANGS: u8 = 2;

struct Bed<S> {
    mode: Arc<AtomicU8>,
    hits: Count,
    retry: RetryLayer,
    state: Box<dyn Fn() -> HostState>,
    service: S,
}

/// A body that can be read.
trait Read: http_body::Body<Data = bytes::Bytes, Error: Into<Error>> + Send + 'static {}
impl<B: http_body::Body<Data = bytes::Bytes, Error: Into<Error>> + Send + 'static> Read for B {}

/// Of two hosts one is ejected. Nobody pays for retries.
async fn bed(
    keeps: usize,
) -> Bed<impl Service<Request<Body>, Response = Response<impl Read>, Error = Error> + Clone> {
    let (clock, mode, hits) = (
        Clock::runtime(),
        Arc::new(AtomicU8::new(FAILS)),
        Count::default(),
    );
    let options = BalanceOptions {
        settings: BalanceSettings {
            algorithm: Algorithm::RoundRobin,
            ..BalanceSettings::default()
        },
        clock: clock.clone(),
        ..BalanceOptions::default()
    };
    let endpoints = [1, 2].map(|port| Endpoint::new(([127, 0, 0, 1], port).into()));
    let (does, counted) = (mode.clone(), hits.clone());
    let balanced = Balanced::with(options, &endpoints, move |endpoint: &Endpoint| {
        let first = endpoint.address.port() == 1;
        let (does, counted) = (does.clone(), counted.clone());
        service_fn(move |_: Request<Replay<Body>>| {
            let mode = if first { does.load(SeqCst) } else { WELL };
            if first {
                counted.add();
            }
            async move {
                if mode == HANGS {
                    sleep(Duration::from_secs(5)).await;
                }
                let failed = StatusCode::INTERNAL_SERVER_ERROR;
                let status = if mode == FAILS {
                    failed
                } else {
                    StatusCode::OK
                };
                Ok::<_, Infallible>(reply(status))
            }
        })
    });
    let settings = RetrySettings {
        per_try: Some(700 * MS),
        ..RetrySettings::default()
    };
    let retry = RetryLayer::new(settings, budget(0.0)).clock(clock.clone());
    let watched = balanced.clone();
    let service = ReplayLayer::new(keeps).layer(retry.layer(balanced));
    let timed = DeadlineLayer::default().default_timeout(Duration::from_secs(1));
    let service = timed.clock(clock).layer(service);
    for _ in 0..10 {
        drop(service.clone().oneshot(get()).await.unwrap());
    }
    let bed = Bed {
        mode,
        hits,
        retry,
        state: Box::new(move || watched.snapshot()[0].state),
        service,
    };
    assert_eq!(((bed.state)(), bed.hits.get()), (HostState::Ejected, 5));
    sleep(130 * MS).await;
    bed
}

fn status<R>(answer: Result<Response<R>, Error>) -> StatusCode {
    answer.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_leaves_time_for_another_host_and_costs_no_budget() {
    let bed = bed(1 << 20).await;
    bed.mode.store(HANGS, SeqCst);
    for probes in 1..=5 {
        let started = Instant::now();
        assert_eq!(
            status(bed.service.clone().oneshot(get()).await),
            StatusCode::OK
        );
        let took = started.elapsed();
        assert!((100 * MS..=105 * MS).contains(&took), "{took:?}");
        assert_eq!(bed.hits.get(), 5 + probes);
        assert_eq!(bed.retry.totals().retries, probes as u64);
        assert_eq!((bed.state)(), HostState::Ejected, "it has failed");
        // Meanwhile nobody else is sent there.
        assert_eq!(
            status(bed.service.clone().oneshot(get()).await),
            StatusCode::OK
        );
        assert_eq!(bed.hits.get(), 5 + probes);
        sleep(500 * MS).await;
    }
    bed.mode.store(WELL, SeqCst);
    assert_eq!(
        read(bed.service.clone().oneshot(get()).await.unwrap()).await,
        "answer"
    );
    assert_eq!((bed.state)(), HostState::Warming);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_answered_by_another_at_once() {
    let bed = bed(1 << 20).await;
    let started = Instant::now();
    assert_eq!(
        status(bed.service.clone().oneshot(get()).await),
        StatusCode::OK
    );
    assert_eq!((started.elapsed(), bed.hits.get()), (Duration::ZERO, 6));
}

/// It cannot be sent elsewhere, so it is given the time that any attempt has.
#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_sent_again_is_not_cut_short() {
    let bed = bed(3).await;
    bed.mode.store(HANGS, SeqCst);
    let put = Request::put("http://host/x").body(Body::from("four"));
    let started = Instant::now();
    let error = bed.service.clone().oneshot(put.unwrap()).await;
    let error = error.err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::AttemptTimeout), "{error}");
    assert!(started.elapsed() >= 700 * MS);
    assert_eq!(bed.hits.get(), 6);
    // What must not run twice is sent there only where nobody else has been for long.
    sleep(Duration::from_secs(2)).await;
    let mut post = get();
    *post.method_mut() = Method::POST;
    let started = Instant::now();
    let error = bed.service.clone().oneshot(post).await.err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::AttemptTimeout), "{error}");
    assert!(started.elapsed() >= 700 * MS);
    assert_eq!((bed.hits.get(), (bed.state)()), (7, HostState::Ejected));
}
