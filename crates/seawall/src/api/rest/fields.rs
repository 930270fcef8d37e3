//! Fields from the texts of a path and a query.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::api::error::Error;
use crate::api::{Code, Violation};
use crate::config::nearest;

/// A message whose fields can be set by their names. Implemented by generated code, for what a
/// path or a query can set.
pub trait Fields {
    /// Sets the field at `path`, of names in either spelling with dots between them; adds to a
    /// list.
    ///
    /// # Errors
    ///
    /// No such field, or a text that is not of its type.
    fn set(&mut self, path: &str, value: &str) -> Result<(), Wrong>;
}

/// What is wrong with a text for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is no such field; the nearest that there is.
    Unknown(Option<&'static str>),
    /// What is expected instead.
    Expected(Cow<'static, str>),
    /// A list or a message stands there, which a text cannot set.
    NoValue,
}

/// As deep as a path may lead: definitions may be recursive, and paths come from outside.
const DEEPEST: usize = 16;

impl Wrong {
    /// No field of this name among these.
    #[must_use]
    pub fn unknown(name: &str, names: &'static [&'static str]) -> Self {
        Self::Unknown(nearest(name, names.iter().copied()))
    }

    pub(super) fn into_error(self, path: &str, place: &str) -> Error {
        let (reason, rule, message): (_, _, Cow<'_, str>) = match self {
            Self::Unknown(Some(near)) => {
                let text = format!("there is no field `{path}`: did you mean `{near}`?");
                ("FIELD_UNKNOWN", "known", text.into())
            }
            Self::Unknown(None) => {
                let text = format!("there is no field `{path}`");
                ("FIELD_UNKNOWN", "known", text.into())
            }
            Self::Expected(what) => ("FIELD_MALFORMED", "type", format!("expected {what}").into()),
            Self::NoValue => {
                let text = "a message or a map: name one of its fields, or send a body";
                ("FIELD_MALFORMED", "type", text.into())
            }
        };
        let text = format!("{place}, `{path}`: {message}");
        Error::ours(Code::InvalidArgument, reason, text).violating(Violation {
            field: path.to_owned(),
            rule: rule.into(),
            message: message.into_owned(),
        })
    }
}

/// The first name of a path, and what is left.
#[must_use]
pub fn head(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

pub(super) fn is_too_deep(path: &str) -> bool {
    path.bytes().filter(|b| *b == b'.').count() >= DEEPEST
}

/// A value that is written as one text.
pub trait FromText: Sized {
    /// # Errors
    ///
    /// What is expected instead.
    fn from_text(text: &str) -> Result<Self, Wrong>;
}

macro_rules! parsed {
    ($($type:ty: $what:literal),+) => {$(
        impl FromText for $type {
            fn from_text(text: &str) -> Result<Self, Wrong> {
                text.parse().map_err(|_| Wrong::Expected(Cow::Borrowed($what)))
            }
        }
    )+};
}

parsed!(
    bool: "true or false", String: "text",
    i32: "a whole number of 32 bits", i64: "a whole number of 64 bits",
    u32: "a whole number of 32 bits, not negative", u64: "a whole number of 64 bits, not negative",
    f32: "a number", f64: "a number"
);

impl FromText for Vec<u8> {
    fn from_text(text: &str) -> Result<Self, Wrong> {
        let text: StrDeserializer<'_, ValueError> = text.into_deserializer();
        let bytes = pbjson::private::BytesDeserialize::<Self>::deserialize(text);
        bytes
            .map(|b| b.0)
            .map_err(|_| Wrong::Expected("base64".into()))
    }
}

/// Sets a field of one value.
///
/// # Errors
///
/// A text that is not of its type, a path that leads on.
pub fn scalar<T: FromText>(field: &mut T, rest: &str, text: &str) -> Result<(), Wrong> {
    leaf(rest)?;
    *field = T::from_text(text)?;
    Ok(())
}

/// Sets a field that tells whether it is there.
///
/// # Errors
///
/// A text that is not of its type, a path that leads on.
pub fn optional<T: FromText>(field: &mut Option<T>, rest: &str, text: &str) -> Result<(), Wrong> {
    leaf(rest)?;
    *field = Some(T::from_text(text)?);
    Ok(())
}

/// Adds to a list.
///
/// # Errors
///
/// A text that is not of its type, a path that leads on.
pub fn repeated<T: FromText>(field: &mut Vec<T>, rest: &str, text: &str) -> Result<(), Wrong> {
    leaf(rest)?;
    field.push(T::from_text(text)?);
    Ok(())
}

/// The number of an enum's value, told by name or number.
///
/// # Errors
///
/// No such value, a path that leads on.
pub fn enumeration<E>(rest: &str, text: &str, by_name: fn(&str) -> Option<E>) -> Result<i32, Wrong>
where
    E: Into<i32> + TryFrom<i32>,
{
    leaf(rest)?;
    if let Some(value) = by_name(text) {
        return Ok(value.into());
    }
    let number = text.parse::<i32>().ok();
    number
        .filter(|n| E::try_from(*n).is_ok())
        .ok_or(Wrong::Expected(
            "a value of the enum, by name or number".into(),
        ))
}

/// A message whose JSON form is a text: a time, a duration, a mask of fields.
///
/// # Errors
///
/// A text that is not of its form, a path that leads on.
pub fn text<T: for<'a> Deserialize<'a>>(rest: &str, text: &str) -> Result<T, Wrong> {
    leaf(rest)?;
    let text: StrDeserializer<'_, ValueError> = text.into_deserializer();
    T::deserialize(text).map_err(|e| Wrong::Expected(e.to_string().into()))
}

fn leaf(rest: &str) -> Result<(), Wrong> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Wrong::Unknown(None))
}

/// Sets a field of a message here.
///
/// # Errors
///
/// Those of the message; [`Wrong::NoValue`] where the path ends at it.
pub fn nested<T: Fields>(field: &mut T, rest: &str, text: &str) -> Result<(), Wrong> {
    if rest.is_empty() {
        return Err(Wrong::NoValue);
    }
    field.set(rest, text)
}
