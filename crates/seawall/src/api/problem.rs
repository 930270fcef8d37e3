//! An [`Error`] as an HTTP reply, and back.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tonic::Code;

use super::error::{Error, Violation};
use super::status::{code_name, code_of};

/// The body. `code` is the HTTP status; `status` the code's own name, since several codes share an
/// HTTP status.
#[derive(Serialize, Deserialize)]
struct Told<'a> {
    code: u16,
    #[serde(default)]
    status: Cow<'a, str>,
    reason: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    domain: Cow<'a, str>,
    #[serde(default)]
    message: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: Facts<'a>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Field<'a>>,
}

type Facts<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

#[derive(Serialize, Deserialize)]
struct Field<'a> {
    field: Cow<'a, str>,
    rule: Cow<'a, str>,
    message: Cow<'a, str>,
}

impl Error {
    /// The HTTP status: that of the code, by the table of `google.rpc.Code`.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner
            .status
            .unwrap_or_else(|| of_code(self.inner.code))
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let inner = &*self.inner;
        let text = Told {
            code: self.status().as_u16(),
            status: code_name(inner.code).into(),
            reason: (&*inner.reason).into(),
            domain: (&*inner.domain).into(),
            message: (&*inner.message).into(),
            metadata: inner
                .metadata
                .iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
            violations: inner.violations.iter().map(Field::of).collect(),
        };
        serde_json::to_vec(&text).unwrap_or_default()
    }

    /// The whole reply.
    #[must_use]
    pub fn into_http(self) -> Response<Body> {
        self.http_reply().map(Body::from)
    }

    pub(crate) fn http_reply(&self) -> Response<Bytes> {
        let mut reply = Response::new(Bytes::from(self.body()));
        *reply.status_mut() = self.status();
        let headers = reply.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(wait) = self.inner.retry_after {
            let seconds = wait
                .as_secs()
                .saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        reply
    }

    /// What another service answered over HTTP. A body that is not of ours counts for nothing but
    /// its status; a rejection of Seawall's keeps its reason, scope and advice.
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode};
    /// use seawall::api::{Code, Error};
    ///
    /// let sent = Error::new(Code::Aborted, "CHANGED", "somebody else was faster");
    /// let read = Error::from_http(sent.status(), &HeaderMap::new(), &sent.body());
    /// assert_eq!((read.code(), read.reason()), (Code::Aborted, "CHANGED"));
    /// let read = Error::from_http(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"<html>");
    /// assert_eq!((read.code(), read.reason()), (Code::Unavailable, "UNAVAILABLE"));
    /// ```
    #[must_use]
    pub fn from_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut error = match serde_json::from_slice::<Told<'_>>(body) {
            Ok(told) => told.into_error(status),
            Err(_) => {
                let code = of_status(status);
                Self::new(code, code_name(code), format!("HTTP status {status}"))
            }
        };
        error.inner.retry_after = Self::waited_for(headers);
        error.rejected(headers)
    }
}

impl Told<'_> {
    fn into_error(self, status: StatusCode) -> Error {
        let told = code_of(&self.status).filter(|code| *code != Code::Ok);
        let code = told.unwrap_or_else(|| of_status(status));
        let message = self.message.into_owned();
        let mut error =
            Error::new(code, self.reason.into_owned(), message).domain(self.domain.into_owned());
        let fails = status.is_client_error() || status.is_server_error();
        if fails && of_code(code) != status {
            error = error.http_status(status);
        }
        for (key, value) in self.metadata {
            error = error.with(key, value);
        }
        for field in self.violations {
            error = error.violating(field.into_violation());
        }
        error
    }
}

impl<'a> Field<'a> {
    fn of(violation: &'a Violation) -> Self {
        Self {
            field: (&*violation.field).into(),
            rule: (&*violation.rule).into(),
            message: (&*violation.message).into(),
        }
    }

    fn into_violation(self) -> Violation {
        Violation {
            field: self.field.into_owned(),
            rule: Cow::Owned(self.rule.into_owned()),
            message: self.message.into_owned(),
        }
    }
}

fn of_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // "Client closed request": nginx's, not registered.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn of_status(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 411 | 413..=415 | 422 | 431 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 410 => Code::NotFound,
        405 | 501 => Code::Unimplemented,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        412 | 428 => Code::FailedPrecondition,
        429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        502 | 503 => Code::Unavailable,
        500..=599 => Code::Internal,
        _ => Code::Unknown,
    }
}
