//! Replies of our own, out of static parts.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use seawall::context::{Wire, names, reply};
use seawall_policy::{Advice, Reason, Rejection, Scope};

use crate::body::ResponseBody;

/// Says what went wrong between us and the origin, where a status alone could be the origin's own.
pub(crate) const ERROR: HeaderName = HeaderName::from_static("seawall-error");

/// What the gateway itself answers with, apart from rejections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    status: StatusCode,
    /// The same for gRPC.
    grpc: &'static str,
    error: &'static str,
    text: &'static str,
}

/// Something is wrong with the request.
pub(crate) const fn bad(status: StatusCode, text: &'static str) -> Own {
    Own {
        status,
        grpc: "3",
        error: "bad-request",
        text,
    }
}

/// The connection to the origin did not open in time.
pub(crate) const CONNECT_SLOW: Own = Own {
    status: StatusCode::GATEWAY_TIMEOUT,
    grpc: "14",
    error: "connect-timeout",
    text: "the origin does not accept connections",
};
/// The origin broke the exchange off.
pub(crate) const BROKE: Own = Own {
    status: StatusCode::BAD_GATEWAY,
    grpc: "14",
    error: "origin-broke",
    text: "the origin broke off, or its reply made no sense",
};
/// The origin did not answer in time.
pub(crate) const SLOW: Own = Own {
    status: StatusCode::GATEWAY_TIMEOUT,
    grpc: "4",
    error: "origin-timeout",
    text: "the origin did not answer in time",
};
/// The caller's time is up while the origin works.
pub(crate) const DEADLINE: Own = Own {
    status: StatusCode::GATEWAY_TIMEOUT,
    grpc: "4",
    error: "deadline",
    text: "the deadline passed before the origin answered",
};
/// The client's body stalled.
pub(crate) const BODY_SLOW: Own = Own {
    status: StatusCode::REQUEST_TIMEOUT,
    grpc: "4",
    error: "request-timeout",
    text: "the request body stalled",
};
/// The client's body broke off or is malformed.
pub(crate) const BODY_BAD: Own = bad(
    StatusCode::BAD_REQUEST,
    "the request body is malformed or incomplete",
);

impl Own {
    /// As a response.
    pub(crate) fn response(self, wire: Wire) -> Response<ResponseBody> {
        let (status, kind, body) = match wire {
            Wire::Http => (
                self.status,
                "text/plain",
                Bytes::from_static(self.text.as_bytes()),
            ),
            Wire::Grpc => (StatusCode::OK, "application/grpc", Bytes::new()),
        };
        let mut response = Response::new(ResponseBody::Own(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(ERROR, HeaderValue::from_static(self.error));
        if wire == Wire::Grpc {
            headers.insert(names::GRPC_STATUS, HeaderValue::from_static(self.grpc));
            headers.insert(names::GRPC_MESSAGE, HeaderValue::from_static(self.text));
        }
        response
    }
}

/// A rejection as a response.
pub(crate) fn rejected(rejection: Rejection, wire: Wire, random: u64) -> Response<ResponseBody> {
    reply(rejection, wire, random).map(ResponseBody::Own)
}

/// No connection to the origin: a rejection in form, but 502, since it is not load.
pub(crate) fn unreachable(wire: Wire) -> Response<ResponseBody> {
    let mut response = rejected(UNREACHABLE, wire, 0);
    if wire == Wire::Http {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    response
}

/// Why, where the origin cannot be reached.
pub(crate) const UNREACHABLE: Rejection = Rejection {
    reason: Reason::Unreachable,
    scope: Scope::Route,
    advice: Advice::Elsewhere,
};
