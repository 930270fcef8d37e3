//! The level of the log, at run time.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::get;
use http::Uri;
use serde::Serialize;

use super::asked::{Asked, json};
use super::refused::Refused;
use crate::config::parse_time;
use crate::telemetry::{LevelHandle, Levels};

/// The most bytes of levels that are taken.
const MAX_BODY: usize = 16 * 1024;
/// The longest that levels can be set for a time.
const MAX_TIME: Duration = Duration::from_secs(24 * 3_600);

/// `/log-level` for the admin listener: GET tells the levels as JSON; PUT changes those that its body
/// names (`info,shop::biz=debug`), for good or with `?for=10m` for a time, 24 hours at most; DELETE
/// ends that time at once.
pub fn router(levels: LevelHandle) -> Router {
    let methods = get(tell).put(change).delete(end);
    Router::new()
        .route("/log-level", methods)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(levels)
}

#[derive(Serialize)]
struct Told {
    levels: String,
    /// What holds afterwards, where those are for a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    afterwards: Option<String>,
}

fn told(handle: &LevelHandle) -> Result<Response, Refused> {
    let (levels, lasting) = (handle.get(), handle.lasting());
    json(&Told {
        afterwards: (levels != lasting).then(|| lasting.to_string()),
        levels: levels.to_string(),
    })
}

async fn tell(State(handle): State<LevelHandle>) -> Result<Response, Refused> {
    told(&handle)
}

async fn change(
    State(handle): State<LevelHandle>,
    uri: Uri,
    body: String,
) -> Result<Response, Refused> {
    let asked = Asked::of(&uri, &["for"])?;
    let time = asked.text("for").map(time).transpose()?;
    let refused = |error: crate::telemetry::LevelsError| Refused::Levels(error.to_string());
    if body.trim().is_empty() {
        return Err(Refused::Levels("the body names no level".to_owned()));
    }
    let changed = |levels: Levels| levels.with(&body).map_err(refused);
    match time {
        None => handle.set(changed(handle.lasting())?),
        Some(time) => {
            let kept = handle.set_for_a_time(changed(handle.get())?);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                drop(kept);
            });
        }
    }
    told(&handle)
}

async fn end(State(handle): State<LevelHandle>) -> Result<Response, Refused> {
    handle.set(handle.lasting());
    told(&handle)
}

fn time(text: &str) -> Result<Duration, Refused> {
    let time = parse_time(text).ok();
    let time = time.filter(|time| !time.is_zero() && *time <= MAX_TIME);
    time.ok_or_else(|| Refused::Value {
        name: "for",
        value: text.to_owned(),
        expected: "a time of up to 24 hours, as in 10m or 30s".to_owned(),
    })
}
