//! How a call ended, as the limit in front of it sees it.

use crate::context::{Wire, names};
use http::{HeaderMap, StatusCode};
use seawall_policy::Outcome;

/// By an HTTP status.
#[must_use]
pub fn by_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        429 | 503 => Outcome::Overloaded,
        500.. => Outcome::Failure,
        _ => Outcome::Success,
    }
}

/// By `grpc-status`, which stands in the trailers, or in the headers of a reply without a body.
#[must_use]
pub fn by_grpc(headers: &HeaderMap) -> Option<Outcome> {
    let code = headers.get(names::GRPC_STATUS)?;
    Some(match code.as_bytes() {
        // RESOURCE_EXHAUSTED, UNAVAILABLE
        b"8" | b"14" => Outcome::Overloaded,
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, DATA_LOSS
        b"2" | b"4" | b"13" | b"15" => Outcome::Failure,
        _ => Outcome::Success,
    })
}

/// By what a reply's head says; of gRPC, success unless it is trailers-only.
#[must_use]
pub fn of_head(status: StatusCode, headers: &HeaderMap, wire: Wire) -> Outcome {
    let trailers_only = match wire {
        Wire::Grpc => by_grpc(headers),
        Wire::Http => None,
    };
    trailers_only.unwrap_or_else(|| by_status(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn whose_fault() {
        for (status, outcome) in [
            (200, Outcome::Success),
            (404, Outcome::Success),
            (429, Outcome::Overloaded),
            (500, Outcome::Failure),
            (503, Outcome::Overloaded),
            (504, Outcome::Failure),
        ] {
            assert_eq!(
                by_status(StatusCode::from_u16(status).unwrap()),
                outcome,
                "{status}"
            );
        }
        for (code, outcome) in [
            ("0", Outcome::Success),
            ("5", Outcome::Success),
            ("8", Outcome::Overloaded),
            ("14", Outcome::Overloaded),
            ("13", Outcome::Failure),
            ("2", Outcome::Failure),
        ] {
            let headers =
                HeaderMap::from_iter([(names::GRPC_STATUS, HeaderValue::from_static(code))]);
            assert_eq!(by_grpc(&headers), Some(outcome), "{code}");
        }
        assert_eq!(by_grpc(&HeaderMap::new()), None);
    }
}
