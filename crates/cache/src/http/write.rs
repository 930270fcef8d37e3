//! What a write puts out of date (RFC 9111, 4.4).

use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri, header};

/// Whether a method changes nothing.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// The paths with queries, on the same host, that an answer to an unsafe request puts out of date:
/// its own, and those in `Location` and `Content-Location`. None where it failed.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
/// use seawall_cache::http::invalidates;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::LOCATION, HeaderValue::from_static("/posts/7"));
/// headers.insert(header::CONTENT_LOCATION, HeaderValue::from_static("http://elsewhere/posts"));
/// let paths = invalidates(&Method::POST, "a.example", "/posts", StatusCode::CREATED, &headers);
/// assert_eq!(paths, ["/posts", "/posts/7"]);
/// ```
#[must_use]
pub fn invalidates(
    method: &Method,
    host: &str,
    target: &str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Vec<String> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut paths = vec![target.to_owned()];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        for value in headers.get_all(name) {
            let named = value.to_str().ok().and_then(|text| on(host, target, text));
            if let Some(path) = named.filter(|path| !paths.contains(path)) {
                paths.push(path);
            }
        }
    }
    paths
}

/// The path of a reference, if it is on this host.
fn on(host: &str, target: &str, reference: &str) -> Option<String> {
    let reference = reference.trim();
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.is_empty() {
        return None;
    }
    if let Some(rest) = reference.strip_prefix("//") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        return same(host, authority).then(|| path.to_owned());
    }
    if reference.starts_with('/') {
        return Some(reference.to_owned());
    }
    if reference.contains("://") {
        let uri: Uri = reference.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        return same(host, uri.authority()?.as_str()).then(|| path.to_owned());
    }
    // Beside the target. What climbs is not followed: at worst it stays until it expires.
    let base = target.split('?').next().unwrap_or_default();
    let directory = &base[..=base.rfind('/')?];
    let climbs = reference.split('/').any(|part| part == "." || part == "..");
    (!climbs).then(|| format!("{directory}{reference}"))
}

fn same(host: &str, other: &str) -> bool {
    let name = |text: &str| -> Option<(String, u16)> {
        let authority: Authority = text.parse().ok()?;
        let port = authority.port_u16().unwrap_or(80);
        let port = if port == 443 { 80 } else { port };
        Some((authority.host().to_ascii_lowercase(), port))
    };
    name(host).is_some() && name(host) == name(other)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_write_reaches_its_own_host_alone() {
        for (location, also) in [
            ("/b?c=d", Some("/b?c=d")),
            ("http://A.example/b", Some("/b")),
            ("http://a.example:80/b#x", Some("/b")),
            ("//a.example/b", Some("/b")),
            ("b", Some("/x/b")),
            ("../b", None),
            ("http://b.example/b", None),
            ("http://a.example:81/b", None),
            ("//b.example/b", None),
            ("", None),
            ("http://", None),
            ("http://a.example@b.example/b", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            let paths = invalidates(
                &Method::PUT,
                "a.example",
                "/x/a?q",
                StatusCode::OK,
                &headers,
            );
            let expected: Vec<&str> = std::iter::once("/x/a?q").chain(also).collect();
            assert_eq!(paths, expected, "{location}");
        }
    }

    #[test]
    fn what_fails_or_reads_changes_nothing() {
        let headers = HeaderMap::new();
        for (method, status) in [
            (Method::GET, StatusCode::OK),
            (Method::HEAD, StatusCode::OK),
            (Method::POST, StatusCode::NOT_FOUND),
            (Method::POST, StatusCode::BAD_GATEWAY),
        ] {
            assert!(
                invalidates(&method, "a", "/", status, &headers).is_empty(),
                "{method}"
            );
        }
        let unknown = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!(
            invalidates(&unknown, "a", "/", StatusCode::FOUND, &headers),
            ["/"]
        );
    }
}
