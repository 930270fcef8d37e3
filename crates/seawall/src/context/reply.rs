//! A [`Rejection`] on the wire.
//!
//! | what | HTTP | gRPC |
//! |---|---|---|
//! | the caller is over its own share ([`Scope::Tenant`]) | 429 | RESOURCE_EXHAUSTED |
//! | we are over ours, including a deadline that our queue cannot meet | 503 | UNAVAILABLE |
//! | the deadline had passed on arrival ([`deadline_passed`]) | 504 | DEADLINE_EXCEEDED |
//!
//! The reject path is the cheapest there is: bodies, messages and every value without a number are
//! static; the only text made per reply is that of the wait.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use seawall_policy::{Advice, Reason, Rejection, Scope};

use super::{is_grpc, names};

/// The language of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Plain HTTP: the status says it.
    Http,
    /// gRPC "trailers only": 200, and the status in the headers. Send it without a body.
    Grpc,
}

impl Wire {
    /// That of a request with these headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        if is_grpc(headers) {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

/// The longest `retry-after`, whatever is advised: one hour.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The reply to a rejected call.
///
/// `random` spreads the callers out, any 64 random bits: `seawall-reject` and
/// `grpc-retry-pushback-ms` carry the advised wait `w` jittered over `w..2w`, `retry-after` the
/// same in whole seconds over `⌈w⌉..=2⌈w⌉`. Never less than was advised.
///
/// ```
/// use seawall::context::{Wire, reply};
/// use seawall_policy::{Advice, Reason, Rejection, Scope};
/// use std::time::Duration;
///
/// let full = Rejection {
///     reason: Reason::QueueFull,
///     scope: Scope::Host,
///     advice: Advice::After(Duration::from_millis(100)),
/// };
/// let reply = reply(full, Wire::Http, 0);
/// assert_eq!(reply.status(), 503);
/// assert_eq!(reply.headers()["retry-after"], "1");
/// assert_eq!(reply.headers()["seawall-reject"], "reason=queue-full; scope=host; after_ms=100");
/// ```
#[must_use]
pub fn reply(rejection: Rejection, wire: Wire, random: u64) -> Response<Bytes> {
    let (status, code) = match rejection.scope {
        Scope::Tenant => (StatusCode::TOO_MANY_REQUESTS, "8"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "14"),
    };
    let mut reply = bare(wire, status, code, text(rejection.reason));
    advise(reply.headers_mut(), rejection, wire, random);
    reply
}

/// The reply to a call whose deadline had passed when it arrived: nobody waits for it, and trying
/// again with the same deadline is of no use.
#[must_use]
pub fn deadline_passed(wire: Wire) -> Response<Bytes> {
    let mut reply = bare(
        wire,
        StatusCode::GATEWAY_TIMEOUT,
        "4",
        "deadline exceeded on arrival\n",
    );
    let rejection = Rejection {
        reason: Reason::Deadline,
        scope: Scope::Route,
        advice: Advice::No,
    };
    advise(reply.headers_mut(), rejection, wire, 0);
    reply
}

fn bare(wire: Wire, status: StatusCode, code: &'static str, text: &'static str) -> Response<Bytes> {
    let mut headers = HeaderMap::with_capacity(6);
    let (status, body) = match wire {
        Wire::Http => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            (status, Bytes::from_static(text.as_bytes()))
        }
        Wire::Grpc => {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            );
            headers.insert(names::GRPC_STATUS, HeaderValue::from_static(code));
            // A header has no line's end.
            let message = HeaderValue::from_static(text.trim_end());
            headers.insert(names::GRPC_MESSAGE, message);
            (StatusCode::OK, Bytes::new())
        }
    };
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

