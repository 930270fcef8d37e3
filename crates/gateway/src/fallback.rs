//! The answer that stands in for the upstream's.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
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

impl Fallback {
    /// `None` where none is stated.
    pub(crate) fn new(config: &FallbackConfig) -> Option<Self> {
        let body = config.body.as_ref()?;
        Some(Self {
            status: config.status,
            kind: HeaderValue::from_str(&config.content_type)
                .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream")),
            body: body.clone().into(),
            always: config.always,
        })
    }

    pub(crate) fn response(&self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::Own(self.body.clone()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        headers.insert(FALLBACK, HeaderValue::from_static("static"));
        response
    }
}
