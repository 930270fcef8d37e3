//! Why an admin request has no answer, and what to do about it.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

/// An answer that is not the one asked for.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(
    not(feature = "jemalloc"),
    allow(dead_code, reason = "some are of profiles alone")
)]
pub(crate) enum Refused {
    #[error("{name}={value} makes no sense: {expected}\n")]
    Value {
        name: &'static str,
        value: String,
        expected: String,
    },
    #[error("there is no parameter {name:?}; there are: {known}\n")]
    Unknown { name: String, known: String },
    #[error(
        "another profile is being taken, for {} s more at most; ask again then, or end it by closing \
         its connection\n",
        left.as_secs() + 1
    )]
    Busy { left: Duration },
    #[error("{0}\n")]
    Inactive(&'static str),
    #[error("{0}\n")]
    Unavailable(&'static str),
    #[error("{0}\n")]
    Levels(String),
    #[error("it failed: {0}\n")]
    Failed(String),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Value { .. } | Self::Unknown { .. } | Self::Levels(_) => StatusCode::BAD_REQUEST,
            Self::Busy { .. } | Self::Inactive(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (self.status(), kind, self.to_string()).into_response()
    }
}
