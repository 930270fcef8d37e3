//! What a proxy must change in the headers it passes on, edited in place.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, StatusCode, Uri, Version};

use crate::answer::{self, Own};
use crate::client::Client;
use crate::origin::Origin;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 seawall");
const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 seawall");
const VIA_2: HeaderValue = HeaderValue::from_static("2 seawall");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

const fn bad(why: &'static str) -> Own {
    answer::bad(StatusCode::BAD_REQUEST, why)
}

/// Checks what hyper's parser leaves to us. Cheap enough for requests that are rejected after it.
pub(crate) fn check(parts: &Parts, names: Names) -> Result<(), Own> {
    if parts.method == Method::CONNECT {
        return Err(answer::bad(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT is refused: this is a gateway, not a tunnel",
        ));
    }
    if parts.version < Version::HTTP_2
        && parts.uri.scheme().is_none()
        && parts.uri.authority().is_some()
    {
        return Err(bad(
            "the request's target is neither a path nor a whole URL",
        ));
    }
    if names.has(Names::TRANSFER_ENCODING) && !only_chunked(&parts.headers) {
        return Err(answer::bad(
            StatusCode::NOT_IMPLEMENTED,
            "no Transfer-Encoding but chunked is known here",
        ));
    }
    if names.has(Names::VIA) && hops(&parts.headers) > MOST_HOPS {
        return Err(answer::bad(
            StatusCode::LOOP_DETECTED,
            "has been through gateways of this kind too often: they send it in a circle",
        ));
    }
    if names.has(Names::HOSTS) {
        Err(bad("more than one Host header"))
    } else if names.has(Names::BAD_HOST) {
        Err(bad("malformed Host header"))
    } else if !names.has(Names::HOST) && parts.version == Version::HTTP_11 {
        Err(bad("no Host header"))
    } else {
        Ok(())
    }
}

/// Gateways of this kind that a request may have been through.
const MOST_HOPS: usize = 16;

/// How many of the hops in `Via` were gateways of this kind.
fn hops(headers: &HeaderMap) -> usize {
    let lines = headers.get_all(header::VIA).iter();
    let hops = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    hops.filter(|hop| hop.trim_ascii_end().ends_with(b" seawall"))
        .count()
}

/// Whether `chunked`, once, is all of a message's transfer encoding.
pub(crate) fn only_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = values.next();
    first.is_some_and(|value| {
        value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    }) && values.next().is_none()
}

/// Which bytes a host may have.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'.' | b'-' | b':' | b'[' | b']' | b'_' | b'~' | b'%' | b'!' | b'$'
            );
        byte += 1;
    }
    table
};

fn is_host(byte: u8) -> bool {
    HOST_BYTES[usize::from(byte)]
}

/// Which of the headers that we ask about a message carries. One pass over its names finds all of
/// them, so that a message without any pays no look-up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names(u16);

impl Names {
    const CONNECTION: u16 = 1;
    pub(crate) const KEEP_ALIVE: u16 = 2;
    const PROXY_CONNECTION: u16 = 4;
    const TE: u16 = 8;
    pub(crate) const TRANSFER_ENCODING: u16 = 16;
    const UPGRADE: u16 = 32;
    pub(crate) const EXPECT: u16 = 64;
    const FORWARDED: u16 = 128;
    pub(crate) const CONTENT_TYPE: u16 = 256;
    const HOST: u16 = 512;
    /// More than one of them.
    const HOSTS: u16 = 1024;
    /// One with bytes that no host has.
    const BAD_HOST: u16 = 2048;
    const VIA: u16 = 4096;
    const HOP_BY_HOP: u16 = Self::CONNECTION
        | Self::KEEP_ALIVE
        | Self::PROXY_CONNECTION
        | Self::TRANSFER_ENCODING
        | Self::UPGRADE;

    pub(crate) fn find(headers: &HeaderMap) -> Self {
        let mut found = 0;
        for (name, value) in headers {
            found |= match name.as_str().len() {
                2 if name == header::TE => Self::TE,
                3 if name == header::VIA => Self::VIA,
                4 if name == header::HOST => Self::host(found, value),
                6 if name == header::EXPECT => Self::EXPECT,
                7 if name == header::UPGRADE => Self::UPGRADE,
                9 if name == header::FORWARDED => Self::FORWARDED,
                10 if name == header::CONNECTION => Self::CONNECTION,
                10 if *name == KEEP_ALIVE => Self::KEEP_ALIVE,
                12 if name == header::CONTENT_TYPE => Self::CONTENT_TYPE,
                15..=17 if name.as_str().starts_with("x-forwarded-") => Self::FORWARDED,
                16 if *name == PROXY_CONNECTION => Self::PROXY_CONNECTION,
                17 if name == header::TRANSFER_ENCODING => Self::TRANSFER_ENCODING,
                _ => 0,
            };
        }
        Self(found)
    }

