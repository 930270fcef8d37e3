//! `seawall::Client` against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;
#[allow(dead_code, reason = "some of it is for servers")]
mod layers_support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use client_support::{Count, Origin, builder};
use http::StatusCode;
use layers_support::until;
use seawall::Client;
use seawall::client::{Body, BuildError, ErrorKind, Fixed};
use seawall::clock::Clock;
use seawall::context::Trust;
use seawall::discovery::{Discovery, Endpoint, Settings, Source};
use seawall::layer::{ContextLayer, Protect};
use seawall_policy::balance::{Algorithm, HostState};
use seawall_policy::fallback::{Fallback, GutterSettings, Stage};
use seawall_policy::retry::Why;
use tokio::sync::Semaphore;
use tower::{Layer, Service, service_fn};

#[tokio::test]
async fn one_host_of_three_is_killed_and_no_read_fails() {
    let app = || Router::new().route("/x", get(|| async { "answer" }));
    let mut origins = [(); 3].map(|()| Origin::start(app()));
    let client = builder(origins.iter().map(|origin| origin.address))
        .algorithm(Algorithm::RoundRobin)
        .coalesce_limit(0)
        .build()
        .unwrap();
    for n in 0..300 {
        if n == 100 {
            origins[1].kill();
        }
        let answer = client.get("/x").await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.into_body().text().await.unwrap(), "answer");
    }
    // Ejected after five failures in a row, each of which a retry hid; so are those of its probes.
    let retries = client.totals().retry.retries;
    assert!((5..30).contains(&retries), "{retries}");
    let hosts = client.hosts();
    let dead = Endpoint::new(origins[1].address).key();
    for host in &hosts {
        let out = matches!(host.state, HostState::Ejected | HostState::Probing);
        assert_eq!(out, host.key == dead, "{host:?}");
    }
    assert!(hosts.iter().all(|host| host.in_flight == 0));
}

#[tokio::test]
async fn when_all_fail_the_budget_holds() {
    let hits = Count::default();
    let counted = hits.clone();
    let origin = Origin::start(Router::new().fallback(move || {
        counted.add();
        async { StatusCode::INTERNAL_SERVER_ERROR }
    }));
    let client = origin
        .builder()
        .no_breaker()
        .coalesce_limit(0)
        .build()
        .unwrap();
    for _ in 0..500 {
        let answer = client.get("/x").await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["seawall-retried"], "1");
    }
    // A tenth, and one a second of the test's time and ten beforehand.
    assert!((550..=565).contains(&hits.get()), "{}", hits.get());
}

/// Headers as the origin saw them, a line each.
fn echo() -> Router {
    Router::new().fallback(|headers: http::HeaderMap| async move {
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            format!("{name}: {}\n", value.to_str().unwrap())
        };
        headers.iter().map(line).collect::<String>()
    })
}

fn said<'a>(echoed: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = echoed.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(said, _)| *said == name)
        .map(|(_, value)| value)
}

/// A server that answers with what its own call was answered; what failed, in its own words.
fn middle(client: Client) -> Origin {
    let handler = move || {
        let client = client.clone();
        async move {
            match client.get("/below").await {
                Ok(answer) if answer.status().is_success() => answer.map(axum::body::Body::new),
                Ok(answer) => answer.status().into_response(),
                Err(_) => StatusCode::BAD_GATEWAY.into_response(),
            }
        }
    };
    let protect = Protect::default().trust(Trust::Internal);
    Origin::start(Router::new().fallback(handler).layer(protect))
}

#[tokio::test]
async fn the_context_flows_from_a_servers_request_to_its_calls() {
    let bottom = Origin::start(echo());
    let middle = middle(bottom.builder().build().unwrap());
    let client = middle.builder().build().unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = http::Request::get("/x")
        .header("seawall-timeout-ms", "5000")
        .header("seawall-criticality", "sheddable-plus")
        .header("seawall-tenant", "acme")
        .header("seawall-attempt", "1")
        .header("traceparent", trace);
    let answer = client.request(request.body(Body::empty()).unwrap()).await;
    let echoed = answer.unwrap().into_body().text().await.unwrap();
    let left: u64 = said(&echoed, "seawall-timeout-ms")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..5_000).contains(&left), "{left}");
    assert_eq!(said(&echoed, "seawall-criticality"), Some("sheddable-plus"));
    assert_eq!(said(&echoed, "seawall-tenant"), Some("acme"));
    assert_eq!(said(&echoed, "seawall-attempt"), Some("1"));
    assert_eq!(said(&echoed, "traceparent"), Some(trace));
    assert_eq!(said(&echoed, "host"), Some("origin.test"));
}

