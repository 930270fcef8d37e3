//! What a request asks for in its query.

use axum::response::{IntoResponse, Response};
use http::{Uri, header};
use serde::Serialize;

use super::refused::Refused;

/// The pairs of a query, every name of which must be known.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Asked<'a> {
    pub(crate) fn of(uri: &'a Uri, known: &[&str]) -> Result<Self, Refused> {
        let pairs = uri.query().unwrap_or("").split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty());
        let pairs: Vec<_> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        match pairs.iter().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => Err(Refused::Unknown {
                name: (*name).to_owned(),
                known: known.join(", "),
            }),
            None => Ok(Self { pairs }),
        }
    }

    /// The last one of that name.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        let mut named = self.pairs.iter().rev().filter(|pair| pair.0 == name);
        named.next().map(|pair| pair.1)
    }

    #[cfg(feature = "profile")]
    pub(crate) fn number(
        &self,
        name: &'static str,
        default: u64,
        most: u64,
    ) -> Result<u64, Refused> {
        let Some(value) = self.text(name) else {
            return Ok(default);
        };
        let number = value.parse().ok().filter(|n| (1..=most).contains(n));
        number.ok_or_else(|| Refused::Value {
            name,
            value: value.to_owned(),
            expected: format!("a whole number of 1 to {most}"),
        })
    }
}

#[cfg(feature = "profile")]
/// `value` as JSON, or with `?text` as `text` makes it.
pub(crate) fn json_or_text<T: Serialize>(
    uri: &Uri,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<Response, Refused> {
    let asked = Asked::of(uri, &["text"])?;
    if asked.text("text").is_some() {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((kind, text(value)).into_response());
    }
    json(value)
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<Response, Refused> {
    let json = serde_json::to_vec(value).map_err(|error| Refused::Failed(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

#[cfg(all(test, feature = "profile"))]
mod tests {
    use super::*;

    fn seconds(uri: &'static str) -> Result<u64, String> {
        let uri = Uri::from_static(uri);
        let asked = Asked::of(&uri, &["seconds", "hz"]).map_err(|e| e.to_string())?;
        asked.number("seconds", 10, 60).map_err(|e| e.to_string())
    }

    #[test]
    fn numbers_have_bounds_and_names_are_known() {
        assert_eq!(seconds("/profile/cpu"), Ok(10));
        assert_eq!(seconds("/profile/cpu?seconds=60&hz=1"), Ok(60));
        for bad in ["0", "61", "-1", "1.5", "", "18446744073709551616", "ten"] {
            let uri = format!("/profile/cpu?seconds={bad}").parse().unwrap();
            let asked = Asked::of(&uri, &["seconds"]).unwrap();
            let error = asked.number("seconds", 10, 60).unwrap_err().to_string();
            assert!(error.contains("1 to 60"), "{error}");
        }
        let error = seconds("/profile/cpu?second=5").unwrap_err();
        assert!(error.contains("seconds, hz"), "{error}");
    }
}
