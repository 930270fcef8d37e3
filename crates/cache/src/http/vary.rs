//! Which requests an answer is for.

use http::{HeaderMap, HeaderName, header};

use super::directives::members;

/// More names than this are an attack, or as good as `*`.
const MOST_NAMES: usize = 8;
/// What a request says in all of them may be this long.
const MOST_BYTES: usize = 4 * 1024;

/// The names in `Vary`, in order and each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vary(Box<[HeaderName]>);

/// What a request says in them. Two requests with the same are answered alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selected(Box<[u8]>);

impl Vary {
    /// `None` where it has `*`, a name that is none, or more than eight.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header};
    /// use seawall_cache::http::Vary;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, origin"));
    /// let vary = Vary::read(&headers).unwrap();
    /// let mut request = HeaderMap::new();
    /// let plain = vary.select(&request).unwrap();
    /// request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br"));
    /// assert_ne!(vary.select(&request).unwrap(), plain);
    /// ```
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for line in headers.get_all(header::VARY) {
            for member in members(line) {
                names.push(HeaderName::from_bytes(member).ok()?);
            }
        }
        Self::of(names)
    }

    /// These names; `None` for more than eight.
    #[must_use]
    pub fn of(mut names: Vec<HeaderName>) -> Option<Self> {
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let star = names.iter().any(|name| name.as_str() == "*");
        (names.len() <= MOST_NAMES && !star).then(|| Self(names.into()))
    }

    /// These names and those.
    #[must_use]
    pub fn and(&self, more: &[HeaderName]) -> Option<Self> {
        if more.iter().all(|name| self.has(name)) {
            return Some(self.clone());
        }
        Self::of(self.0.iter().chain(more).cloned().collect())
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// Whether everyone is answered alike.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn has(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }

    /// What this request says in them; `None` where that is too long to be kept.
    #[must_use]
    pub fn select(&self, request: &HeaderMap) -> Option<Selected> {
        let mut selected = Vec::new();
        for name in &self.0 {
            let mut lines = request.get_all(name).iter().peekable();
            if lines.peek().is_none() {
                // Not there is something else than empty.
                selected.push(0);
                continue;
            }
            selected.push(1);
            for line in lines {
                for member in members(line) {
                    let length = u32::try_from(member.len()).ok()?;
                    selected.extend_from_slice(&length.to_be_bytes());
                    selected.extend_from_slice(member);
                }
                if selected.len() > MOST_BYTES {
                    return None;
                }
            }
            selected.extend_from_slice(&u32::MAX.to_be_bytes());
        }
        Some(Selected(selected.into()))
    }
}

impl Selected {
    /// How many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn vary(line: &str) -> Option<Vary> {
        let mut headers = HeaderMap::new();
        headers.insert(header::VARY, HeaderValue::from_str(line).unwrap());
        Vary::read(&headers)
    }

    #[test]
    fn bombs_are_not_kept() {
        assert_eq!(vary("*"), None);
        assert_eq!(vary("accept, *"), None);
        assert_eq!(vary("a, b, c, d, e, f, g, h, i"), None);
        assert_eq!(vary("a b"), None);
        assert_eq!(vary("b, A, a"), vary("a, b"));
        let mut request = HeaderMap::new();
        let long = vec![b'x'; MOST_BYTES + 1];
        request.insert("a", HeaderValue::from_bytes(&long).unwrap());
        assert_eq!(vary("a").and_then(|vary| vary.select(&request)), None);
    }

    proptest! {
        #[test]
        fn requests_that_differ_are_told_apart(
            a in proptest::collection::vec(("[ab]", "[xy]{0,2}"), 0..4),
            b in proptest::collection::vec(("[ab]", "[xy]{0,2}"), 0..4),
        ) {
            let headers = |of: &[(String, String)]| {
                let mut headers = HeaderMap::new();
                for (name, value) in of {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    headers.append(name, HeaderValue::from_str(value).unwrap());
                }
                headers
            };
            // What a list says, whatever lines it comes in; empty members say nothing.
            let says = |of: &[(String, String)]| {
                ["a", "b"].map(|name| {
                    let lines: Vec<_> = of.iter().filter(|(n, _)| n == name).collect();
                    let said: Vec<_> = lines.iter().map(|(_, v)| v.clone()).filter(|v| !v.is_empty()).collect();
                    (!lines.is_empty()).then_some(said)
                })
            };
            let vary = vary("a, b").unwrap();
            let same = vary.select(&headers(&a)) == vary.select(&headers(&b));
            prop_assert_eq!(same, says(&a) == says(&b));
        }
    }
}