#[tokio::test]
async fn somebody_elses_service_is_told_the_time_alone() {
    let bottom = Origin::start(echo());
    let middle = middle(bottom.builder().external().build().unwrap());
    let client = middle.builder().build().unwrap();
    let request = http::Request::get("/x")
        .header("seawall-criticality", "sheddable")
        .header("seawall-tenant", "acme");
    let answer = client.request(request.body(Body::empty()).unwrap()).await;
    let echoed = answer.unwrap().into_body().text().await.unwrap();
    assert!(said(&echoed, "seawall-timeout-ms").is_some());
    assert_eq!(said(&echoed, "seawall-criticality"), None);
    assert_eq!(said(&echoed, "seawall-tenant"), None);
}

#[tokio::test]
async fn what_is_too_late_is_not_sent() {
    let hits = Count::default();
    let counted = hits.clone();
    let origin = Origin::start(Router::new().fallback(move || {
        counted.add();
        async { "answer" }
    }));
    let client = origin.builder().build().unwrap();
    // A handler that is called with no time left, by a server that does not end it.
    let handled = client.clone();
    let mut server = ContextLayer::internal().layer(service_fn(move |_: http::Request<()>| {
        let client = handled.clone();
        async move { client.get("/x").await }
    }));
    let request = http::Request::get("/").header("seawall-timeout-ms", "0");
    let error = server.call(request.body(()).unwrap()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLate), "{error}");
    assert!(!error.may_have_run());
    assert_eq!((hits.get(), client.totals().too_late), (0, 1));
}

#[tokio::test]
async fn of_three_tiers_that_would_each_retry_only_the_lowest_does() {
    let hits = Count::default();
    let counted = hits.clone();
    let bottom = Origin::start(Router::new().fallback(move || {
        counted.add();
        async { StatusCode::INTERNAL_SERVER_ERROR }
    }));
    // The breaker would hide it, and so would sharing.
    let willing = |origin: &Origin| {
        let builder = origin.builder().attempts(4).no_breaker();
        builder.coalesce_limit(0).build().unwrap()
    };
    let third = middle(willing(&bottom));
    let second = middle(willing(&third));
    let first = willing(&second);
    for _ in 0..400 {
        let answer = first.get("/x").await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["seawall-retried"], "1");
    }
    assert!((400..=480).contains(&hits.get()), "{}", hits.get());
    assert_eq!(first.totals().retry.retries, 0);
    assert_eq!(first.totals().retry.stopped(Why::Retried), 400);
}

#[tokio::test]
async fn what_breaks_off_below_is_not_retried_above_either() {
    // It accepts, reads a little, and hangs up.
    let hits = Count::default();
    let counted = hits.clone();
    let (listener, address) = client_support::listen();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let hanging = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.add();
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await;
        }
    });
    let lower = builder([address]).no_breaker().coalesce_limit(0);
    let middle = middle(lower.attempts(2).build().unwrap());
    let upper = middle.builder().no_breaker().build().unwrap();
    let answer = upper.get("/x").await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()["seawall-retried"], "1");
    assert_eq!(hits.get(), 2);
    hanging.abort();
}

