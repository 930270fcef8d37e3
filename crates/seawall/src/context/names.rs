//! The names of the headers that carry the request context.

use http::HeaderName;

/// gRPC's own: up to eight digits and a unit, `H M S m u n`.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Ours: whole milliseconds that the caller still waits.
pub const TIMEOUT_MS: HeaderName = HeaderName::from_static("seawall-timeout-ms");
/// Envoy's: whole milliseconds that the proxy in front still waits.
pub const ENVOY_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// Sent by Go services: a duration as Go prints it (`1.5s`, `1m30s`), or whole milliseconds.
pub const GO_TIMEOUT: HeaderName = HeaderName::from_static("go-timeout");
/// One of [`Criticality::as_str`](seawall_policy::Criticality::as_str).
pub const CRITICALITY: HeaderName = HeaderName::from_static("seawall-criticality");
/// Who asks: an opaque name.
pub const TENANT: HeaderName = HeaderName::from_static("seawall-tenant");
/// Work in units, 1 to [`MAX_COST`](super::MAX_COST).
pub const COST: HeaderName = HeaderName::from_static("seawall-cost");
/// 0 for the first try, counted up by retries, to 255.
pub const ATTEMPT: HeaderName = HeaderName::from_static("seawall-attempt");
/// A signed mark of work already paid for; see [`UnderWay`](super::UnderWay).
pub const UNDER_WAY: HeaderName = HeaderName::from_static("seawall-under-way");
/// On a reply: it was retried below, so no layer above retries it again.
pub const RETRIED: HeaderName = HeaderName::from_static("seawall-retried");
/// On a reply: who refused, why, and whether and when to try again.
pub const REJECT: HeaderName = HeaderName::from_static("seawall-reject");
/// On a reply: how busy its host is; see [`load`](super::load).
pub const LOAD: HeaderName = HeaderName::from_static("seawall-load");
/// On a gRPC reply: milliseconds before a retry, negative to forbid one (gRFC A6).
pub const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// On a gRPC reply: the status code.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// On a gRPC reply: the status in words, percent-encoded.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
