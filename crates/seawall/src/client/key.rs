//! What two requests must have in common to have one answer.

use std::hash::{Hash, Hasher};

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::Body;

use super::outgoing::Outgoing;
use crate::Criticality;

/// Method, URI with its authority, tenant, criticality, and every header but those that say
/// nothing of the answer.
///
/// All the others, and not a list of those that are known to matter: `authorization` and `cookie`
/// name a user, but so may a header that nobody here has heard of, and to give one user another's
/// answer is worse than to ask twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    method: Method,
    uri: Uri,
    tenant: u64,
    criticality: Criticality,
    headers: Headers,
}

/// Sorted by name; the values of a name in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Hash for Headers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (name, value) in &self.0 {
            name.as_str().hash(state);
            value.as_bytes().hash(state);
        }
    }
}

impl Key {
    /// The key of a read without a body; `None` of any other request.
    pub(super) fn of<B: Body>(request: &Request<B>, outgoing: &Outgoing) -> Option<Self> {
        let method = request.method();
        let read = *method == Method::GET || *method == Method::HEAD;
        if !read || !request.body().is_end_stream() || has_upgrade(request.headers()) {
            return None;
        }
        let told = |(name, value): (&HeaderName, &HeaderValue)| {
            (!says_nothing(name)).then(|| (name.clone(), value.clone()))
        };
        let mut headers: Vec<_> = request.headers().iter().filter_map(told).collect();
        if let Some(kept) = &outgoing.kept {
            let tenant = kept.headers.iter().filter(|(name, _)| !says_nothing(name));
            headers.extend(tenant.cloned());
        }
        headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Some(Self {
            method: method.clone(),
            uri: request.uri().clone(),
            tenant: outgoing.call.tenant,
            criticality: outgoing.call.criticality,
            headers: Headers(headers),
        })
    }

    /// Memory that it takes, about.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.0.iter();
        let headers: usize = headers.map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
        headers + self.uri.path().len() + self.uri.query().map_or(0, str::len) + 128
    }
}

fn has_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// Who traces a call, how long its caller waits and how often it was tried has no part in what is
/// answered.
fn says_nothing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "traceparent"
            | "tracestate"
            | "x-request-id"
            | "seawall-timeout-ms"
            | "seawall-attempt"
            | "seawall-cost"
            | "seawall-under-way"
            | "x-envoy-expected-rq-timeout-ms"
            | "go-timeout"
            | "grpc-timeout"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tick;
    use crate::client::Body;

    fn key(uri: &str, headers: &[(&'static str, &'static str)]) -> Option<Key> {
        let mut request = Request::get(uri).body(Body::empty()).unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(*name, value);
        }
        let outgoing = Outgoing::of(&request, Tick::ZERO);
        Key::of(&request, &outgoing)
    }

    #[test]
    fn what_tells_requests_apart() {
        let uri = "http://a/x?y=1";
        let plain = key(uri, &[]);
        assert!(plain.is_some());
        for other in [
            "http://a/x?y=2",
            "http://b/x?y=1",
            "http://a:81/x?y=1",
            "http://a/X?y=1",
        ] {
            assert_ne!(key(other, &[]), plain, "{other}");
        }
        for name in [
            "authorization",
            "cookie",
            "accept",
            "accept-encoding",
            "accept-language",
            "range",
            "if-none-match",
            "seawall-tenant",
            "seawall-criticality",
            "x-user",
            "baggage",
            "user-agent",
            "host",
        ] {
            let one = key(uri, &[(name, "sheddable")]);
            assert_ne!(one, plain, "{name}");
            assert_ne!(key(uri, &[(name, "critical-plus")]), one, "{name}");
            assert_eq!(key(uri, &[(name, "sheddable")]), one, "{name}");
        }
    }

    #[test]
    fn what_does_not() {
        let uri = "http://a/x";
        for name in ["traceparent", "x-request-id", "seawall-timeout-ms"] {
            assert_eq!(key(uri, &[(name, "7")]), key(uri, &[]), "{name}");
        }
        let there = [("accept", "a"), ("x-user", "b"), ("accept", "c")];
        let back = [("x-user", "b"), ("accept", "a"), ("accept", "c")];
        assert_eq!(key(uri, &there), key(uri, &back), "their order");
        let turned = [("accept", "c"), ("accept", "a"), ("x-user", "b")];
        assert_ne!(key(uri, &there), key(uri, &turned), "that of one's values");
    }

    #[test]
    fn only_reads_without_a_body_have_one() {
        let outgoing = |request: &Request<Body>| Outgoing::of(request, Tick::ZERO);
        let mut request = Request::get("/x").body(Body::from("body")).unwrap();
        assert_eq!(Key::of(&request, &outgoing(&request)), None);
        *request.body_mut() = Body::empty();
        assert!(Key::of(&request, &outgoing(&request)).is_some());
        *request.method_mut() = Method::PUT;
        assert_eq!(Key::of(&request, &outgoing(&request)), None);
        assert_eq!(key("/x", &[("upgrade", "websocket")]), None);
    }
}
