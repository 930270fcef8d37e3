//! How a call was answered, and how it is refused.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tonic::Code as Grpc;

use crate::Outcome;
use crate::admission::outcome;
use crate::api::Error;
use crate::context::{Wire, names};

/// The code of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Http(u16),
    /// 0 to 16.
    Grpc(u8),
}

impl Code {
    /// By what the head says; of gRPC `None` unless it is trailers-only.
    pub(super) fn of_head(wire: Wire, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        match wire {
            Wire::Http => Some(Self::Http(status.as_u16())),
            Wire::Grpc => Self::of_trailers(headers),
        }
    }

    pub(super) fn of_trailers(trailers: &HeaderMap) -> Option<Self> {
        let code = trailers.get(names::GRPC_STATUS)?;
        Some(Self::Grpc(Grpc::from_bytes(code.as_bytes()) as i32 as u8))
    }

    /// The caller left before the answer was whole.
    pub(super) const fn gone(wire: Wire) -> Self {
        match wire {
            Wire::Http => Self::Http(499),
            Wire::Grpc => Self::Grpc(1),
        }
    }

    /// It broke off in the middle, or said nothing of how it went.
    pub(super) const fn broken(wire: Wire) -> Self {
        match wire {
            Wire::Http => Self::Http(500),
            Wire::Grpc => Self::Grpc(2),
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Http(499) | Self::Grpc(1) => Outcome::Ignored,
            Self::Http(status) => {
                StatusCode::from_u16(status).map_or(Outcome::Failure, outcome::by_status)
            }
            Self::Grpc(8 | 14) => Outcome::Overloaded,
            Self::Grpc(2 | 4 | 13 | 15) => Outcome::Failure,
            Self::Grpc(_) => Outcome::Success,
        }
    }

    /// The name that gRPC's code has everywhere; "" of a status.
    pub(super) const fn grpc_name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        match self {
            Self::Grpc(code) if (code as usize) < NAMES.len() => NAMES[code as usize],
            Self::Grpc(_) => "UNKNOWN",
            Self::Http(_) => "",
        }
    }
}

/// Among the extensions of a response: the reason by which it failed, for the access log. Put there
/// by the adapters of generated services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureReason(pub Cow<'static, str>);

/// A refusal or failure of the stack's own, in the format of every error: JSON by HTTP, a status
/// with its reason by gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Grpc,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

impl Refusal {
    /// A handler that panicked. Nothing of the panic is told to the caller.
    pub(super) const PANIC: Self = Self {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: Grpc::Internal,
        reason: "PANIC",
        message: "the service failed unexpectedly",
    };
    pub(super) const BODY_TOO_LARGE: Self = Self {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        code: Grpc::ResourceExhausted,
        reason: "BODY_TOO_LARGE",
        message: "the request's body is longer than this method takes",
    };
    pub(super) const DEADLINE: Self = Self {
        status: StatusCode::GATEWAY_TIMEOUT,
        code: Grpc::DeadlineExceeded,
        reason: "DEADLINE_EXCEEDED",
        message: "deadline exceeded",
    };
    pub(super) const IDLE: Self = Self {
        status: StatusCode::GATEWAY_TIMEOUT,
        code: Grpc::Unavailable,
        reason: "STREAM_IDLE",
        message: "the stream was silent for longer than it may be",
    };

    pub(super) fn response(self, wire: Wire) -> Response<Bytes> {
        match wire {
            Wire::Http => {
                let mut response = self.error().http_reply();
                if self.status == StatusCode::UNAUTHORIZED {
                    let bearer = HeaderValue::from_static("Bearer");
                    response
                        .headers_mut()
                        .insert(header::WWW_AUTHENTICATE, bearer);
                }
                response
            }
            Wire::Grpc => {
                let mut response = Response::new(Bytes::new());
                let kind = HeaderValue::from_static("application/grpc");
                *response.headers_mut() = self.trailers();
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
        }
    }

    /// As handlers say it.
    fn error(self) -> Error {
        Error::ours(self.code, self.reason, self.message).http_status(self.status)
    }

    /// gRPC's status, with `google.rpc.ErrorInfo` among its details.
    pub(super) fn trailers(self) -> HeaderMap {
        let status = tonic::Status::from(self.error());
        let mut trailers = HeaderMap::with_capacity(4);
        if status.add_header(&mut trailers).is_err() {
            let code = HeaderValue::from(self.code as i32);
            trailers.insert(names::GRPC_STATUS, code);
        }
        trailers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_the_format_of_errors() {
        let http = Refusal::PANIC.response(Wire::Http);
        assert_eq!(http.status(), 500);
        let json: serde_json::Value = serde_json::from_slice(http.body()).unwrap();
        let told = serde_json::json!({
            "code": 500, "status": "INTERNAL", "reason": "PANIC", "domain": "seawall",
            "message": Refusal::PANIC.message,
        });
        assert_eq!(json, told);
        let body = Refusal::BODY_TOO_LARGE.response(Wire::Http);
        let read = Error::from_http(body.status(), body.headers(), body.body());
        assert_eq!(
            (read.status(), read.reason()),
            (body.status(), "BODY_TOO_LARGE")
        );
        assert_eq!(read.code(), Grpc::ResourceExhausted);
        let grpc = Refusal::PANIC.response(Wire::Grpc);
        assert_eq!((grpc.status(), grpc.body().len()), (StatusCode::OK, 0));
        let status = tonic::Status::from_header_map(grpc.headers()).unwrap();
        assert_eq!(status.code(), Grpc::Internal);
        use tonic_types::StatusExt;
        let info = status.get_details_error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("PANIC", "seawall"));
    }

    #[test]
    fn every_code_has_its_name_and_outcome() {
        for code in 0..=u8::MAX {
            let grpc = Code::Grpc(code);
            let headers =
                HeaderMap::from_iter([(names::GRPC_STATUS, HeaderValue::from(u16::from(code)))]);
            if code < 17 {
                let read = Code::of_head(Wire::Grpc, StatusCode::OK, &headers);
                assert_eq!(read, Some(grpc));
                if code != 1 {
                    assert_eq!(outcome::by_grpc(&headers), Some(grpc.outcome()), "{code}");
                }
            } else {
                assert_eq!(grpc.grpc_name(), "UNKNOWN");
            }
        }
        assert_eq!(Code::gone(Wire::Http).outcome(), Outcome::Ignored);
    }
}
