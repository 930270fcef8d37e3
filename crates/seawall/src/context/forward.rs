//! Writing the context onto what goes on to the next hop.

use http::{HeaderMap, HeaderValue};
use seawall_policy::{Call, Criticality, Tick};

use super::extract::{ContextHeader, ContextHeaders, Trust};
use super::names;
use super::timeout::{grpc_value, millis_value};

/// Whether a request is gRPC, by its content type.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|v| {
        let v = v.as_bytes();
        v.starts_with(b"application/grpc") && matches!(v.get(16), None | Some(b'+' | b';' | b' '))
    })
}

/// Rewrites the context headers of a request that is about to be sent on at `now`.
///
/// What an edge's caller said of itself is taken off; a time limit that held comes back as what is
/// left of the deadline. What this hop knows is put on: the time that
/// is left of the deadline (as `seawall-timeout-ms`, and in the other forms that the request
/// carried or, for gRPC, must carry), and criticality, cost and attempt where they say more than
/// the default. A believed tenant and under-way mark stay as they are; so does `traceparent`,
/// which is never touched.
///
/// `seen` is [`Extracted::seen`](super::Extracted::seen) of the same headers. Where nothing was
/// seen and `call` holds nothing but defaults, nothing is looked up or written, unless the call has
/// a deadline: that is one header of its own.
///
/// A deadline at or before `now` is written as 0; the caller should have dropped the call instead.
pub fn forward(
    headers: &mut HeaderMap,
    trust: Trust,
    seen: ContextHeaders,
    call: &Call,
    now: Tick,
    grpc: bool,
) {
    if trust == Trust::Edge {
        for header in seen.iter() {
            headers.remove(header.name());
        }
    }
    let believed = if trust == Trust::Internal {
        seen
    } else {
        ContextHeaders::default()
    };
    forward_time(headers, believed, call, now, grpc);

    let mut put = |header: ContextHeader, says_more: bool, value: &dyn Fn() -> HeaderValue| {
        if says_more || believed.contains(header) {
            headers.insert(header.name(), value());
        }
    };
    put(
        ContextHeader::Criticality,
        call.criticality != Criticality::default(),
        &|| criticality_value(call.criticality),
    );
    put(ContextHeader::Cost, call.cost != 1, &|| {
        HeaderValue::from(call.cost)
    });
    put(ContextHeader::Attempt, call.attempt != 0, &|| {
        HeaderValue::from(u16::from(call.attempt))
    });
}

fn forward_time(
    headers: &mut HeaderMap,
    believed: ContextHeaders,
    call: &Call,
    now: Tick,
    grpc: bool,
) {
    const TIMES: [ContextHeader; 4] = [
        ContextHeader::GrpcTimeout,
        ContextHeader::TimeoutMs,
        ContextHeader::EnvoyTimeoutMs,
        ContextHeader::GoTimeout,
    ];
    if call.deadline == Tick::MAX {
        // Whatever was there was garbage, or it would have become the deadline.
        for header in TIMES.into_iter().filter(|h| believed.contains(*h)) {
            headers.remove(header.name());
        }
        return;
    }
    let left = call.deadline.since(now);
    let millis = millis_value(left);
    if believed.contains(ContextHeader::EnvoyTimeoutMs) {
        headers.insert(names::ENVOY_TIMEOUT_MS, millis.clone());
    }
    if believed.contains(ContextHeader::GoTimeout) {
        // A Go duration, which cannot be mistaken for another unit.
        headers.insert(names::GO_TIMEOUT, go_value(left.as_millis()));
    }
    if grpc || believed.contains(ContextHeader::GrpcTimeout) {
        headers.insert(names::GRPC_TIMEOUT, grpc_value(left));
    }
    headers.insert(names::TIMEOUT_MS, millis);
}

fn go_value(millis: u128) -> HeaderValue {
    HeaderValue::try_from(format!("{millis}ms")).unwrap_or_else(|_| HeaderValue::from_static("0s"))
}

