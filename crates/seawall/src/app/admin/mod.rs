//! What the program tells of itself: loopback, or with a token.
//!
//! Without a token, loopback is what protects it, and a browser on this machine is on loopback too: a
//! page whose name was pointed at 127.0.0.1 (DNS rebinding) could read all of it. Such a request names
//! that page's host, so one for a name that is not this machine's own is refused.

pub(crate) mod asked;
mod log_level;
pub(crate) mod refused;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};

use super::config::Secret;
use super::health::Health;
use super::lifecycle::Phase;
use super::metrics::Metrics;
use crate::telemetry::LevelHandle;

pub use log_level::router as log_level;

/// Shows the configuration in force, as JSON.
pub(super) type ShowConfig = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What the admin endpoints read.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) config: ShowConfig,
    pub(super) levels: Option<LevelHandle>,
}

/// All of them; `more` are the program's own, behind the same token.
pub(super) fn router(admin: Admin, token: Option<Secret>, more: Router) -> Router {
    // Who asks these has no token: a kubelet.
    let open = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready));
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/config", get(config))
        .with_state(admin.clone())
        .merge(more)
        .merge(admin.levels.clone().map(log_level).unwrap_or_default());
    #[cfg(feature = "profile")]
    let guarded = guarded.merge(crate::profile::router());
    let guarded = guarded
        .fallback(none)
        .layer(from_fn_with_state(token, guard));
    open.with_state(admin).merge(guarded)
}

/// Whether a request without a token is for this machine by a name of its own.
fn is_ours(request: &Request) -> bool {
    let host = request.headers().get(header::HOST);
    let authority = match (host, request.uri().authority()) {
        (Some(host), _) => host.to_str().ok().and_then(|host| host.parse().ok()),
        (None, authority) => authority.cloned(),
    };
    let authority: http::uri::Authority = match authority {
        Some(authority) => authority,
        // HTTP/1.0, which no browser speaks.
        None => return host.is_none(),
    };
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn guard(State(token): State<Option<Secret>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked(7))
        .and_then(|(scheme, given)| scheme.eq_ignore_ascii_case(b"bearer ").then_some(given));
    if token.is_none() && !is_ours(&request) {
        let text = "this machine's own, and asked for by another name: use 127.0.0.1 or localhost, or set admin.token\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if let Some(token) = token
        && !given.is_some_and(|given| token.is(given))
    {
        let text = "send `authorization: Bearer ...` with admin.token\n";
        let mut response = (StatusCode::UNAUTHORIZED, text).into_response();
        let bearer = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, bearer);
        return response;
    }
    next.run(request).await
}

async fn none() -> Response {
    const OURS: &str = "/livez, /readyz, /metrics, /config, /log-level";
    #[cfg(feature = "profile")]
    let text = format!(
        "{OURS}, /tasks, /runtime, /profile/cpu, /profile/heap, /profile/locks, /profile/blocking\n"
    );
    #[cfg(not(feature = "profile"))]
    let text = format!("{OURS}\n");
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.health.phase() {
        Phase::Serving => "ready\n".into_response(),
        phase => {
            let text = format!("{}\n", phase.as_str());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    let encoded = prometheus_client::encoding::text::encode(&mut text, &admin.metrics.lock());
    if encoded.is_err() {
        let text = "metrics cannot be encoded\n";
        return (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
    }
    ([(header::CONTENT_TYPE, KIND)], text).into_response()
}

async fn config(State(admin): State<Admin>) -> Response {
    json(&(admin.config)())
}

pub(super) fn json(value: &serde_json::Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, format!("{value:#}\n")).into_response()
}
