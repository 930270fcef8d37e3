//! What may follow a body.
//!
//! Some origins merge trailers into the headers, where they would pass for what was said in the
//! head. So nothing may stand in a trailer that frames, routes or authorises a message, says how
//! its content is to be read, or ends at this hop (RFC 9110, 6.5.1), nor, in a request, anything
//! that a gateway vouches for: the context, and on whose behalf the request is made. That holds
//! for whoever calls, since it is the head alone that was read, believed and rewritten here; at an
//! edge a stranger could otherwise say behind the body what was taken off before it.

use http::header::{self, HeaderMap, HeaderName};
use seawall::context::ContextHeader;

/// In neither direction.
const HOP_AND_FRAME: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// Not in a request. `If-…` and `X-Forwarded-…` are told by their beginnings.
const REQUEST: [HeaderName; 15] = [
    header::HOST,
    header::FORWARDED,
    header::VIA,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::RANGE,
    HeaderName::from_static("x-real-ip"),
];

const REQUEST_PREFIXES: [&str; 3] = ["seawall-", "x-forwarded-", "if-"];

/// Takes off a request's trailers what may not stand there.
pub(crate) fn to_origin(trailers: &mut HeaderMap) {
    remove(trailers, |name| {
        HOP_AND_FRAME.contains(name)
            || REQUEST.contains(name)
            || REQUEST_PREFIXES
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
            || ContextHeader::ALL
                .iter()
                .any(|header| header.name() == *name)
    });
}

/// Takes off a response's trailers what may not stand there.
pub(crate) fn to_client(trailers: &mut HeaderMap) {
    remove(trailers, |name| HOP_AND_FRAME.contains(name));
}

fn remove(trailers: &mut HeaderMap, may_not: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = trailers
        .keys()
        .filter(|name| may_not(name))
        .cloned()
        .collect();
    for name in names {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_rest_goes_on() {
        let names = [
            "connection",
            "seawall-anything",
            "grpc-timeout",
            "x-forwarded-port",
            "grpc-status",
            "content-digest",
            "server-timing",
        ];
        let mut request = HeaderMap::new();
        for name in names.into_iter().chain(names) {
            request.append(name, HeaderValue::from_static("1"));
        }
        let mut response = request.clone();
        to_origin(&mut request);
        let left = |map: &HeaderMap| names.map(|name| map.get_all(name).iter().count());
        assert_eq!(left(&request), [0, 0, 0, 0, 2, 2, 2]);
        to_client(&mut response);
        assert_eq!(left(&response), [0, 2, 2, 2, 2, 2, 2]);
    }
}