/// A criticality as a header's value; no allocation.
#[must_use]
pub const fn criticality_value(criticality: Criticality) -> HeaderValue {
    HeaderValue::from_static(criticality.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Reader;
    use http::Method;
    use std::time::Duration;

    const NOW: Tick = Tick::from_millis(1_000);

    fn hop(
        trust: Trust,
        pairs: &[(&'static str, &'static str)],
        used: u64,
        grpc: bool,
    ) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        let read = Reader {
            trust,
            ..Reader::default()
        }
        .read(&Method::GET, &map, NOW);
        forward(
            &mut map,
            trust,
            read.seen,
            &read.call,
            NOW + Duration::from_millis(used),
            grpc,
        );
        let mut out: Vec<_> = map
            .iter()
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect();
        out.sort();
        out
    }

    #[test]
    fn a_hop_subtracts_what_it_used() {
        let sent = hop(Trust::Internal, &[("seawall-timeout-ms", "250")], 30, false);
        assert_eq!(sent, ["seawall-timeout-ms: 220"]);
        let sent = hop(
            Trust::Internal,
            &[
                ("grpc-timeout", "1S"),
                ("x-envoy-expected-rq-timeout-ms", "900"),
                ("go-timeout", "2s"),
            ],
            100,
            false,
        );
        assert_eq!(
            sent,
            [
                "go-timeout: 800ms",
                "grpc-timeout: 800000u",
                "seawall-timeout-ms: 800",
                "x-envoy-expected-rq-timeout-ms: 800"
            ]
        );
        let sent = hop(Trust::Internal, &[("seawall-timeout-ms", "250")], 50, true);
        assert_eq!(sent, ["grpc-timeout: 200000u", "seawall-timeout-ms: 200"]);
    }

    #[test]
    fn time_that_is_up_is_zero() {
        let sent = hop(Trust::Internal, &[("seawall-timeout-ms", "250")], 900, true);
        assert_eq!(sent, ["grpc-timeout: 1n", "seawall-timeout-ms: 0"]);
    }

    #[test]
    fn repeated_and_malformed_ones_leave_as_one_or_none() {
        let sent = hop(
            Trust::Internal,
            &[("seawall-timeout-ms", "250"), ("seawall-timeout-ms", "90")],
            10,
            false,
        );
        assert_eq!(sent, ["seawall-timeout-ms: 80"]);
        let sent = hop(
            Trust::Internal,
            &[("go-timeout", "soon"), ("seawall-cost", "-3")],
            10,
            false,
        );
        assert_eq!(sent, ["seawall-cost: 1"]);
    }

    #[test]
    fn inside_the_rest_travels_on() {
        let sent = hop(
            Trust::Internal,
            &[
                ("seawall-criticality", "sheddable"),
                ("seawall-tenant", "acme"),
                ("seawall-cost", "3"),
                ("seawall-attempt", "1"),
                ("seawall-under-way", "mark"),
                (
                    "traceparent",
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                ),
            ],
            0,
            false,
        );
        assert_eq!(sent.len(), 6);
        assert!(
            sent.contains(&"seawall-tenant: acme".into())
                && sent.contains(&"seawall-under-way: mark".into())
        );
        assert!(sent.iter().any(|h| h.starts_with("traceparent: 00-0af")));
    }

    #[test]
    fn forged_ones_end_at_the_edge() {
        let sent = hop(
            Trust::Edge,
            &[
                ("host", "shop"),
                (
                    "traceparent",
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                ),
                ("seawall-timeout-ms", "9000"),
                ("grpc-timeout", "1S"),
                ("go-timeout", "2s"),
                ("x-envoy-expected-rq-timeout-ms", "3000"),
                ("seawall-criticality", "critical-plus"),
                ("seawall-tenant", "victim"),
                ("seawall-cost", "1"),
                ("seawall-attempt", "0"),
                ("seawall-under-way", "forged"),
                ("seawall-under-way", "twice"),
            ],
            0,
            false,
        );
        assert_eq!(
            sent,
            [
                "host: shop",
                "seawall-timeout-ms: 1000",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            ]
        );
    }

    #[test]
    fn what_a_route_decided_is_said() {
        let mut map = HeaderMap::new();
        let call = Call {
            criticality: Criticality::Sheddable,
            cost: 5,
            attempt: 1,
            deadline: NOW + Duration::from_secs(1),
            ..Call::default()
        };
        forward(
            &mut map,
            Trust::Edge,
            ContextHeaders::default(),
            &call,
            NOW,
            false,
        );
        assert_eq!(map[names::CRITICALITY], "sheddable");
        assert_eq!(map[names::COST], "5");
        assert_eq!(map[names::ATTEMPT], "1");
        assert_eq!(map[names::TIMEOUT_MS], "1000");
    }

    #[test]
    fn grpc_by_content_type() {
        for (value, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let map = HeaderMap::from_iter([(
                http::header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]);
            assert_eq!(is_grpc(&map), grpc, "{value}");
        }
    }
}
