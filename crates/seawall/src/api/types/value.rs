//! `google.protobuf.Struct` and what is in it: JSON of any shape.

use std::collections::HashMap;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

pub use self::kind::Kind;

/// An object.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    /// Its members.
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, Value>,
}

/// A list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListValue {
    /// Its elements.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// Anything that JSON can say.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// What it is; `None`, which a sender should not leave it at, is taken for null.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

/// Null, which is the enum's one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NullValue {
    /// Null.
    NullValue = 0,
}

// prost's derive makes what needs no documentation of its own.
#[allow(missing_docs, reason = "the variants are JSON's kinds")]
mod kind {
    use super::{ListValue, NullValue, Struct};

    /// The kinds of JSON.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        #[prost(enumeration = "NullValue", tag = "1")]
        NullValue(i32),
        #[prost(double, tag = "2")]
        NumberValue(f64),
        #[prost(string, tag = "3")]
        StringValue(String),
        #[prost(bool, tag = "4")]
        BoolValue(bool),
        #[prost(message, tag = "5")]
        StructValue(Struct),
        #[prost(message, tag = "6")]
        ListValue(ListValue),
    }
}

macro_rules! from {
    ($($from:ty => $kind:ident),+ $(,)?) => {
        $(
            impl From<$from> for Value {
                fn from(value: $from) -> Self {
                    Kind::$kind(value.into()).into()
                }
            }
        )+
    };
}

from! {
    f64 => NumberValue,
    String => StringValue,
    &str => StringValue,
    bool => BoolValue,
    Struct => StructValue,
    HashMap<String, Value> => StructValue,
    ListValue => ListValue,
    Vec<Value> => ListValue,
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl From<HashMap<String, Value>> for Struct {
    fn from(fields: HashMap<String, Value>) -> Self {
        Self { fields }
    }
}

impl FromIterator<(String, Value)> for Struct {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(members: T) -> Self {
        Self {
            fields: members.into_iter().collect(),
        }
    }
}

impl From<Vec<Value>> for ListValue {
    fn from(values: Vec<Value>) -> Self {
        Self { values }
    }
}

impl FromIterator<Value> for ListValue {
    fn from_iter<T: IntoIterator<Item = Value>>(values: T) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

impl Serialize for Struct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

impl Serialize for ListValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.values.serialize(serializer)
    }
}

impl Serialize for NullValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.kind {
            None | Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            Some(Kind::NumberValue(number)) if !number.is_finite() => {
                Err(ser::Error::custom("JSON has no such number"))
            }
            Some(Kind::NumberValue(number)) => serializer.serialize_f64(*number),
            Some(Kind::StringValue(text)) => serializer.serialize_str(text),
            Some(Kind::BoolValue(is)) => serializer.serialize_bool(*is),
            Some(Kind::StructValue(object)) => object.serialize(serializer),
            Some(Kind::ListValue(list)) => list.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Struct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        HashMap::deserialize(deserializer).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for ListValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for NullValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self::NullValue)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> de::Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Kind::NullValue(0).into())
    }

    fn visit_bool<E: de::Error>(self, is: bool) -> Result<Value, E> {
        Ok(is.into())
    }

    // A number is a double here, whatever it was: large integers lose digits.
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut fields = HashMap::new();
        while let Some((name, value)) = members.next_entry()? {
            fields.insert(name, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_of_any_shape_goes_there_and_back() {
        let shape = json!({
            "null": null, "yes": true, "number": -1.5, "text": "a",
            "list": [1.0, [], {}], "object": {"inner": [null]},
        });
        let made: Struct = serde_json::from_value(shape.clone()).unwrap();
        assert_eq!(made.fields["null"].kind, Some(Kind::NullValue(0)));
        assert_eq!(serde_json::to_value(&made).unwrap(), shape);
        let sent = Struct::decode(&*made.encode_to_vec()).unwrap();
        assert_eq!(sent, made);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for number in [f64::NAN, f64::INFINITY] {
            assert!(serde_json::to_string(&Value::from(number)).is_err());
        }
        assert_eq!(serde_json::to_string(&Value::default()).unwrap(), "null");
        assert_eq!(
            serde_json::to_string(&NullValue::NullValue).unwrap(),
            "null"
        );
        assert!(serde_json::from_str::<NullValue>("0").is_err());
        assert!(serde_json::from_str::<Struct>("[]").is_err());
        assert!(serde_json::from_str::<ListValue>("{}").is_err());
        let whole: Value = serde_json::from_str("18446744073709551615").unwrap();
        assert_eq!(whole, Value::from(u64::MAX as f64));
    }
}
