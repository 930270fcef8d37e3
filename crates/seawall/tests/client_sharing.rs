//! One answer for many: coalesced reads and stale answers, in memory and in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use client_support::{Count, MS, budget, get, read, reply};
use http::{Request, Response, StatusCode};
use seawall::client::{
    Body, CoalesceLayer, DeadlineLayer, Error, ErrorKind, FallbackOptions, ForwardLayer, Replay,
    ReplayLayer, RetryLayer, StaleStore,
};
use seawall::clock::Clock;
use seawall_policy::retry::RetrySettings;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn who_follows_one_that_runs_out_of_time_does_not_fail_with_it() {
    let (clock, hits) = (Clock::runtime(), Count::default());
    let counted = hits.clone();
    let forward = ForwardLayer::default().clock(clock.clone());
    let retry = RetryLayer::new(RetrySettings::default(), budget(1.0)).clock(clock.clone());
    let origin = retry.layer(forward.layer(service_fn(move |_: Request<Replay<Body>>| {
        counted.add();
        async {
            sleep(100 * MS).await;
            Ok::<_, Infallible>(reply(StatusCode::OK))
        }
    })));
    let coalesce = CoalesceLayer::default().clock(clock.clone());
    let deadline = DeadlineLayer::default().clock(clock);
    let service = ReplayLayer::default().layer(coalesce.of::<Body>().layer(origin));
    let service = deadline.layer(service);
    let call = |ms: &str| {
        let mut request = get();
        let ms = ms.parse().unwrap();
        request.headers_mut().insert("seawall-timeout-ms", ms);
        tokio::spawn(service.clone().oneshot(request))
    };
    let (short, long) = (call("50"), call("500"));
    let error = short.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Deadline), "{error}");
    assert_eq!(long.await.unwrap().unwrap().status(), StatusCode::OK);
    // The call went on for the one that waits.
    assert_eq!((hits.get(), coalesce.followed()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_follows_one_whose_origin_ended_it_in_time_asks_again() {
    let (clock, hits) = (Clock::runtime(), Count::default());
    let counted = hits.clone();
    let forward = ForwardLayer::default().clock(clock.clone());
    // It works for 100 ms, and ends by itself what nobody waits for any more.
    let origin = forward.layer(service_fn(move |request: Request<Replay<Body>>| {
        counted.add();
        let left = request.headers()["seawall-timeout-ms"].to_str().unwrap();
        let left = left.parse::<u32>().unwrap() * MS;
        async move {
            sleep(left.min(100 * MS)).await;
            let late = left < 100 * MS;
            Ok::<_, Infallible>(reply(if late {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::OK
            }))
        }
    }));
    let coalesce = CoalesceLayer::default().clock(clock);
    let service = ReplayLayer::default().layer(coalesce.of::<Body>().layer(origin));
    let call = |ms: &str| {
        let mut request = get();
        let ms = ms.parse().unwrap();
        request.headers_mut().insert("seawall-timeout-ms", ms);
        tokio::spawn(service.clone().oneshot(request))
    };
    let (short, long, longer) = (call("50"), call("500"), call("500"));
    let status = async |call: tokio::task::JoinHandle<Result<Response<_>, Error>>| {
        call.await.unwrap().unwrap().status()
    };
    assert_eq!(status(short).await, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(status(long).await, StatusCode::OK);
    assert_eq!(status(longer).await, StatusCode::OK);
    assert_eq!(hits.get(), 2, "and together");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_sets_a_cookie_is_nobody_elses() {
    let hits = Count::default();
    let counted = hits.clone();
    let origin = service_fn(move |_: Request<Replay<Body>>| {
        let session = counted.add();
        async move {
            sleep(MS).await;
            let mut answer = reply(StatusCode::OK);
            let cookie = format!("session={session}").parse().unwrap();
            answer.headers_mut().insert("set-cookie", cookie);
            Ok::<_, Infallible>(answer)
        }
    });
    let service = CoalesceLayer::default().of::<Body>().layer(origin);
    let service = ReplayLayer::default().layer(service);
    let call = async || {
        let answer = service.clone().oneshot(get()).await.unwrap();
        answer.headers()["set-cookie"].clone()
    };
    let (a, b) = tokio::join!(call(), call());
    assert_ne!(a, b);
}

#[tokio::test]
async fn stale_answers_are_kept_within_their_bound_and_to_their_users() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let store = Arc::new(StaleStore::new(20_000));
    let options = FallbackOptions::default().stale(store.clone(), Duration::from_secs(60));
    let origin = service_fn(move |request: Request<Replay<Body>>| {
        let answer = if is_broken.load(SeqCst) {
            Err(Error::from(ErrorKind::Deadline))
        } else {
            let user = request.headers().get("x-user").cloned();
            let size = if request.uri().path() == "/large" {
                5_000
            } else {
                500
            };
            let mut body = user.map_or_else(String::new, |u| u.to_str().unwrap().to_owned());
            body.extend(std::iter::repeat_n('.', size));
            Ok(Response::new(Body::from(body)))
        };
        std::future::ready(answer)
    });
    // No other cluster, of whichever type.
    let layer = options.cluster(origin.clone());
    let layer = layer.layer();
    let service = ReplayLayer::default().layer(layer.layer(origin));
    let call = async |path: String, user: &str| {
        let request = Request::get(path).header("x-user", user);
        let request = request.body(Body::empty()).unwrap();
        service.clone().oneshot(request).await
    };
    for n in 0..100 {
        let answer = call(format!("/{n}"), "a").await.unwrap();
        read(answer).await;
        assert!(store.bytes() <= 20_000);
    }
    read(call("/large".into(), "a").await.unwrap()).await;
    broken.store(true, SeqCst);
    let last = read(call("/99".into(), "a").await.unwrap()).await;
    assert!(last.starts_with("a...") && last.len() == 501, "{last}");
    assert!(call("/99".into(), "b").await.is_err(), "another user's");
    assert!(call("/0".into(), "a").await.is_err(), "has gone");
    assert!(
        call("/large".into(), "a").await.is_err(),
        "too large to keep"
    );
}