fn advise(headers: &mut HeaderMap, rejection: Rejection, wire: Wire, random: u64) {
    let Advice::After(wait) = rejection.advice else {
        if rejection.advice == Advice::No && wire == Wire::Grpc {
            headers.insert(names::GRPC_PUSHBACK, HeaderValue::from_static("-1"));
        }
        headers.insert(names::REJECT, fixed_reject(rejection));
        return;
    };
    let wait = wait.min(MAX_RETRY_AFTER);
    let millis = wait.as_millis() as u64;
    let after = millis + below(random, millis + 1);
    match wire {
        Wire::Http => {
            let seconds = millis.div_ceil(1_000).max(1);
            headers.insert(
                header::RETRY_AFTER,
                number(seconds + below(random.rotate_left(32), seconds + 1)),
            );
        }
        Wire::Grpc => {
            headers.insert(names::GRPC_PUSHBACK, number(after));
        }
    }
    headers.insert(names::REJECT, reject_after(rejection, after));
}

/// A number below `n`, out of 64 random bits (Lemire's multiply and shift).
fn below(random: u64, n: u64) -> u64 {
    ((u128::from(random) * u128::from(n)) >> 64) as u64
}

fn number(n: u64) -> HeaderValue {
    const SMALL: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    match SMALL.get(n as usize) {
        Some(text) => HeaderValue::from_static(text),
        None => HeaderValue::from(n),
    }
}

fn reject_after(rejection: Rejection, after: u64) -> HeaderValue {
    // 24 + 9 + 27 + 20 at most; a longer name would be cut, and a test counts them.
    let mut text = [0u8; 96];
    let mut rest = &mut text[..];
    let (reason, scope) = (rejection.reason.as_str(), rejection.scope.as_str());
    let _ = write!(rest, "reason={reason}; scope={scope}; after_ms={after}");
    let free = rest.len();
    let len = text.len() - free;
    HeaderValue::from_bytes(&text[..len])
        .unwrap_or_else(|_| HeaderValue::from_static("reason=admission"))
}

/// `seawall-reject` where no number is in it: one static text for each combination.
fn fixed_reject(rejection: Rejection) -> HeaderValue {
    macro_rules! table {
        ($($reason:ident $name:literal),+) => {
            match (rejection.reason, rejection.scope, rejection.advice == Advice::No) {
                $(
                    (Reason::$reason, Scope::Host, true) => concat!("reason=", $name, "; scope=host; retry=no"),
                    (Reason::$reason, Scope::Host, false) => concat!("reason=", $name, "; scope=host; retry=elsewhere"),
                    (Reason::$reason, Scope::Route, true) => concat!("reason=", $name, "; scope=route; retry=no"),
                    (Reason::$reason, Scope::Route, false) => concat!("reason=", $name, "; scope=route; retry=elsewhere"),
                    (Reason::$reason, Scope::Tenant, true) => concat!("reason=", $name, "; scope=tenant; retry=no"),
                    (Reason::$reason, Scope::Tenant, false) => concat!("reason=", $name, "; scope=tenant; retry=elsewhere"),
                    (Reason::$reason, Scope::Cluster, true) => concat!("reason=", $name, "; scope=cluster; retry=no"),
                    (Reason::$reason, Scope::Cluster, false) => concat!("reason=", $name, "; scope=cluster; retry=elsewhere"),
                )+
            }
        };
    }
    HeaderValue::from_static(table!(
        Admission "admission",
        QueueFull "queue-full",
        QueueTimeout "queue-timeout",
        Deadline "deadline",
        Lane "lane",
        Quota "quota",
        Unreachable "unreachable",
        Draining "draining",
        Breaker "breaker",
        Gutter "gutter"
    ))
}

