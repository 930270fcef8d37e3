//! A text that is shown to nobody.

use std::fmt;
use std::io::Read as _;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::{Serialize, Serializer};

use super::read::SECRET;

/// A password, a token, a key: `"env:NAME"` is the variable's value, `"file:PATH"` the file's
/// without the line end, and anything else the secret itself, of which the program warns.
///
/// Read when the configuration is. Shown as `"***"`, by `Debug` and when it is serialised.
///
/// ```
/// use seawall::app::Secret;
///
/// let secret: Secret = serde_json::from_str("\"hunter2\"")?;
/// assert_eq!(secret.expose(), "hunter2");
/// assert_eq!(format!("{secret:?}"), "***");
/// assert_eq!(serde_json::to_string(&secret)?, "\"***\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// From elsewhere than the configuration.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is it; takes as long whatever differs.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let differ = |differ, (a, b): (&u8, &u8)| differ | (a ^ b);
        given.len() == secret.len() && given.iter().zip(secret).fold(0, differ) == 0
    }
}

/// Whether the text is the secret itself.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.starts_with("env:") && !text.starts_with("file:")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Named;

        impl<'de> Visitor<'de> for Named {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret: \"env:NAME\", \"file:PATH\" or its text")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
                d.deserialize_str(self)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }
        }

        resolve(d.deserialize_newtype_struct(SECRET, Named)?).map_err(D::Error::custom)
    }
}

/// The most that is read of a secret's file: `/dev/zero` has no end.
const LARGEST: u64 = 1 << 20;

fn resolve(text: String) -> Result<Secret, String> {
    let secret = if let Some(name) = text.strip_prefix("env:") {
        std::env::var(name).map_err(|_| {
            format!("the environment variable `{name}` is not set: set it to the secret")
        })?
    } else if let Some(path) = text.strip_prefix("file:") {
        let mut read = String::new();
        let file = std::fs::File::open(path);
        let all = file.and_then(|file| file.take(LARGEST).read_to_string(&mut read));
        all.map_err(|error| format!("cannot read the secret from `{path}`: {error}"))?;
        read.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        text
    };
    if secret.is_empty() {
        return Err("the secret is empty: leave the setting out where there is none".to_owned());
    }
    Ok(Secret(secret))
}
