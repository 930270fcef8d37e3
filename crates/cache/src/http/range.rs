//! A part of what is kept (RFC 9110, 14).

use http::{HeaderMap, header};

use super::date::parse_date;

/// What part of an answer a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: none is asked for, or what is asked for is another version's.
    Whole,
    /// From the first byte, to the last.
    Bytes(u64, u64),
    /// Nothing is there: 416.
    Nothing,
    /// Several, or in another unit: not made here.
    Other,
}

/// The part that a request asks for of an answer of `length` bytes with these headers.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header};
/// use seawall_cache::http::{Part, part};
///
/// let mut request = HeaderMap::new();
/// request.insert(header::RANGE, HeaderValue::from_static("bytes=-10"));
/// assert_eq!(part(&request, &HeaderMap::new(), 100), Part::Bytes(90, 99));
/// ```
#[must_use]
pub fn part(request: &HeaderMap, response: &HeaderMap, length: u64) -> Part {
    let mut lines = request.get_all(header::RANGE).iter();
    let Some(range) = lines.next() else {
        return Part::Whole;
    };
    if lines.next().is_some() {
        return Part::Other;
    }
    if !is_of_this(request, response) {
        return Part::Whole;
    }
    let bytes = range.as_bytes();
    let unit = bytes.split_at_checked(6);
    let Some((unit, asked)) = unit else {
        return Part::Other;
    };
    if !unit.eq_ignore_ascii_case(b"bytes=") || asked.contains(&b',') {
        return Part::Other;
    }
    one(asked.trim_ascii(), length).unwrap_or(Part::Other)
}

fn one(asked: &[u8], length: u64) -> Option<Part> {
    let dash = asked.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&asked[..dash], &asked[dash + 1..]);
    let number = |digits: &[u8]| -> Option<u64> {
        let digits = std::str::from_utf8(digits).ok()?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let end = length.checked_sub(1);
    if first.is_empty() {
        let wanted = number(last)?;
        return Some(match end {
            Some(end) if wanted > 0 => Part::Bytes(length.saturating_sub(wanted), end),
            _ => Part::Nothing,
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if last < first {
        return None;
    }
    Some(match end {
        Some(end) if first <= end => Part::Bytes(first, last.min(end)),
        _ => Part::Nothing,
    })
}

/// `If-Range`: whether the part is wanted of this version (RFC 9110, 13.1.5). Weak is not enough.
fn is_of_this(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(wanted) = request.get(header::IF_RANGE) else {
        return true;
    };
    if wanted.as_bytes().starts_with(b"\"") {
        return response.get(header::ETAG) == Some(wanted);
    }
    let modified = response.get(header::LAST_MODIFIED).and_then(parse_date);
    modified.is_some() && parse_date(wanted) == modified
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(range: &str, length: u64) -> Part {
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        part(&request, &HeaderMap::new(), length)
    }

    #[test]
    fn parts() {
        for (range, length, expected) in [
            ("bytes=0-0", 10, Part::Bytes(0, 0)),
            ("bytes=2-", 10, Part::Bytes(2, 9)),
            ("Bytes=2-99", 10, Part::Bytes(2, 9)),
            ("bytes=-3", 10, Part::Bytes(7, 9)),
            ("bytes=-30", 10, Part::Bytes(0, 9)),
            ("bytes=-0", 10, Part::Nothing),
            ("bytes=10-", 10, Part::Nothing),
            ("bytes=0-", 0, Part::Nothing),
            ("bytes=99999999999999999999-", 10, Part::Nothing),
            ("bytes=5-2", 10, Part::Other),
            ("bytes=0-1,3-4", 10, Part::Other),
            ("lines=0-1", 10, Part::Other),
            ("bytes=", 10, Part::Other),
            ("bytes=a-b", 10, Part::Other),
            ("", 10, Part::Other),
        ] {
            assert_eq!(of(range, length), expected, "{range}");
        }
    }

    #[test]
    fn a_part_is_of_the_version_it_is_wanted_of() {
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        let mut response = HeaderMap::new();
        response.insert(header::ETAG, HeaderValue::from_static("\"a\""));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        response.insert(header::LAST_MODIFIED, HeaderValue::from_static(date));
        for (wanted, whole) in [
            ("\"a\"", false),
            ("\"b\"", true),
            ("W/\"a\"", true),
            (date, false),
        ] {
            request.insert(header::IF_RANGE, HeaderValue::from_str(wanted).unwrap());
            assert_eq!(
                part(&request, &response, 9) == Part::Whole,
                whole,
                "{wanted}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_within(range in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 0_u64..500) {
            if let Part::Bytes(first, last) = of(&range, length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