/// What a person reads.
const fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::Admission => "overloaded: calls that matter more go first\n",
        Reason::QueueFull => "overloaded: the queue is full\n",
        Reason::QueueTimeout => "overloaded: waited in the queue as long as a call may\n",
        Reason::Deadline => "overloaded: the deadline cannot be met\n",
        Reason::Lane => "overloaded: the lane is at its limit\n",
        Reason::Quota => "the quota is used up\n",
        Reason::Unreachable => "the origin cannot be reached\n",
        Reason::Draining => "shutting down\n",
        Reason::Breaker => "the origin fails: its breaker is open\n",
        Reason::Gutter => "the origin fails, and what stands in for it is at its limit\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCOPES: [Scope; 4] = [Scope::Host, Scope::Route, Scope::Tenant, Scope::Cluster];

    fn value<'a>(reply: &'a Response<Bytes>, name: &str) -> &'a str {
        reply
            .headers()
            .get(name)
            .map_or("", |v| v.to_str().unwrap())
    }

    #[test]
    fn whose_fault_it_is() {
        for scope in SCOPES {
            let rejection = Rejection {
                reason: Reason::Quota,
                scope,
                advice: Advice::Elsewhere,
            };
            let http = reply(rejection, Wire::Http, 0);
            let grpc = reply(rejection, Wire::Grpc, 0);
            assert_eq!(grpc.status(), 200);
            assert!(grpc.body().is_empty() && http.body().ends_with(b"\n"));
            if scope == Scope::Tenant {
                assert_eq!(
                    (http.status().as_u16(), value(&grpc, "grpc-status")),
                    (429, "8")
                );
            } else {
                assert_eq!(
                    (http.status().as_u16(), value(&grpc, "grpc-status")),
                    (503, "14")
                );
            }
            assert_eq!(value(&grpc, "content-type"), "application/grpc");
        }
    }

    #[test]
    fn a_passed_deadline_is_the_callers_own() {
        let http = deadline_passed(Wire::Http);
        assert_eq!(http.status(), 504);
        assert_eq!(
            value(&http, "seawall-reject"),
            "reason=deadline; scope=route; retry=no"
        );
        assert_eq!(value(&http, "retry-after"), "");
        let grpc = deadline_passed(Wire::Grpc);
        assert_eq!(
            (
                value(&grpc, "grpc-status"),
                value(&grpc, "grpc-retry-pushback-ms")
            ),
            ("4", "-1")
        );
    }

    #[test]
    fn every_combination_speaks_with_the_policys_names() {
        for reason in Reason::ALL {
            for scope in SCOPES {
                let (r, s) = (reason.as_str(), scope.as_str());
                let says = |advice| {
                    value(
                        &reply(
                            Rejection {
                                reason,
                                scope,
                                advice,
                            },
                            Wire::Http,
                            0,
                        ),
                        "seawall-reject",
                    )
                    .to_owned()
                };
                assert_eq!(says(Advice::No), format!("reason={r}; scope={s}; retry=no"));
                assert_eq!(
                    says(Advice::Elsewhere),
                    format!("reason={r}; scope={s}; retry=elsewhere")
                );
                let longest = says(Advice::After(Duration::MAX));
                assert_eq!(longest, format!("reason={r}; scope={s}; after_ms=3600000"));
                assert_eq!(
                    value(
                        &reply(
                            Rejection {
                                reason,
                                scope,
                                advice: Advice::No
                            },
                            Wire::Grpc,
                            0
                        ),
                        "grpc-retry-pushback-ms"
                    ),
                    "-1"
                );
                assert!(
                    text(reason)
                        .trim_end()
                        .bytes()
                        .all(|b| (b' '..=b'~').contains(&b) && b != b'%'),
                    "grpc-message"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn never_sooner_than_advised_never_later_than_twice(ms in 0u64..3_600_000, random: u64) {
            let rejection = Rejection { reason: Reason::Admission, scope: Scope::Host, advice: Advice::After(Duration::from_millis(ms)) };
            let http = reply(rejection, Wire::Http, random);
            let whole: u64 = value(&http, "retry-after").parse().unwrap();
            let least = ms.div_ceil(1_000).max(1);
            prop_assert!((least..=2 * least).contains(&whole));
            let grpc = reply(rejection, Wire::Grpc, random);
            let pushback: u64 = value(&grpc, "grpc-retry-pushback-ms").parse().unwrap();
            prop_assert!((ms..=2 * ms).contains(&pushback));
            let expected = format!("reason=admission; scope=host; after_ms={pushback}");
            prop_assert_eq!(value(&grpc, "seawall-reject"), expected);
        }
    }
}