    fn host(found: u16, value: &HeaderValue) -> u16 {
        let again = if found & Self::HOST == 0 {
            0
        } else {
            Self::HOSTS
        };
        if value.as_bytes().iter().all(|b| is_host(*b)) {
            Self::HOST | again
        } else {
            Self::HOST | Self::BAD_HOST | again
        }
    }

    pub(crate) fn has(self, what: u16) -> bool {
        self.0 & what != 0
    }

    /// Takes off everything that ends at this hop. An upgrade's own headers stay where it goes on.
    fn remove(self, headers: &mut HeaderMap, upgrade: bool) {
        if !self.has(Self::HOP_BY_HOP) {
            return;
        }
        if self.has(Self::CONNECTION) {
            remove_named(headers, upgrade);
        }
        for (what, name) in [
            (Self::KEEP_ALIVE, KEEP_ALIVE),
            (Self::PROXY_CONNECTION, PROXY_CONNECTION),
            (Self::TRANSFER_ENCODING, header::TRANSFER_ENCODING),
        ] {
            if self.has(what) {
                headers.remove(name);
            }
        }
        if self.has(Self::UPGRADE) && !upgrade {
            headers.remove(header::UPGRADE);
            headers.remove(HTTP2_SETTINGS);
        }
    }
}

/// Removes `Connection` and the headers that it names. Those that a message cannot do without are
/// not removed, whatever it says: naming them is an old way to blind the next hop.
fn remove_named(headers: &mut HeaderMap, upgrade: bool) {
    let Entry::Occupied(connection) = headers.entry(header::CONNECTION) else {
        return;
    };
    let values: Vec<HeaderValue> = connection.remove_entry_mult().1.collect();
    for value in &values {
        for token in value.as_bytes().split(|b| *b == b',') {
            let token = token.trim_ascii();
            if token.is_empty()
                || token.eq_ignore_ascii_case(b"close")
                || token.eq_ignore_ascii_case(b"keep-alive")
                || token.eq_ignore_ascii_case(b"upgrade")
            {
                continue;
            }
            let Ok(name) = HeaderName::from_bytes(token) else {
                continue;
            };
            let kept = [
                header::HOST,
                header::CONTENT_LENGTH,
                header::CONTENT_TYPE,
                header::AUTHORIZATION,
                FORWARDED_FOR,
            ];
            if !kept.contains(&name) && !name.as_str().starts_with("seawall-") {
                headers.remove(name);
            }
        }
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether an HTTP/1.1 request asks to change the protocol. Asking for HTTP/2 is passed over, as
/// RFC 9113, 3.1 has it: what went through such a tunnel would be requests that nobody admitted.
pub(crate) fn is_upgrade<B>(request: &Request<B>, names: Names) -> bool {
    request.version() == Version::HTTP_11
        && names.has(Names::UPGRADE)
        && names.has(Names::CONNECTION)
        && request
            .headers()
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| {
                value
                    .as_bytes()
                    .split(|b| *b == b',')
                    .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
            })
        && !request
            .headers()
            .get_all(header::UPGRADE)
            .iter()
            .any(|value| {
                value.as_bytes().split(|b| *b == b',').any(|token| {
                    let token = token.trim_ascii();
                    token.eq_ignore_ascii_case(b"h2c") || token.eq_ignore_ascii_case(b"h2")
                })
            })
}

/// Turns a client's request head into the one for the origin.
pub(crate) fn to_origin(
    parts: &mut Parts,
    hop: Names,
    client: &Client,
    origin: &Origin,
    http2: bool,
    upgrade: bool,
) -> Result<(), Own> {
    let trailers = hop.has(Names::TE) && wants_trailers(&parts.headers);
    let chunked = hop.has(Names::TRANSFER_ENCODING);
    hop.remove(&mut parts.headers, upgrade);
    if hop.has(Names::TE) && !trailers {
        parts.headers.remove(header::TE);
    } else if trailers {
        parts
            .headers
            .insert(header::TE, HeaderValue::from_static("trailers"));
        if !http2 {
            // Hop by hop, so HTTP/1.1 wants it named.
            parts
                .headers
                .insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if hop.has(Names::EXPECT) {
        // Answered on this side, as soon as the body is wanted.
        parts.headers.remove(header::EXPECT);
    }
    if chunked && !http2 {
        // hyper would leave the body of a GET out otherwise.
        parts.headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    if parts.version == Version::HTTP_2 && !http2 {
        join_cookies(&mut parts.headers);
    }
    let via = match parts.version {
        Version::HTTP_2 => VIA_2,
        Version::HTTP_10 => VIA_1_0,
        _ => VIA_1_1,
    };
    parts.headers.append(header::VIA, via);
    target(parts, hop, origin, http2)?;
    forwarded(&mut parts.headers, client, hop.has(Names::FORWARDED));
    if http2 {
        parts.headers.remove(header::HOST);
    }
    Ok(())
}

/// HTTP/2 splits cookies for its compression; HTTP/1.1 has one field (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(joined) = HeaderValue::try_from(joined) {
        headers.insert(header::COOKIE, joined);
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Puts the request's target into the form that the origin's protocol wants, and the host where it
/// belongs. A target with an authority outranks the `Host` header (RFC 9112, 3.2.2).
fn target(parts: &mut Parts, names: Names, origin: &Origin, http2: bool) -> Result<(), Own> {
    if let Some(authority) = parts.uri.authority() {
        if authority.as_str().contains('@') {
            return Err(bad("user information in the request's target"));
        }
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|_| bad("malformed authority"))?;
        parts.headers.insert(header::HOST, host);
    } else if !names.has(Names::HOST) {
        parts.headers.insert(header::HOST, origin.authority.clone());
    }
    parts.version = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    if http2 {
        let host = &parts.headers[header::HOST];
        let authority =
            Authority::try_from(host.as_bytes()).map_err(|_| bad("malformed Host header"))?;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(origin.scheme());
        uri.authority = Some(authority);
        uri.path_and_query = Some(path(&parts.uri));
        parts.uri = Uri::from_parts(uri).map_err(|_| bad("malformed target"))?;
    } else if parts.uri.authority().is_some() {
        parts.uri = Uri::from(path(&parts.uri));
    }
    Ok(())
}

fn path(uri: &Uri) -> PathAndQuery {
    uri.path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Says on whose behalf the request is made. What the client said of that is believed only from a
/// trusted network, and is replaced otherwise.
fn forwarded(headers: &mut HeaderMap, client: &Client, said: bool) {
    let host = headers[header::HOST].clone();
    let proto = if client.site.tls.is_some() {
        HTTPS
    } else {
        HTTP
    };
    if !said {
        headers.insert(FORWARDED_FOR, client.ip_value.clone());
        headers.insert(FORWARDED_PROTO, proto);
        headers.insert(FORWARDED_HOST, host);
        return;
    }
    if client.trusted {
        // One line: many readers look at the first only.
        let mut chain = Vec::with_capacity(64);
        for value in headers.get_all(FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(client.ip_value.as_bytes());
        let chain = HeaderValue::try_from(chain).unwrap_or_else(|_| client.ip_value.clone());
        headers.insert(FORWARDED_FOR, chain);
        headers.entry(FORWARDED_PROTO).or_insert(proto);
        headers.entry(FORWARDED_HOST).or_insert(host);
    } else {
        headers.remove(header::FORWARDED);
        headers.insert(FORWARDED_FOR, client.ip_value.clone());
        headers.insert(FORWARDED_PROTO, proto);
        headers.insert(FORWARDED_HOST, host);
    }
}

/// Turns an origin's response head into the one for the client.
pub(crate) fn to_client(parts: &mut http::response::Parts, names: Names, upgrade: bool) {
    if names.has(Names::TRANSFER_ENCODING) {
        // The encoding is what framed the body (RFC 9112, 6.3); the length may say anything.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    names.remove(&mut parts.headers, upgrade);
    parts.headers.append(
        header::VIA,
        if parts.version == Version::HTTP_2 {
            VIA_2
        } else {
            VIA_1_1
        },
    );
    parts.version = Version::HTTP_11;
}