#[tokio::test]
async fn what_a_server_asks_for_is_heeded_and_bounded_by_the_deadline() {
    let hits = Count::default();
    let counted = hits.clone();
    let origin = Origin::start(Router::new().fallback(move |uri: http::Uri| {
        counted.add();
        let asks = match uri.path() {
            "/never" => "-1",
            "/year" => "31536000",
            "/text" => "soon",
            _ => "20",
        };
        async move { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", asks)]) }
    }));
    let client = origin.builder().no_breaker().build().unwrap();
    for (path, attempts, why) in [
        ("/never", 1, Why::Refused),
        ("/year", 1, Why::Refused),
        // Nothing that can be used: the own backoff.
        ("/text", 3, Why::Attempts),
        // Longer than the 15 s that a call may take by default.
        ("/long", 1, Why::Deadline),
    ] {
        let (before, stopped) = (hits.get(), client.totals().retry.stopped(why));
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(hits.get() - before, attempts, "{path}");
        assert_eq!(client.totals().retry.stopped(why), stopped + 1, "{path}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_reported_and_not_sent_again() {
    let hits = Count::default();
    let counted = hits.clone();
    let (listener, address) = client_support::listen();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let origin = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.add();
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await;
            let half = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhalf";
            tokio::io::AsyncWriteExt::write_all(&mut stream, half)
                .await
                .unwrap();
        }
    });
    let client = builder([address]).build().unwrap();
    let answer = client.get("/x").await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let error = answer.into_body().text().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Failed(_)), "{error}");
    assert_eq!(hits.get(), 1);
    let host = client.hosts()[0];
    assert!(host.failing > 0.1 && host.in_flight == 0, "{host:?}");
    origin.abort();
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_a_size() {
    let hits = Count::default();
    let counted = hits.clone();
    let origin = Origin::start(Router::new().fallback(move |body: axum::body::Bytes| {
        let first = counted.add() % 2 == 0;
        async move {
            let status = if first {
                StatusCode::INTERNAL_SERVER_ERROR
            } else {
                StatusCode::OK
            };
            (status, body.len().to_string())
        }
    }));
    let client = origin.builder().replay_limit(1_000).build().unwrap();
    let put = |size: usize| client.send(http::Method::PUT, "/x", vec![b'x'; size]);
    let answer = put(1_000).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.into_body().text().await.unwrap(), "1000");
    let answer = put(1_001).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!((hits.get(), client.totals().retry.too_large), (3, 1));
    // What must not run twice is not sent again, whatever its size.
    hits.add();
    let answer = client.send(http::Method::POST, "/x", "x").await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(client.totals().retry.stopped(Why::Unsafe), 2);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_in_flight() {
    let hits = Count::default();
    let counted = hits.clone();
    let origin = Origin::start(Router::new().fallback(move || {
        counted.add();
        std::future::pending::<()>()
    }));
    let client = origin.builder().build().unwrap();
    let calls: Vec<_> = ["/a", "/b", "/b"]
        .into_iter()
        .map(|path| {
            let client = client.clone();
            tokio::spawn(async move { client.get(path).await.map(|_| ()) })
        })
        .collect();
    until(|| hits.get() == 2).await;
    assert_eq!(client.hosts()[0].in_flight, 2, "two ask the same");
    for call in &calls {
        call.abort();
    }
    until(|| client.hosts()[0].in_flight == 0).await;
    assert_eq!(client.hosts()[0].failing, 0.0, "and poisons nothing");
}

