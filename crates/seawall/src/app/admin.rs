//! What the program tells of itself: loopback, or with a token.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload;

use super::config::Secret;
use super::health::Health;
use super::lifecycle::Phase;
use super::metrics::Metrics;
use super::settings::Levels;

/// What turns log lines on and off while the program runs.
pub(super) type LevelHandle = reload::Handle<Targets, Registry>;

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
        .route("/log-level", get(level).put(set_level))
        .with_state(admin.clone())
        .merge(more)
        .fallback(none)
        .layer(from_fn_with_state(token, guard));
    open.with_state(admin).merge(guarded)
}

async fn guard(State(token): State<Option<Secret>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked(7))
        .and_then(|(scheme, given)| scheme.eq_ignore_ascii_case(b"bearer ").then_some(given));
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
    let text = "/livez, /readyz, /metrics, /config, /log-level\n";
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

const NO_LEVELS: &str = "this program writes no log of its own\n";

async fn level(State(admin): State<Admin>) -> Response {
    let levels = admin.levels.and_then(|levels| levels.clone_current());
    match levels {
        Some(levels) => format!("{levels}\n").into_response(),
        None => (StatusCode::NOT_FOUND, NO_LEVELS).into_response(),
    }
}

/// In force until it is told otherwise, here or by a change of `log.level`.
async fn set_level(State(admin): State<Admin>, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, 4_096).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "at most 4 KiB\n").into_response();
    };
    let text = String::from_utf8_lossy(&body);
    let levels: Levels = match text.trim().parse() {
        Ok(levels) => levels,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    match admin
        .levels
        .map(|handle| handle.modify(|now| *now = levels.targets()))
    {
        Some(Ok(())) => {
            tracing::warn!(level = levels.as_str(), "log level set by hand");
            format!("{}\n", levels.as_str()).into_response()
        }
        _ => (StatusCode::NOT_FOUND, NO_LEVELS).into_response(),
    }
}
