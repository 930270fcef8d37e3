//! The admin listener: metrics, health, explanations.
//!
//! It has a thread of its own, so that it answers while every core is busy. It listens on loopback
//! unless a token is set; where one is, every request must bring it.

mod cache;
mod explain;
mod metrics;
mod upstreams;
mod visits;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::body::ResponseBody;
use crate::cache::Purge;
use crate::core::Shared;
use crate::signals;
use visits::Visits;

/// What the admin listener knows.
#[derive(Debug)]
pub(crate) struct Admin {
    shared: Arc<Shared>,
    started: Instant,
    registry: Registry,
}

impl Admin {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let registry = metrics::registry(shared.clone());
        Self {
            shared,
            started: Instant::now(),
            registry,
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<ResponseBody> {
        if !self.may(request.headers()) {
            let mut response = text(
                StatusCode::UNAUTHORIZED,
                "send `authorization: Bearer …` with admin.token\n",
            );
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        if request.uri().path() == "/cache/purge" {
            return self.purge(request);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        let plain = request
            .uri()
            .query()
            .is_some_and(|query| query.split('&').any(|part| part.starts_with("text")));
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" if self.shared.draining.load(Ordering::SeqCst) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            "/readyz" => text(StatusCode::OK, "ready\n"),
            "/metrics" => {
                const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                match metrics::encode(&self.registry) {
                    Ok(body) => reply(StatusCode::OK, KIND, body.into()),
                    Err(_) => text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "metrics cannot be encoded\n",
                    ),
                }
            }
            "/explain" => {
                let explained = explain::Explanation::of(&self.shared, self.started.elapsed());
                if plain {
                    reply(
                        StatusCode::OK,
                        "text/plain; charset=utf-8",
                        explained.to_string().into(),
                    )
                } else {
                    reply(
                        StatusCode::OK,
                        "application/json",
                        explained.to_json().into(),
                    )
                }
            }
            "/cache" => match serde_json::to_string(&cache::report(&self.shared)) {
                Ok(json) => reply(StatusCode::OK, "application/json", (json + "\n").into()),
                Err(_) => text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the cache's report cannot be encoded\n",
                ),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "/metrics, /healthz, /readyz, /explain, /explain?text, /cache, POST /cache/purge\n",
            ),
        }
    }

    /// Forgets responses that are kept.
    fn purge(&self, request: &Request<Incoming>) -> Response<ResponseBody> {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n");
        }
        // A page in the browser of someone who can reach us must not.
        if request.headers().contains_key(header::ORIGIN) {
            return text(StatusCode::FORBIDDEN, "not for web pages\n");
        }
        let Some(purge) = request.uri().query().and_then(Purge::read) else {
            return text(
                StatusCode::BAD_REQUEST,
                "?tag=TAG, ?url=http://HOST/PATH, ?prefix=http://HOST/PATH or ?all; /PATH for any host\n",
            );
        };
        let purged = self.shared.cache.purge(&purge);
        let body = format!("{{\"purged\":{purged}}}\n");
        reply(StatusCode::OK, "application/json", body.into())
    }

    /// Compares the whole of the token, whatever differs first.
    fn may(&self, headers: &HeaderMap) -> bool {
        let plan = self.shared.plan.load();
        let Some(token) = &plan.config.admin.token else {
            return true;
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .and_then(|(scheme, given)| scheme.eq_ignore_ascii_case(b"bearer ").then_some(given));
        given.is_some_and(|given| {
            let differ = given
                .iter()
                .zip(token.as_bytes())
                .fold(0, |differ, (a, b)| differ | (a ^ b));
            given.len() == token.len() && differ == 0
        })
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    reply(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Own(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Answers until `end`.
pub(crate) async fn serve(
    admin: Arc<Admin>,
    socket: std::net::TcpListener,
    end: impl Future<Output = ()>,
) {
    let Ok(listener) = TcpListener::from_std(socket) else {
        return;
    };
    tokio::select! {
        () = signals::pass_on(admin.shared.clone()) => {}
        () = accept(admin, listener) => {}
        () = end => {}
    }
}

async fn accept(admin: Arc<Admin>, listener: TcpListener) {
    let mut visits = Visits::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Descriptors are short.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (admin, visit) = (admin.clone(), visits.enter());
        tokio::spawn(async move { visit.serve(stream, |request| admin.answer(request)).await });
    }
}