#[tokio::test]
async fn a_thousand_reads_that_ask_the_same_are_one() {
    let hits = Count::default();
    let counted = hits.clone();
    let open = Arc::new(Semaphore::new(0));
    let opened = open.clone();
    let origin = Origin::start(Router::new().fallback(move |headers: http::HeaderMap| {
        counted.add();
        let open = opened.clone();
        async move {
            open.acquire().await.unwrap().forget();
            let user = headers.get("authorization");
            user.map_or("nobody", |user| user.to_str().unwrap())
                .to_owned()
        }
    }));
    let client = origin.builder().build().unwrap();
    let get = |user: Option<usize>| {
        let mut request = http::Request::get("/x");
        if let Some(user) = user {
            request = request.header("authorization", format!("user {user}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let client = client.clone();
        async move { client.request(request).await?.into_body().text().await }
    };
    let same: Vec<_> = (0..1_000).map(|_| tokio::spawn(get(None))).collect();
    let users: Vec<_> = (0..20).map(|user| tokio::spawn(get(Some(user)))).collect();
    until(|| hits.get() == 21).await;
    open.add_permits(21);
    for answer in same {
        assert_eq!(answer.await.unwrap().unwrap(), "nobody");
    }
    for (user, answer) in users.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().unwrap(), format!("user {user}"));
    }
    assert_eq!((hits.get(), client.totals().coalesced), (21, 999));
}

#[tokio::test]
async fn answers_too_large_to_share_are_fetched_alone() {
    let hits = Count::default();
    let counted = hits.clone();
    let origin = Origin::start(Router::new().fallback(move || {
        counted.add();
        async { "x".repeat(2_000) }
    }));
    let client = origin.builder().coalesce_limit(1_000).build().unwrap();
    let get = async || client.get("/x").await?.into_body().text().await;
    let (a, b, c) = tokio::join!(get(), get(), get());
    for answer in [a, b, c] {
        assert_eq!(answer.unwrap().len(), 2_000);
    }
    assert_eq!(hits.get(), 3);
}

#[tokio::test]
async fn a_gutter_is_entered_and_left() {
    let (well, main_hits, reserve_hits) = (Count::default(), Count::default(), Count::default());
    let (is_well, counted) = (well.clone(), main_hits.clone());
    let main = Origin::start(Router::new().fallback(move || {
        counted.add();
        let well = is_well.get() > 0;
        async move {
            if well {
                (StatusCode::OK, "main")
            } else {
                (StatusCode::INTERNAL_SERVER_ERROR, "")
            }
        }
    }));
    let counted = reserve_hits.clone();
    let reserve = Origin::start(Router::new().fallback(move || {
        counted.add();
        async { "reserve" }
    }));
    let clock = Clock::manual();
    let client = main
        .builder()
        .attempts(1)
        .no_timeout()
        .no_breaker()
        .clock(clock.clone())
        .gutter(
            client_support::source([reserve.address]),
            GutterSettings::default(),
        )
        .build()
        .unwrap();
    let get = async || client.get("/x").await?.into_body().text().await;
    for _ in 0..20 {
        assert_eq!(get().await.unwrap(), "");
    }
    assert_eq!(client.totals().gutter, Some(Stage::Gutter));
    // One goes on as a probe, and fails.
    get().await.unwrap();
    for _ in 0..10 {
        assert_eq!(get().await.unwrap(), "reserve");
    }
    assert_eq!((main_hits.get(), reserve_hits.get()), (21, 10));
    well.add();
    let mut calls = 0;
    while client.totals().gutter != Some(Stage::Main) {
        clock.advance(Duration::from_millis(500));
        assert!(!get().await.unwrap().is_empty());
        calls += 1;
        assert!(calls < 2_000, "it is never left");
    }
    assert_eq!(get().await.unwrap(), "main");
}

#[tokio::test]
async fn fallbacks_answer_in_their_order() {
    let broken = Count::default();
    let is_broken = broken.clone();
    let main = Origin::start(Router::new().fallback(move || {
        let broken = is_broken.get() > 0;
        async move {
            if broken {
                (StatusCode::INTERNAL_SERVER_ERROR, "")
            } else {
                (StatusCode::OK, "fresh")
            }
        }
    }));
    let fixed = Fixed {
        status: StatusCode::OK,
        content_type: http::HeaderValue::from_static("text/plain"),
        body: "fixed".into(),
    };
    let other = Origin::start(Router::new().route("/far", get(|| async { "far" })));
    let client = main
        .builder()
        .no_breaker()
        .fallback_stale(100_000, Duration::from_secs(60))
        .fallback_cluster(client_support::source([other.address]))
        .fallback_fixed(fixed)
        .build()
        .unwrap();
    let get = async |path| client.get(path).await?.into_body().text().await;
    assert_eq!(get("/known").await.unwrap(), "fresh");
    broken.add();
    assert_eq!(get("/known").await.unwrap(), "fresh", "the earlier one");
    assert_eq!(get("/far").await.unwrap(), "far", "the other cluster's");
    // The other cluster answers 404, which is an answer.
    assert_eq!(client.get("/unknown").await.unwrap().status(), 404);
    // What may have run and must not run twice is sent to no other cluster.
    let answer = client.send(http::Method::POST, "/far", "x").await.unwrap();
    assert_eq!(answer.extensions().get(), Some(&Fallback::Static));
    assert_eq!(answer.into_body().text().await.unwrap(), "fixed");
    assert_eq!(client.totals().fallbacks, 4);
}

#[tokio::test]
async fn a_host_that_accepts_nobody_is_a_clear_error() {
    let (listener, address) = client_support::listen();
    drop(listener);
    let client = builder([address]).no_breaker().build().unwrap();
    let error = client
        .send(http::Method::POST, "/x", "x")
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error}");
    assert!(error.to_string().contains("onnection refused"), "{error}");
    assert!(!error.may_have_run() && error.is_retried());
    // Nothing has run, so even a POST was sent again.
    assert_eq!(client.totals().retry.retries, 2);
}

