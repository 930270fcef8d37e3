//! The client's layers one by one, over services in memory and in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use client_support::{Count, MS, budget, get, read, reply};
use http::{HeaderMap, Request, Response, StatusCode};
use seawall::client::{
    BalanceOptions, Balanced, Body, BreakerLayer, DeadlineLayer, Error, ErrorKind, ForwardLayer,
    GutterLayer, HedgeLayer, Replay, ReplayLayer, RetryLayer,
};
use seawall::clock::Clock;
use seawall::discovery::Endpoint;
use seawall::layer::ContextLayer;
use seawall::{Advice, Reason, Rejection, Scope, Tick};
use seawall_policy::balance::{Algorithm, BalanceSettings};
use seawall_policy::breaker::{Breaker, State, Window, WindowSettings};
use seawall_policy::fallback::{Gutter, GutterSettings, Stage};
use seawall_policy::retry::{
    Budget, HedgeSettings, Latencies, LatencySettings, RetrySettings, Why,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

fn window(clock: &Clock) -> Arc<Window> {
    Arc::new(Window::new(WindowSettings::default(), clock.now()))
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_and_closes_again() {
    let clock = Clock::runtime();
    let (well, hits) = (Arc::new(AtomicBool::new(false)), Count::default());
    let (is_well, counted) = (well.clone(), hits.clone());
    let breaker = window(&clock);
    let layer = BreakerLayer::new(breaker.clone()).clock(clock.clone());
    let service = layer.layer(service_fn(move |_: Request<Body>| {
        counted.add();
        let status = if is_well.load(SeqCst) { 200 } else { 500 };
        async move { Ok::<_, Infallible>(reply(StatusCode::from_u16(status).unwrap())) }
    }));
    for _ in 0..10 {
        service.clone().oneshot(get()).await.unwrap();
    }
    let error = service.clone().oneshot(get()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{error}");
    assert!(!error.may_have_run());
    assert_eq!((hits.get(), breaker.state(clock.now())), (10, State::Open));
    well.store(true, SeqCst);
    sleep(500 * MS).await;
    let probe = service.clone().oneshot(get()).await.unwrap();
    assert_ne!(
        breaker.state(clock.now()),
        State::Closed,
        "not before its last byte"
    );
    assert_eq!(read(probe).await, "answer");
    assert_eq!(breaker.state(clock.now()), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_in_shadow_turns_nobody_away() {
    let clock = Clock::runtime();
    let layer = BreakerLayer::new(window(&clock)).clock(clock).shadow();
    let service = layer.layer(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(reply(StatusCode::INTERNAL_SERVER_ERROR))
    }));
    for _ in 0..15 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!(layer.shadowed(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_nothing_and_one_out_of_time_a_failure() {
    let clock = Clock::runtime();
    let breaker = window(&clock);
    let below = BreakerLayer::new(breaker.clone()).clock(clock.clone());
    let layer = DeadlineLayer::default()
        .clock(clock)
        .default_timeout(10 * MS);
    let service = layer.layer(below.layer(service_fn(async |_: Request<Body>| {
        std::future::pending::<()>().await;
        Ok::<_, Infallible>(reply(StatusCode::OK))
    })));
    let cancelled = service.clone().oneshot(get());
    assert!(tokio::time::timeout(5 * MS, cancelled).await.is_err());
    let counts = breaker.counts();
    assert_eq!((counts.failure, counts.calls()), (0, 0), "{counts:?}");
    let started = Instant::now();
    let error = service.clone().oneshot(get()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Deadline), "{error}");
    assert_eq!(started.elapsed().as_millis(), 10);
    let counts = breaker.counts();
    assert_eq!((counts.failure, counts.calls()), (1, 1), "{counts:?}");
}

/// Gives its first frame, and then nothing.
fn endless() -> Response<Body> {
    let first = futures_util::stream::once(async {
        Ok::<_, Infallible>(http_body::Frame::data(bytes::Bytes::from_static(b"first")))
    });
    let frames = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    Response::new(Body::new(http_body_util::StreamBody::new(frames)))
}

#[tokio::test(start_paused = true)]
async fn a_stated_deadline_ends_the_body_and_a_default_one_does_not() {
    let clock = Clock::runtime();
    let layer = DeadlineLayer::default()
        .clock(clock)
        .default_timeout(10 * MS);
    let service = layer.layer(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(endless())
    }));
    let mut stated = get();
    let ms = "10".parse().unwrap();
    stated.headers_mut().insert("seawall-timeout-ms", ms);
    let body = service.clone().oneshot(stated).await.unwrap().into_body();
    let error = Body::new(body).bytes().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Deadline), "{error}");
    let body = service.clone().oneshot(get()).await.unwrap().into_body();
    let whole = tokio::time::timeout(Duration::from_secs(60), Body::new(body).bytes());
    assert!(whole.await.is_err(), "a stream goes on");
}

/// Retries and what is written on each attempt, over a service of heads.
fn retried<F, A>(
    settings: RetrySettings,
    budget: Arc<Budget>,
    clock: &Clock,
    answer: F,
) -> (
    RetryLayer,
    impl Service<Request<Body>, Response = Response<Body>, Error = Error, Future: Send>
    + Clone
    + Send
    + 'static,
)
where
    F: Fn(HeaderMap) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let retry = RetryLayer::new(settings, budget).clock(clock.clone());
    let forward = ForwardLayer::default().clock(clock.clone());
    let origin = service_fn(move |request: Request<Replay<Body>>| {
        let answer = answer(request.headers().clone());
        async { Ok::<_, Infallible>(answer.await) }
    });
    let stack = retry.layer(forward.layer(origin));
    (retry, ReplayLayer::default().layer(stack))
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_followed_by_another() {
    let (clock, hits) = (Clock::runtime(), Count::default());
    let settings = RetrySettings {
        per_try: Some(100 * MS),
        ..RetrySettings::default()
    };
    let counted = hits.clone();
    let (retry, service) = retried(settings, budget(1.0), &clock, move |headers| {
        let first = counted.add() == 0;
        async move {
            let said = |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(said("seawall-attempt").is_none(), first);
            assert_eq!(said("seawall-timeout-ms").unwrap(), "100");
            if first {
                sleep(Duration::from_secs(10)).await;
            }
            reply(StatusCode::OK)
        }
    });
    let started = Instant::now();
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let took = started.elapsed();
    assert!((100 * MS..300 * MS).contains(&took), "{took:?}");
    assert_eq!((hits.get(), retry.totals().retries), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_when_the_server_asked_for_it() {
    let (clock, hits) = (Clock::runtime(), Count::default());
    let counted = hits.clone();
    let (_, service) = retried(RetrySettings::default(), budget(1.0), &clock, move |_| {
        let mut answer = reply(StatusCode::SERVICE_UNAVAILABLE);
        let headers = answer.headers_mut();
        match counted.add() {
            0 => headers.insert("retry-after", "2".parse().unwrap()),
            1 => headers.insert(
                "seawall-reject",
                "reason=queue-full; scope=host; after_ms=250"
                    .parse()
                    .unwrap(),
            ),
            _ => return std::future::ready(reply(StatusCode::OK)),
        };
        std::future::ready(answer)
    });
    let started = Instant::now();
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    // The first wait has a backoff on top, since all are told the same seconds.
    let took = started.elapsed();
    assert!((2_250 * MS..2_350 * MS).contains(&took), "{took:?}");
    assert_eq!(hits.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_given_up_before_it_is_sent_is_given_back() {
    let clock = Clock::runtime();
    let budget = budget(0.1);
    let (_, service) = retried(
        RetrySettings::default(),
        budget.clone(),
        &clock,
        |_| async {
            let mut answer = reply(StatusCode::SERVICE_UNAVAILABLE);
            let wait = "2".parse().unwrap();
            answer.headers_mut().insert("retry-after", wait);
            answer
        },
    );
    // One a window is all that there is; each call takes it and gives it back.
    for _ in 0..5 {
        let given_up = tokio::time::timeout(MS, service.clone().oneshot(get()));
        assert!(given_up.await.is_err());
    }
    assert!(budget.withdraw(clock.now()).is_some());
    assert!(budget.withdraw(clock.now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_unsafe_is_sent_once() {
    let (clock, hits) = (Clock::runtime(), Count::default());
    let counted = hits.clone();
    let (retry, service) = retried(RetrySettings::default(), budget(1.0), &clock, move |_| {
        counted.add();
        std::future::ready(reply(StatusCode::INTERNAL_SERVER_ERROR))
    });
    let mut post = get();
    *post.method_mut() = http::Method::POST;
    let answer = service.oneshot(post).await.unwrap();
    assert!(
        !answer.headers().contains_key("seawall-retried"),
        "above may"
    );
    assert_eq!((hits.get(), retry.totals().stopped(Why::Unsafe)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_overtakes_what_hangs_within_the_budget() {
    let clock = Clock::runtime();
    let latencies = Arc::new(Latencies::new(&LatencySettings::default()));
    let budget = budget(0.2);
    let (hang, hits) = (Arc::new(AtomicBool::new(false)), Count::default());
    let (hanging, counted) = (hang.clone(), hits.clone());
    let settings = HedgeSettings::default();
    let hedge = HedgeLayer::new(settings, latencies, budget, clock.clone());
    let service = hedge.layer(service_fn(move |_: Request<Replay<Body>>| {
        counted.add();
        let hangs = hanging.swap(false, SeqCst);
        async move {
            sleep(if hangs {
                Duration::from_secs(5)
            } else {
                10 * MS
            })
            .await;
            Ok::<_, Infallible>(reply(StatusCode::OK))
        }
    }));
    let service = ReplayLayer::default().layer(service);
    for _ in 0..100 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!((hits.get(), hedge.sent()), (100, 0));
    let mut took = Vec::new();
    for _ in 0..3 {
        hang.store(true, SeqCst);
        let started = Instant::now();
        service.clone().oneshot(get()).await.unwrap();
        took.push(started.elapsed());
    }
    // 0.2 a second for 10 s is two; nothing was deposited.
    assert!(took[..2].iter().all(|took| *took < 25 * MS), "{took:?}");
    assert!(took[2] >= Duration::from_secs(5), "{took:?}");
    assert_eq!((hits.get(), hedge.sent()), (105, 2));
    // What must not run twice has no copy.
    hang.store(true, SeqCst);
    let mut post = get();
    *post.method_mut() = http::Method::POST;
    service.clone().oneshot(post).await.unwrap();
    assert_eq!(hits.get(), 106);
}

fn endpoints(ports: impl IntoIterator<Item = u16>) -> Vec<Endpoint> {
    let of = |port| Endpoint::new(([127, 0, 0, 1], port).into());
    ports.into_iter().map(of).collect()
}

type Told = Arc<parking_lot::Mutex<Vec<u16>>>;

/// Hosts that tell which of them was called, and how many were ever connected to.
#[allow(clippy::type_complexity, reason = "a service in memory has no name")]
fn balanced(
    options: BalanceOptions,
    ports: impl IntoIterator<Item = u16>,
) -> (
    Told,
    Count,
    Balanced<
        impl Service<Request<Replay<Body>>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    >,
) {
    let (told, connects) = (Told::default(), Count::default());
    let (tell, connected) = (told.clone(), connects.clone());
    let connect = move |endpoint: &Endpoint| {
        connected.add();
        let (tell, port) = (tell.clone(), endpoint.address.port());
        service_fn(move |request: Request<Replay<Body>>| {
            tell.lock().push(port);
            let failing = request.headers().contains_key("fail");
            let status = if failing { 500 } else { 200 };
            std::future::ready(Ok(reply(StatusCode::from_u16(status).unwrap())))
        })
    };
    let balanced = Balanced::with(options, &endpoints(ports), connect);
    (told, connects, balanced)
}

fn by(algorithm: Algorithm) -> BalanceOptions {
    BalanceOptions {
        settings: BalanceSettings {
            algorithm,
            slow_start: Duration::ZERO,
            ..BalanceSettings::default()
        },
        hash: Some(Arc::new(|head| {
            let user = head.headers.get("user")?.to_str().ok()?;
            user.parse().ok()
        })),
        ..BalanceOptions::default()
    }
}

#[tokio::test]
async fn what_is_known_of_a_host_outlives_an_update() {
    let (told, connects, balanced) = balanced(by(Algorithm::RoundRobin), [1, 2]);
    let balanced_as = ReplayLayer::default().layer(balanced.clone());
    let held = balanced_as.clone().oneshot(get()).await.unwrap();
    let busy = told.lock()[0];
    balanced.update(&endpoints([busy, 3]));
    let in_flight: Vec<_> = balanced.snapshot().iter().map(|h| h.in_flight).collect();
    assert_eq!((in_flight, connects.get()), (vec![1, 0], 3));
    for _ in 0..4 {
        read(balanced_as.clone().oneshot(get()).await.unwrap()).await;
    }
    assert!(
        told.lock()[1..]
            .iter()
            .all(|port| *port == busy || *port == 3)
    );
    assert!(told.lock()[1..].contains(&3));
    drop(held);
    assert!(balanced.snapshot().iter().all(|host| host.in_flight == 0));
    balanced.update(&[]);
    let error = balanced_as.clone().oneshot(get()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoHost(_)), "{error}");
}

#[tokio::test]
async fn calls_of_one_hash_meet_and_one_without_goes_anywhere() {
    let (told, _, balanced) = balanced(by(Algorithm::ConsistentHash), 1..=4);
    let balanced = ReplayLayer::default().layer(balanced);
    let hosts = async |user: Option<&str>| {
        told.lock().clear();
        for _ in 0..100 {
            let mut request = get();
            if let Some(user) = user {
                let user = user.parse().unwrap();
                request.headers_mut().insert("user", user);
            }
            read(balanced.clone().oneshot(request).await.unwrap()).await;
        }
        let mut ports = told.lock().clone();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    assert_eq!(hosts(Some("7")).await.len(), 1);
    assert_eq!(hosts(Some("7")).await, hosts(Some("7")).await);
    // Neither there nor of its form.
    assert_eq!(hosts(None).await, [1, 2, 3, 4]);
    assert_eq!(hosts(Some("anna")).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn attempts_of_one_call_go_to_different_hosts() {
    // Those of one hash would all go to the same one.
    let (told, _, balanced) = balanced(by(Algorithm::ConsistentHash), 1..=3);
    let retry = RetryLayer::new(RetrySettings::default(), budget(1.0));
    let service = ReplayLayer::default().layer(retry.layer(balanced.clone()));
    let mut request = get();
    for (name, value) in [("user", "7"), ("fail", "yes")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    service.oneshot(request).await.unwrap();
    let mut ports = told.lock().clone();
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 3]);
    assert!(balanced.snapshot().iter().all(|host| host.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_retried_in_vain_marks_the_reply_that_it_was_made_for() {
    let clock = Clock::runtime();
    let failing = Arc::new(AtomicBool::new(true));
    let fails = failing.clone();
    let (_, service) = retried(RetrySettings::default(), budget(1.0), &clock, move |_| {
        let status = if fails.load(SeqCst) { 500 } else { 200 };
        std::future::ready(reply(StatusCode::from_u16(status).unwrap()))
    });
    // A handler that gives an answer of its own, whatever it is told below.
    let server = |own: StatusCode| {
        let service = service.clone();
        ContextLayer::edge().layer(service_fn(move |_: Request<()>| {
            let service = service.clone();
            async move {
                let _ = service.oneshot(get()).await;
                Ok::<_, Infallible>(reply(own))
            }
        }))
    };
    let marked = async |own| {
        let answer = server(own).oneshot(Request::new(())).await.unwrap();
        answer.headers().contains_key("seawall-retried")
    };
    assert!(marked(StatusCode::BAD_GATEWAY).await);
    assert!(!marked(StatusCode::OK).await, "nobody retries that");
    failing.store(false, SeqCst);
    assert!(
        !marked(StatusCode::BAD_GATEWAY).await,
        "a failure of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_to_another_host() {
    let clock = Clock::runtime();
    let latencies = Arc::new(Latencies::new(&LatencySettings::default()));
    for ms in 0..100 {
        latencies.record(10 * MS, Tick::from_millis(10 * ms));
    }
    let told = Told::default();
    let tell = told.clone();
    let hosts = endpoints(1..=3);
    let options = BalanceOptions {
        clock: clock.clone(),
        ..BalanceOptions::default()
    };
    let balanced = Balanced::with(options, &hosts, move |endpoint: &Endpoint| {
        let (tell, port) = (tell.clone(), endpoint.address.port());
        service_fn(move |_: Request<Replay<Body>>| {
            let first = tell.lock().is_empty();
            tell.lock().push(port);
            async move {
                sleep(if first {
                    Duration::from_secs(5)
                } else {
                    10 * MS
                })
                .await;
                Ok::<_, Infallible>(reply(StatusCode::OK))
            }
        })
    });
    let hedge = HedgeLayer::new(HedgeSettings::default(), latencies, budget(1.0), clock);
    let service = ReplayLayer::default().layer(hedge.layer(balanced.clone()));
    let answer = service.oneshot(get()).await.unwrap();
    let ports = told.lock().clone();
    assert!(ports.len() == 2 && ports[0] != ports[1], "{ports:?}");
    let in_flight = || balanced.snapshot().iter().map(|h| h.in_flight).sum::<u32>();
    assert_eq!(in_flight(), 1, "the loser is cancelled");
    read(answer).await;
    assert_eq!(in_flight(), 0);
}

#[tokio::test]
async fn a_pool_whose_breaker_is_open_is_left_for_the_gutter() {
    let gutter = Arc::new(Gutter::new(&GutterSettings::default()));
    let reserve = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(reply(StatusCode::OK)));
    let open = service_fn(async |_: Request<Body>| {
        let rejection = Rejection {
            reason: Reason::Breaker,
            scope: Scope::Route,
            advice: Advice::Elsewhere,
        };
        Err::<Response<Body>, _>(Error::from(ErrorKind::Rejected(rejection)))
    });
    let service = GutterLayer::new(gutter.clone(), reserve, Clock::manual()).layer(open);
    for _ in 0..20 {
        assert!(service.clone().oneshot(get()).await.is_err());
    }
    assert_eq!(gutter.stage(), Stage::Gutter);
}
