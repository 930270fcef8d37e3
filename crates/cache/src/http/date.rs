//! Dates as HTTP writes them.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

/// Seconds since 1970 of a date in one of HTTP's three forms (RFC 9110, 5.6.7); `None` for anything
/// else, dates before 1970 among it.
///
/// ```
/// use http::HeaderValue;
/// use seawall_cache::http::parse_date;
///
/// let date = HeaderValue::from_static("Thu, 01 Jan 1970 00:01:00 GMT");
/// assert_eq!(parse_date(&date), Some(60));
/// assert_eq!(parse_date(&HeaderValue::from_static("0")), None);
/// ```
#[must_use]
pub fn parse_date(value: &HeaderValue) -> Option<u64> {
    let date = httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()?;
    date.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .as_ref()
        .map(Duration::as_secs)
}
