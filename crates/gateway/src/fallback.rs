//! The answer that stands in for the upstream's.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use seawall::config::FallbackConfig;

use crate::body::ResponseBody;

/// Says that the answer is not the upstream's.
const FALLBACK: HeaderName = HeaderName::from_static("seawall-fallback");

/// A fixed answer.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    status: StatusCode,
    kind: HeaderValue,
    body: Bytes,
    /// The upstream is left alone.
    pub(crate) always: bool,
}

/// Whether an answer is one that stands in for the upstream's.
pub(crate) fn is_in(headers: &HeaderMap) -> bool {
    headers.contains_key(FALLBACK)
}

/// Says of an answer that it was the upstream's, and stands in for the one that failed.
pub(crate) fn stale(headers: &mut HeaderMap) {
    headers.insert(FALLBACK, HeaderValue::from_static("stale"));
}

impl Fallback {
    /// `None` where none is stated.
    pub(crate) fn new(config: &FallbackConfig) -> Option<Self> {
        let body = config.body.as_ref()?;
        Some(Self {
            status: config.status,
            kind: HeaderValue::from_str(&config.content_type)
                .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream")),
            body: match config.status {
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Bytes::new(),
                _ => body.clone().into(),
            },
            always: config.always,
        })
    }

    pub(crate) fn response(&self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::Own(self.body.clone()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        headers.insert(FALLBACK, HeaderValue::from_static("static"));
        // Nobody on the way is to keep it for the upstream's.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
