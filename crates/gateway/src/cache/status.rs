//! What an answer says of how it came about (RFC 9211), and its age; out of static parts.

use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::count::Event;
use super::page::hide_tags;
use crate::body::ResponseBody;

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

pub(super) const HIT: HeaderValue = HeaderValue::from_static("seawall; hit");
pub(super) const STALE: HeaderValue =
    HeaderValue::from_static("seawall; hit; detail=stale-while-revalidate");
pub(super) const ON_ERROR: HeaderValue =
    HeaderValue::from_static("seawall; fwd=stale; detail=stale-if-error");
pub(super) const MISS: HeaderValue = HeaderValue::from_static("seawall; fwd=miss");
pub(super) const STORED: HeaderValue = HeaderValue::from_static("seawall; fwd=miss; stored");
pub(super) const COLLAPSED: HeaderValue = HeaderValue::from_static("seawall; fwd=miss; collapsed");
pub(super) const REVALIDATED: HeaderValue =
    HeaderValue::from_static("seawall; fwd=stale; fwd-status=304; stored");
const METHOD: HeaderValue = HeaderValue::from_static("seawall; fwd=method");
const REQUEST: HeaderValue = HeaderValue::from_static("seawall; fwd=request");
const BYPASS: HeaderValue = HeaderValue::from_static("seawall; fwd=bypass");

/// Ages below this many seconds are written once.
const AGES: usize = 4_096;

static AGE: LazyLock<Box<[HeaderValue]>> =
    LazyLock::new(|| (0..AGES).map(HeaderValue::from).collect());

/// An age as a header has it, in whole seconds.
pub(super) fn age(age: Duration) -> HeaderValue {
    let secs = age.as_secs().min(1 << 31);
    let known = usize::try_from(secs).ok().and_then(|at| AGE.get(at));
    known.cloned().unwrap_or_else(|| HeaderValue::from(secs))
}

/// Says of an answer that it went by the cache.
pub(crate) fn went_by(response: &mut Response<ResponseBody>, why: Event, tagged: bool) {
    let status = match why {
        Event::Method => METHOD,
        Event::Request => REQUEST,
        Event::Released | Event::Miss => MISS,
        _ => BYPASS,
    };
    let headers = response.headers_mut();
    headers.append(CACHE_STATUS, status);
    if !tagged {
        hide_tags(headers);
    }
}

/// Puts `status` in the place of our own, the last.
pub(super) fn replace(headers: &mut HeaderMap, status: &HeaderValue) {
    let all: Vec<HeaderValue> = headers.get_all(CACHE_STATUS).iter().cloned().collect();
    headers.remove(CACHE_STATUS);
    let others = all.len().saturating_sub(1);
    for value in all.into_iter().take(others) {
        headers.append(CACHE_STATUS, value);
    }
    headers.append(CACHE_STATUS, status.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_seconds() {
        for (millis, expected) in [
            (0, "0"),
            (1_999, "1"),
            (4_095_000, "4095"),
            (4_096_000, "4096"),
        ] {
            assert_eq!(age(Duration::from_millis(millis)), expected);
        }
        assert_eq!(age(Duration::MAX), (1_u64 << 31).to_string());
    }

    #[test]
    fn what_other_caches_say_stays() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_STATUS, HeaderValue::from_static("inner; hit"));
        headers.append(CACHE_STATUS, HIT);
        replace(&mut headers, &STALE);
        let all: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(
            all,
            ["inner; hit", "seawall; hit; detail=stale-while-revalidate"]
        );
    }
}
