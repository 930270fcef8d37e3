//! A response that is kept, and what is made of it for a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use seawall_cache::http::{Condition, Kept, Part, Selected, Vary, conditions, part};
use seawall_policy::Tick;

use super::status::{self, CACHE_STATUS, HIT, age};
use crate::body::ResponseBody;

/// What a response is purged by.
const TAGS: [HeaderName; 2] = [
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("cache-tag"),
];
/// Of more tags than this, the rest is not heeded.
const MOST_TAGS: usize = 256;
/// After a call in the background that failed, this passes before the next.
const PAUSE: Duration = Duration::from_secs(1);
/// What an entry takes beside its headers and body, about.
const OVERHEAD: usize = 512;

/// Everything but the body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// As they are served, but for the value of `age`.
    pub(super) headers: HeaderMap,
    pub(super) kept: Kept,
    pub(super) vary: Vary,
    pub(super) selected: Selected,
    tags: Box<[Box<[u8]>]>,
}

/// A response that is kept.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) key: Box<[u8]>,
    pub(super) head: Arc<Head>,
    pub(super) body: Bytes,
    /// No call in the background before.
    again: AtomicU64,
}

impl Head {
    pub(super) fn new(
        status: StatusCode,
        mut headers: HeaderMap,
        kept: Kept,
        vary: Vary,
        selected: Selected,
    ) -> Self {
        let tags = tags(&headers);
        // In their places, so that a hit need not make room.
        headers.insert(header::AGE, age(Duration::ZERO));
        headers.append(CACHE_STATUS, HIT);
        Self {
            status,
            headers,
            kept,
            vary,
            selected,
            tags,
        }
    }

    /// The same, told apart by more.
    pub(super) fn apart(other: &Self, vary: Vary, selected: Selected) -> Self {
        Self {
            status: other.status,
            headers: other.headers.clone(),
            kept: other.kept,
            vary,
            selected,
            tags: other.tags.clone(),
        }
    }

    /// The headers, with this age and status, for a listener that shows tags or does not.
    fn headers(&self, at: Option<Tick>, status: &HeaderValue, tagged: bool) -> HeaderMap {
        let mut headers = self.headers.clone();
        match at {
            Some(now) => {
                headers.insert(header::AGE, age(self.kept.age_at(now)));
            }
            // It has just come: its age is what others say.
            None if self.kept.age < Duration::from_secs(1) => {
                headers.remove(header::AGE);
            }
            None => {
                headers.insert(header::AGE, age(self.kept.age));
            }
        }
        if *status != HIT {
            status::replace(&mut headers, status);
        }
        if !tagged && !self.tags.is_empty() {
            hide_tags(&mut headers);
        }
        headers
    }

    /// The answer to who has it already.
    pub(super) fn not_modified(
        &self,
        request: &Parts,
        status: &HeaderValue,
        tagged: bool,
    ) -> Option<Response<ResponseBody>> {
        let has = conditions(&request.headers, &self.headers) == Condition::NotModified;
        let headers = || self.headers(None, status, tagged);
        (has && self.status.is_success()).then(|| not_modified(headers()))
    }

    /// Itself, as it has just come. The body is another's.
    pub(super) fn response(&self, status: &HeaderValue, tagged: bool) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers(None, status, tagged);
        response
    }
}

impl Page {
    pub(super) fn new(key: Box<[u8]>, head: Arc<Head>, body: Bytes) -> Self {
        Self {
            key,
            head,
            body,
            again: AtomicU64::new(0),
        }
    }

    /// The answer to a request: 304, a part, or the whole. `None`: a kind of part that is not made
    /// here.
    pub(super) fn response(
        &self,
        request: &Parts,
        now: Tick,
        status: &HeaderValue,
        tagged: bool,
    ) -> Option<Response<ResponseBody>> {
        let head = &*self.head;
        let (mut code, mut body) = (head.status, self.body.clone());
        let whole = head.status == StatusCode::OK && request.method == Method::GET;
        let length = body.len() as u64;
        let conditional = conditions(&request.headers, &head.headers) == Condition::NotModified;
        let part = if whole && !conditional {
            part(&request.headers, &head.headers, length)
        } else {
            Part::Whole
        };
        if part == Part::Other {
            return None;
        }
        let mut headers = head.headers(Some(now), status, tagged);
        if conditional && head.status.is_success() {
            return Some(not_modified(headers));
        }
        let range = match part {
            Part::Bytes(first, last) => {
                code = StatusCode::PARTIAL_CONTENT;
                body = body.slice(first as usize..=last as usize);
                Some(format!("bytes {first}-{last}/{length}"))
            }
            Part::Nothing => {
                code = StatusCode::RANGE_NOT_SATISFIABLE;
                body = Bytes::new();
                Some(format!("bytes */{length}"))
            }
            _ => None,
        };
        if let Some(range) = range.and_then(|range| HeaderValue::try_from(range).ok()) {
            headers.insert(header::CONTENT_RANGE, range);
            headers.remove(header::CONTENT_LENGTH);
        }
        let mut response = Response::new(ResponseBody::Own(body));
        *response.status_mut() = code;
        *response.headers_mut() = headers;
        Some(response)
    }

    /// Whether a call in the background is due; true once in a while, until [`Page::tried`].
    pub(super) fn is_due(&self, now: Tick) -> bool {
        let again = self.again.load(Relaxed);
        let next = now + PAUSE;
        let won = |()| {
            let swapped = self.again.compare_exchange(again, next.0, Relaxed, Relaxed);
            swapped.is_ok()
        };
        now.0 >= again && won(())
    }

    /// Whether it has one of these tags.
    pub(super) fn has_tag(&self, tag: &[u8]) -> bool {
        self.head.tags.iter().any(|own| **own == *tag)
    }

    /// What it takes, about.
    pub(super) fn size(&self) -> usize {
        let headers = self.head.headers.iter();
        let headers: usize = headers.map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
        let tags: usize = self.head.tags.iter().map(|tag| tag.len() + 16).sum();
        let key = self.key.len() + self.head.selected.size();
        OVERHEAD + headers + tags + key + self.body.len()
    }
}

/// What says nothing of a body that is not there.
fn not_modified(mut headers: HeaderMap) -> Response<ResponseBody> {
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
    ] {
        headers.remove(name);
    }
    let mut response = Response::new(ResponseBody::Own(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// Takes off what only caches are told.
pub(super) fn hide_tags(headers: &mut HeaderMap) {
    for name in TAGS {
        headers.remove(name);
    }
}

fn tags(headers: &HeaderMap) -> Box<[Box<[u8]>]> {
    let mut tags: Vec<Box<[u8]>> = Vec::new();
    for (name, separator) in TAGS.iter().zip([b' ', b',']) {
        for line in headers.get_all(name) {
            let each = line.as_bytes().split(|byte| *byte == separator);
            let each = each.map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty());
            tags.extend(each.map(Box::from).take(MOST_TAGS - tags.len()));
        }
    }
    tags.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_both_kinds() {
        let mut headers = HeaderMap::new();
        headers.append("surrogate-key", HeaderValue::from_static("a  b,c"));
        headers.append("cache-tag", HeaderValue::from_static("d e,, f"));
        let found = tags(&headers);
        let found: Vec<_> = found
            .iter()
            .map(|tag| std::str::from_utf8(tag).unwrap())
            .collect();
        assert_eq!(found, ["a", "b,c", "d e", "f"]);
        let many = vec!["x"; 1_000].join(" ");
        headers.append("surrogate-key", HeaderValue::try_from(many).unwrap());
        assert_eq!(tags(&headers).len(), MOST_TAGS);
    }
}
