//! `Cache-Control`, read once into what decisions ask of it.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// No life is longer (RFC 9111, 1.2.2): about 68 years.
const MOST: u64 = 1 << 31;

const PRAGMA: HeaderName = header::PRAGMA;

/// For caches run by Seawall alone, before the one for all of an origin's CDNs (RFC 9213).
const TARGETED: [HeaderName; 2] = [
    HeaderName::from_static("seawall-cache-control"),
    HeaderName::from_static("cdn-cache-control"),
];

/// What a request says of caching. Lengths of time in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Nothing of it is to be kept.
    pub no_store: bool,
    /// Nothing kept is wanted unless the origin confirms it.
    pub no_cache: bool,
    /// The origin is not to be asked.
    pub only_if_cached: bool,
    /// Nothing older is wanted.
    pub max_age: Option<u64>,
    /// It must be fresh for so long still.
    pub min_fresh: Option<u64>,
    /// It may be stale by so much.
    pub max_stale: Option<u64>,
}

impl RequestDirectives {
    /// Reads `Cache-Control`, or where there is none `Pragma`. Costs two look-ups where a request
    /// has neither.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header};
    /// use seawall_cache::http::RequestDirectives;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, max-stale"));
    /// let read = RequestDirectives::read(&headers);
    /// assert_eq!((read.max_age, read.max_stale), (Some(0), Some(u64::MAX)));
    /// ```
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        let mut told = false;
        for line in headers.get_all(header::CACHE_CONTROL) {
            told = true;
            each(line.as_bytes(), |name, value| read.take(name, value));
        }
        if !told {
            for line in headers.get_all(PRAGMA) {
                each(line.as_bytes(), |name, _| {
                    read.no_cache |= is(name, "no-cache")
                });
            }
        }
        read
    }

    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let least = |old: Option<u64>| Some(old.unwrap_or(u64::MAX).min(seconds(value)));
        match name.len() {
            7 if is(name, "max-age") => self.max_age = least(self.max_age),
            8 if is(name, "no-store") => self.no_store = true,
            8 if is(name, "no-cache") => self.no_cache = true,
            // What cannot be read asks for the most, as with the others.
            9 if is(name, "min-fresh") => {
                let wanted = value.and_then(number).unwrap_or(MOST);
                self.min_fresh = Some(self.min_fresh.unwrap_or(0).max(wanted));
            }
            // Without a value: however stale.
            9 if is(name, "max-stale") => {
                let most = value.map_or(u64::MAX, |value| seconds(Some(value)));
                self.max_stale = Some(self.max_stale.unwrap_or(u64::MAX).min(most));
            }
            14 if is(name, "only-if-cached") => self.only_if_cached = true,
            _ => {}
        }
    }

    /// Whether it wants anything that a fresh answer may not fulfil.
    #[must_use]
    pub fn is_choosy(&self) -> bool {
        self.no_cache || self.max_age.is_some() || self.min_fresh.is_some()
    }
}

/// What a response says of caching. Lengths of time in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// It is not to be kept.
    pub no_store: bool,
    /// It is one user's, with field names or without.
    pub private: bool,
    /// It is to be confirmed before each use, with field names or without.
    pub no_cache: bool,
    /// It must not be served stale; `proxy-revalidate` means the same to a shared cache.
    pub must_revalidate: bool,
    /// It is for everyone.
    pub public: bool,
    /// It may be kept only by who knows its status.
    pub must_understand: bool,
    /// Its life in a cache,
    pub max_age: Option<u64>,
    /// in a shared one.
    pub s_maxage: Option<u64>,
    /// How long after it, it may be served while another is fetched (RFC 5861).
    pub stale_while_revalidate: Option<u64>,
    /// How long after it, it may be served where the origin fails (RFC 5861).
    pub stale_if_error: Option<u64>,
    /// They come from a field for caches like this one, which `Expires` has no part in.
    pub targeted: bool,
    /// There were any.
    pub told: bool,
}

impl ResponseDirectives {
    /// Reads `Seawall-Cache-Control`; where there is none `CDN-Cache-Control`; where there is none
    /// `Cache-Control`.
    ///
    /// Of a directive that comes twice, the shorter life counts; one that cannot be read is 0.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header};
    /// use seawall_cache::http::ResponseDirectives;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60, max-age=\"5\""));
    /// let read = ResponseDirectives::read(&headers);
    /// assert!(read.public);
    /// assert_eq!(read.max_age, Some(5));
    /// ```
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        for name in TARGETED {
            let read = Self::of(headers, &name);
            if read.told {
                return Self {
                    targeted: true,
                    ..read
                };
            }
        }
        Self::of(headers, &header::CACHE_CONTROL)
    }

    fn of(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut read = Self::default();
        for line in headers.get_all(name) {
            each(line.as_bytes(), |name, value| {
                read.told = true;
                read.take(name, value);
            });
        }
        read
    }

    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let least = |old: Option<u64>| Some(old.unwrap_or(u64::MAX).min(seconds(value)));
        match name.len() {
            6 if is(name, "public") => self.public = true,
            7 if is(name, "private") => self.private = true,
            7 if is(name, "max-age") => self.max_age = least(self.max_age),
            8 if is(name, "no-store") => self.no_store = true,
            8 if is(name, "no-cache") => self.no_cache = true,
            8 if is(name, "s-maxage") => self.s_maxage = least(self.s_maxage),
            14 if is(name, "stale-if-error") => self.stale_if_error = least(self.stale_if_error),
            15 if is(name, "must-revalidate") => self.must_revalidate = true,
            15 if is(name, "must-understand") => self.must_understand = true,
            16 if is(name, "proxy-revalidate") => self.must_revalidate = true,
            22 if is(name, "stale-while-revalidate") => {
                self.stale_while_revalidate = least(self.stale_while_revalidate);
            }
            _ => {}
        }
    }
}

fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

fn seconds(value: Option<&[u8]>) -> u64 {
    value.and_then(number).unwrap_or(0)
}

/// A length of time; one too large for any clock is [`MOST`].
pub(super) fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    Some(digits.fold(0, |sum: u64, digit| (sum * 10 + digit).min(MOST)))
}

/// Calls `take` with name and value of each directive of a line, a quoted value without its quotes.
fn each<'l>(line: &'l [u8], mut take: impl FnMut(&'l [u8], Option<&'l [u8]>)) {
    let mut rest = line;
    while !rest.is_empty() {
        let end = end_of_member(rest);
        let member = rest[..end].trim_ascii();
        rest = rest.get(end + 1..).unwrap_or_default();
        let (name, value) = match member.iter().position(|byte| *byte == b'=') {
            Some(at) => (
                member[..at].trim_ascii_end(),
                Some(member[at + 1..].trim_ascii_start()),
            ),
            None => (member, None),
        };
        if !name.is_empty() {
            take(name, value.map(unquoted));
        }
    }
}

/// Where the next comma stands that is in no quotes.
fn end_of_member(line: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// The members of a list header, without their white space.
pub(super) fn members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let members = value.as_bytes().split(|byte| *byte == b',');
    members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn response(line: &str) -> ResponseDirectives {
        ResponseDirectives::read(&headers(&header::CACHE_CONTROL, &[line]))
    }

    fn request(line: &str) -> RequestDirectives {
        RequestDirectives::read(&headers(&header::CACHE_CONTROL, &[line]))
    }

    #[test]
    fn what_is_malformed_makes_no_life_longer() {
        for (line, max_age) in [
            ("max-age=60", Some(60)),
            ("MAX-AGE=60", Some(60)),
            (" ,, max-age = 60 ;x", Some(0)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=60, max-age=5", Some(5)),
            ("max-age=5, max-age=60", Some(5)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age=99999999999999999999999999", Some(MOST)),
            ("x=\"a, max-age=60\"", None),
            ("x=\"a\\\", max-age=60\", max-age=7", Some(7)),
            ("x=\"never closed, max-age=60", None),
        ] {
            assert_eq!(response(line).max_age, max_age, "{line}");
        }
    }

    #[test]
    fn field_names_do_not_make_it_less_private() {
        assert!(response("private=\"set-cookie, x\", max-age=9").private);
        assert!(response("no-cache=\"x\"").no_cache);
        assert!(response("proxy-revalidate").must_revalidate);
    }

    #[test]
    fn the_field_meant_for_us_counts_alone() {
        let mut all = headers(&header::CACHE_CONTROL, &["no-store"]);
        all.append("cdn-cache-control", HeaderValue::from_static("max-age=60"));
        let read = ResponseDirectives::read(&all);
        assert_eq!(
            (read.no_store, read.max_age, read.targeted),
            (false, Some(60), true)
        );
        all.append("seawall-cache-control", HeaderValue::from_static("private"));
        assert!(ResponseDirectives::read(&all).private);
        all.insert("seawall-cache-control", HeaderValue::from_static(""));
        assert_eq!(
            ResponseDirectives::read(&all).max_age,
            Some(60),
            "empty: not there"
        );
    }

    #[test]
    fn requests() {
        assert_eq!(request("max-stale").max_stale, Some(u64::MAX));
        assert_eq!(request("max-stale=9").max_stale, Some(9));
        assert_eq!(request("max-stale=x").max_stale, Some(0));
        assert_eq!(request("min-fresh=x").min_fresh, Some(MOST));
        assert!(request("Only-If-Cached").only_if_cached);
        let pragma = headers(&PRAGMA, &["no-cache"]);
        assert!(RequestDirectives::read(&pragma).no_cache);
        let mut both = pragma;
        both.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
        assert!(!RequestDirectives::read(&both).no_cache);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut taken = 0;
            each(&line, |name, _| taken += name.len());
            prop_assert!(taken <= line.len());
        }

        #[test]
        fn lines_are_one_list(
            parts in proptest::collection::vec("(max-age=[0-9]{1,3}|private|public|x=\"[a-z,]*\")", 1..5)
        ) {
            let lines: Vec<&str> = parts.iter().map(String::as_str).collect();
            let apart = ResponseDirectives::read(&headers(&header::CACHE_CONTROL, &lines));
            prop_assert_eq!(apart, response(&parts.join(", ")));
        }
    }
}