#[tokio::test]
async fn no_host_at_all_is_a_clear_error() {
    let client = builder([]).build().unwrap();
    let error = client.get("/x").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoHost(_)), "{error}");
    let client = Client::builder("http://no-such-name.invalid:80");
    let discovery = Discovery::new(Settings {
        resolvers: vec!["127.0.0.1:9".parse().unwrap()],
        timeout: Duration::from_millis(50),
        ..Settings::default()
    });
    let client = client.discovery(discovery).attempts(1).build().unwrap();
    let error = client.get("/x").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoHost(_)), "{error}");
}

#[tokio::test]
async fn a_name_is_followed() {
    let origin = Origin::start(Router::new().fallback(|| async { "answer" }));
    let base = format!("http://localhost:{}", origin.address.port());
    let client = Client::new(&base).unwrap();
    let answer = client.get("/x?y=1").await.unwrap();
    assert_eq!(answer.into_body().text().await.unwrap(), "answer");
}

#[tokio::test]
async fn a_file_is_followed() {
    let first = Origin::start(Router::new().fallback(|| async { "first" }));
    let second = Origin::start(Router::new().fallback(|| async { "second" }));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    std::fs::write(&path, first.address.to_string()).unwrap();
    let discovery = Discovery::new(Settings {
        file_interval: Duration::from_millis(10),
        ..Settings::default()
    });
    let client = Client::builder("http://origin.test")
        .discovery(discovery)
        .source(Source::File(path.clone()))
        .build()
        .unwrap();
    let get = async || client.get("/x").await?.into_body().text().await;
    assert_eq!(get().await.unwrap(), "first");
    std::fs::write(&path, second.address.to_string()).unwrap();
    while get().await.unwrap() == "first" {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.hosts().len(), 1);
}

#[tokio::test]
async fn a_base_that_names_no_upstream_is_refused() {
    for base in [
        "",
        "/x",
        "orders:80",
        "http://",
        "http://u@h:80",
        "http://h/x",
        "ftp://h",
    ] {
        let error = Client::new(base).unwrap_err();
        assert!(matches!(error, BuildError::Uri(_)), "{base}: {error}");
    }
    #[cfg(not(feature = "tls"))]
    {
        let error = Client::new("https://orders").unwrap_err();
        assert!(matches!(error, BuildError::Https(_)), "{error}");
    }
    let client = builder([]).build().unwrap();
    for uri in ["not a uri", "https://h/x", "h:80"] {
        let error = client.get(uri).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Uri(_)), "{uri}: {error}");
    }
}

#[tokio::test]
async fn hosts_chosen_by_their_load_are_asked_for_it() {
    let asked = Count::default();
    let counted = asked.clone();
    let load = move || {
        counted.add();
        let says = [("seawall-load", "in_flight=3; latency_us=900")];
        async move { (StatusCode::NO_CONTENT, says) }
    };
    let app = Router::new()
        .route("/.well-known/seawall-load", get(load))
        .fallback(|| async { "answer" });
    let origin = Origin::start(app);
    let client = origin.builder().algorithm(Algorithm::Prequal);
    let client = client.build().unwrap();
    for _ in 0..2_000 {
        if asked.get() > 0 {
            return;
        }
        let answer = client.get("/x").await.unwrap();
        assert_eq!(answer.into_body().text().await.unwrap(), "answer");
    }
    panic!("none was asked");
}
