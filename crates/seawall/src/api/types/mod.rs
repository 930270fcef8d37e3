//! The well-known types of protobuf, as generated code names them.
//!
//! Own ones, as they are few: with their JSON forms, to and from the standard library's times, without
//! a crate of dates below them. `Any` has no JSON form here, since what is in it is not known without
//! reflection: the build refuses it in a message.

mod duration;
mod timestamp;
pub mod value;
mod wrappers;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::api::rest::{Fields, Wrong};
use crate::api::validate::Validate;

pub use duration::{Duration, NoDuration};
pub use timestamp::{NoMoment, Timestamp};

pub use value::{ListValue, NullValue, Struct, Value};
pub use wrappers::{
    BoolValue, BytesValue, DoubleValue, FloatValue, Int32Value, Int64Value, StringValue,
    UInt32Value, UInt64Value,
};

/// Nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A message of any type.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Any {
    /// Its name, after a `/`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// Encoded.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: bytes::Bytes,
}

/// Which fields of a message are meant, by their paths in the definition's spelling.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct FieldMask {
    /// `display_name`, `owner.id`.
    #[prost(string, repeated, tag = "1")]
    pub paths: Vec<String>,
}

impl Serialize for FieldMask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let paths: Vec<String> = self.paths.iter().map(|p| camel(p)).collect();
        serializer.serialize_str(&paths.join(","))
    }
}

impl<'de> Deserialize<'de> for FieldMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = FieldMask;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("paths of fields in one text, with commas between them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FieldMask, E> {
                let paths = text.split(',').map(str::trim).filter(|p| !p.is_empty());
                Ok(FieldMask {
                    paths: paths.map(snake).collect(),
                })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn camel(path: &str) -> String {
    let mut upper = false;
    let mut text = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '_' => upper = true,
            c if std::mem::take(&mut upper) => text.extend(c.to_uppercase()),
            c => text.push(c),
        }
    }
    text
}

fn snake(path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

impl Validate for Empty {}
impl Validate for Struct {}

impl Fields for Empty {
    fn set(&mut self, path: &str, _: &str) -> Result<(), Wrong> {
        Err(Wrong::unknown(path, &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_mask_is_one_text() {
        let mask: FieldMask = serde_json::from_str(r#""displayName, owner.zipCode,""#).unwrap();
        assert_eq!(mask.paths, ["display_name", "owner.zip_code"]);
        assert_eq!(
            serde_json::to_string(&mask).unwrap(),
            r#""displayName,owner.zipCode""#
        );
        let none: FieldMask = serde_json::from_str(r#""""#).unwrap();
        assert!(none.paths.is_empty());
    }
}
