//! Confirming what is kept, on both sides: what a client has already, and what the origin says of
//! what we have (RFC 9110, 13; RFC 9111, 4.3).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::date::parse_date;

/// What a client's conditions come to, against what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has none, or another version: the whole answer.
    Answer,
    /// It has what is kept: 304.
    NotModified,
}

/// Looks at `If-None-Match`, and where there is none at `If-Modified-Since`.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header};
/// use seawall_cache::http::{Condition, conditions};
///
/// let mut kept = HeaderMap::new();
/// kept.insert(header::ETAG, HeaderValue::from_static("\"a\""));
/// let mut request = HeaderMap::new();
/// request.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"b\", W/\"a\""));
/// assert_eq!(conditions(&request, &kept), Condition::NotModified);
/// ```
#[must_use]
pub fn conditions(request: &HeaderMap, kept: &HeaderMap) -> Condition {
    let not_modified = if request.contains_key(header::IF_NONE_MATCH) {
        let has = kept.get(header::ETAG).map(opaque);
        let mut lines = request.get_all(header::IF_NONE_MATCH).iter();
        lines.any(|line| tags(line).any(|tag| tag == b"*" || Some(tag) == has))
    } else {
        let since = request.get(header::IF_MODIFIED_SINCE).and_then(parse_date);
        let modified = kept.get(header::LAST_MODIFIED).and_then(parse_date);
        matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
    };
    if not_modified {
        Condition::NotModified
    } else {
        Condition::Answer
    }
}

/// The entity tags of a list, without what makes them weak: a comma may stand in one.
fn tags(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut rest = line.as_bytes();
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        while let Some(more) = rest.strip_prefix(b",") {
            rest = more.trim_ascii_start();
        }
        if rest.is_empty() {
            return None;
        }
        let strong = rest.strip_prefix(b"W/").unwrap_or(rest);
        let quoted = strong.first() == Some(&b'"');
        let close = |bytes: &[u8]| bytes.iter().skip(1).position(|byte| *byte == b'"');
        let end = match close(strong) {
            Some(at) if quoted => at + 2,
            _ => strong
                .iter()
                .position(|byte| *byte == b',')
                .unwrap_or(strong.len()),
        };
        let (tag, after) = strong.split_at(end);
        rest = after;
        Some(tag.trim_ascii_end())
    })
}

fn opaque(tag: &HeaderValue) -> &[u8] {
    let tag = tag.as_bytes();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Makes a client's request into one by which what is kept is confirmed: its own conditions go, and
/// those of `kept` come. Without any, the whole answer is asked for.
pub fn revalidation(request: &mut HeaderMap, kept: Option<&HeaderMap>) {
    for name in [
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ] {
        request.remove(name);
    }
    let Some(kept) = kept else { return };
    for (has, asks) in [
        (header::ETAG, header::IF_NONE_MATCH),
        (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE),
    ] {
        if let Some(value) = kept.get(has) {
            request.insert(asks, value.clone());
        }
    }
}

/// What a 304 does not change: what frames the body, and what describes its bytes (RFC 9111, 3.2).
const UNCHANGED: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
];

/// The headers of what is kept after a 304 with `fresh` ones; `None` where that is about another
/// version, and what is kept is of no use.
#[must_use]
pub fn merged(kept: &HeaderMap, fresh: &HeaderMap) -> Option<HeaderMap> {
    if let Some(tag) = fresh.get(header::ETAG)
        && kept.get(header::ETAG).map(opaque) != Some(opaque(tag))
    {
        return None;
    }
    let mut merged = kept.clone();
    // Said of the one before.
    merged.remove(header::AGE);
    for name in fresh.keys().filter(|name| !UNCHANGED.contains(name)) {
        merged.remove(name);
        for value in fresh.get_all(name) {
            merged.append(name, value.clone());
        }
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let kept = headers(&[(header::ETAG, "\"a,b\""), (header::LAST_MODIFIED, OLD)]);
        let (none_match, since) = (header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE);
        for (request, not_modified) in [
            (vec![], false),
            (vec![(none_match.clone(), "\"a,b\"")], true),
            (vec![(none_match.clone(), "W/\"a,b\"")], true),
            (vec![(none_match.clone(), "\"x\" , \"a,b\"")], true),
            (
                vec![
                    (none_match.clone(), "\"x\""),
                    (none_match.clone(), "\"a,b\""),
                ],
                true,
            ),
            (vec![(none_match.clone(), "*")], true),
            (vec![(none_match.clone(), "\"a\"")], false),
            (vec![(none_match.clone(), "a,b")], false),
            (vec![(none_match.clone(), "\"a,b")], false),
            (vec![(none_match.clone(), "")], false),
            // The tag outranks the date.
            (
                vec![(none_match.clone(), "\"x\""), (since.clone(), NEW)],
                false,
            ),
            (vec![(since.clone(), OLD)], true),
            (vec![(since.clone(), NEW)], true),
            (vec![(since.clone(), "yesterday")], false),
        ] {
            let got = conditions(&headers(&request), &kept);
            assert_eq!(got == Condition::NotModified, not_modified, "{request:?}");
        }
        let none = headers(&[(none_match, "\"a\"")]);
        assert_eq!(conditions(&none, &HeaderMap::new()), Condition::Answer);
    }

    #[test]
    fn a_confirmation_changes_what_it_says() {
        let kept = headers(&[
            (header::ETAG, "\"a\""),
            (header::CONTENT_LENGTH, "5"),
            (header::AGE, "9"),
            (header::CACHE_CONTROL, "max-age=1"),
            (header::CONTENT_TYPE, "text/css"),
        ]);
        let fresh = headers(&[
            (header::ETAG, "W/\"a\""),
            (header::CONTENT_LENGTH, "0"),
            (header::CACHE_CONTROL, "max-age=60"),
            (header::DATE, NEW),
        ]);
        let merged = merged(&kept, &fresh).unwrap();
        let expected = headers(&[
            (header::ETAG, "W/\"a\""),
            (header::CONTENT_LENGTH, "5"),
            (header::CONTENT_TYPE, "text/css"),
            (header::CACHE_CONTROL, "max-age=60"),
            (header::DATE, NEW),
        ]);
        assert_eq!(merged, expected);
        let other = headers(&[(header::ETAG, "\"b\"")]);
        assert_eq!(super::merged(&kept, &other), None);
    }

    #[test]
    fn what_is_asked_of_the_origin_is_about_what_is_kept() {
        let mut request = headers(&[
            (header::IF_NONE_MATCH, "\"mine\""),
            (header::RANGE, "bytes=0-1"),
            (header::ACCEPT, "*/*"),
        ]);
        let kept = headers(&[(header::ETAG, "\"a\""), (header::LAST_MODIFIED, OLD)]);
        revalidation(&mut request, Some(&kept));
        let expected = [
            (header::ACCEPT, "*/*"),
            (header::IF_NONE_MATCH, "\"a\""),
            (header::IF_MODIFIED_SINCE, OLD),
        ];
        assert_eq!(request, headers(&expected));
        revalidation(&mut request, None);
        assert_eq!(request, headers(&expected[..1]));
    }
}
