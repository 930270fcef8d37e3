//! Query strings and escapes.

use std::borrow::Cow;

use super::fields::{Wrong, is_too_deep};
use crate::api::Code;
use crate::api::error::Error;

/// The most parameters of a query.
const MOST: usize = 256;

/// Sets what a query says.
pub(super) fn set<A>(
    query: &str,
    message: &mut A,
    set: fn(&mut A, &str, &str) -> Result<(), Wrong>,
) -> Result<(), Error> {
    for (i, pair) in query.split('&').filter(|p| !p.is_empty()).enumerate() {
        if i == MOST {
            let text = format!("query: more than {MOST} parameters");
            return Err(Error::ours(Code::InvalidArgument, "QUERY_TOO_LONG", text));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (form(name)?, form(value)?);
        let wrong = if is_too_deep(&name) {
            Err(Wrong::Unknown(None))
        } else {
            set(message, &name, &value)
        };
        wrong.map_err(|w| w.into_error(&name, "query"))?;
    }
    Ok(())
}

/// Where the whole message is in the body, a query would be passed over in silence.
pub(super) fn none(query: &str) -> Result<(), Error> {
    let Some(first) = query.split('&').find(|p| !p.is_empty()) else {
        return Ok(());
    };
    let name = first.split('=').next().unwrap_or(first);
    let text = format!("query, `{name}`: this method takes all of its fields from the body");
    Err(Error::ours(Code::InvalidArgument, "FIELD_UNKNOWN", text))
}

/// A part of a query: `+` is a space.
fn form(text: &str) -> Result<Cow<'_, str>, Error> {
    if !text.contains('+') {
        return unescape(text, false);
    }
    let spaced = text.replace('+', " ");
    unescape(&spaced, false).map(|t| Cow::Owned(t.into_owned()))
}

/// Without its escapes. An escaped slash stays one where slashes tell segments apart.
pub(super) fn unescape(text: &str, keep_slash: bool) -> Result<Cow<'_, str>, Error> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let escaped = rest.get(..2).and_then(hex).ok_or_else(|| escape(text))?;
        if keep_slash && escaped == b'/' {
            bytes.push(b'%');
            continue;
        }
        bytes.push(escaped);
        rest = &rest[2..];
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| escape(text))
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let value = digit(*digits.first()?)? * 16 + digit(*digits.get(1)?)?;
    u8::try_from(value).ok()
}

fn escape(text: &str) -> Error {
    let text = format!("`{text}`: its escapes are not those of UTF-8 text");
    Error::ours(Code::InvalidArgument, "ESCAPE_MALFORMED", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        assert_eq!(unescape("a%2Fb%20%C3%A4", false).unwrap(), "a/b ä");
        assert_eq!(unescape("a%2Fb%2fc", true).unwrap(), "a%2Fb%2fc");
        assert_eq!(form("a+b%2B").unwrap(), "a b+");
        for wrong in ["%", "%1", "%zz", "%ff", "a%é"] {
            assert!(unescape(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_query_sets_in_order() {
        let mut seen: Vec<(String, String)> = Vec::new();
        let into = |all: &mut Vec<(String, String)>, name: &str, value: &str| {
            all.push((name.into(), value.into()));
            Ok(())
        };
        set("a=1&&b.c=x+y&d&a=%32", &mut seen, into).unwrap();
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(
            seen,
            [
                pair("a", "1"),
                pair("b.c", "x y"),
                pair("d", ""),
                pair("a", "2")
            ]
        );
        let deep = vec!["a"; 40].join(".");
        assert!(set(&deep, &mut seen, into).is_err());
        assert!(set(&"a&".repeat(1_000), &mut seen, into).is_err());
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read(text in "\\PC{0,40}") {
            let escaped: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
            prop_assert_eq!(unescape(&escaped, false).unwrap(), text);
        }

        #[test]
        fn no_text_panics(text in "[%0-9a-fA-Fé+&=.]{0,40}") {
            let _ = (unescape(&text, true), form(&text));
            let _ = set(&text, &mut (), |_, _, _| Ok(()));
        }
    }
}
