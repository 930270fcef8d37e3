//! `google.protobuf.*Value` of one field: numbers, texts and bytes that may be left out. In JSON they
//! are what they hold, 64-bit numbers as texts.

use bytes::Bytes;
use pbjson::private::base64::{Engine as _, engine::general_purpose::STANDARD};
use pbjson::private::{BytesDeserialize, NumberDeserialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! wrapper {
    ($name:ident, $inner:ty, [$($kind:tt)*], [$($derive:ident),*], $write:expr, $read:expr) => {
        #[doc = concat!("`google.protobuf.", stringify!($name), "`.")]
        #[derive(Clone, PartialEq, $($derive,)* prost::Message)]
        pub struct $name {
            /// What it holds.
            #[prost($($kind)*, tag = "1")]
            pub value: $inner,
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self { value }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $write(&self.value).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = Deserialize::deserialize(deserializer).map($read)?;
                Ok(Self { value })
            }
        }
    };
}

/// A number, or a text that is one: `NaN` has no other form, and scripts lose digits of 64 bits.
fn number<T>(read: NumberDeserialize<T>) -> T {
    read.0
}

wrapper!(
    BoolValue,
    bool,
    [bool],
    [Copy, Eq, Hash],
    |v: &bool| *v,
    |v| v
);
wrapper!(
    Int32Value,
    i32,
    [int32],
    [Copy, Eq, Hash],
    |v: &i32| *v,
    number
);
wrapper!(
    UInt32Value,
    u32,
    [uint32],
    [Copy, Eq, Hash],
    |v: &u32| *v,
    number
);
wrapper!(
    Int64Value,
    i64,
    [int64],
    [Copy, Eq, Hash],
    i64::to_string,
    number
);
wrapper!(
    UInt64Value,
    u64,
    [uint64],
    [Copy, Eq, Hash],
    u64::to_string,
    number
);
wrapper!(
    FloatValue,
    f32,
    [float],
    [Copy],
    |v: &f32| Float(f64::from(*v), Some(*v)),
    number
);
wrapper!(
    DoubleValue,
    f64,
    [double],
    [Copy],
    |v: &f64| Float(*v, None),
    number
);
wrapper!(
    StringValue,
    String,
    [string],
    [Eq, Hash],
    String::clone,
    |v| v
);
wrapper!(
    BytesValue,
    Bytes,
    [bytes = "bytes"],
    [Eq, Hash],
    |v: &Bytes| STANDARD.encode(v),
    |read: BytesDeserialize<Bytes>| read.0
);

/// JSON has no number for these three, so they are texts.
struct Float(f64, Option<f32>);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self(value, _) if value.is_nan() => serializer.serialize_str("NaN"),
            Self(f64::INFINITY, _) => serializer.serialize_str("Infinity"),
            Self(f64::NEG_INFINITY, _) => serializer.serialize_str("-Infinity"),
            Self(_, Some(single)) => serializer.serialize_f32(single),
            Self(value, None) => serializer.serialize_f64(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;

    fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, text: &str) {
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert_eq!(serde_json::from_str::<T>(text).unwrap(), value);
    }

    #[test]
    fn each_is_what_it_holds() {
        both_ways(BoolValue::from(true), "true");
        both_ways(Int32Value::from(-7), "-7");
        both_ways(UInt32Value::from(7), "7");
        both_ways(Int64Value::from(i64::MIN), "\"-9223372036854775808\"");
        both_ways(UInt64Value::from(u64::MAX), "\"18446744073709551615\"");
        both_ways(FloatValue::from(0.1), "0.1");
        both_ways(DoubleValue::from(0.1), "0.1");
        both_ways(DoubleValue::from(f64::NEG_INFINITY), "\"-Infinity\"");
        both_ways(FloatValue::from(f32::INFINITY), "\"Infinity\"");
        both_ways(StringValue::from("a".to_owned()), "\"a\"");
        both_ways(
            BytesValue::from(Bytes::from_static(&[251, 255])),
            "\"+/8=\"",
        );
        assert_eq!(
            serde_json::to_string(&DoubleValue::from(f64::NAN)).unwrap(),
            "\"NaN\""
        );
        let read: Int64Value = serde_json::from_str("7").unwrap();
        assert_eq!(read.value, 7);
        let web: BytesValue = serde_json::from_str("\"-_8\"").unwrap();
        assert_eq!(&*web.value, [251, 255]);
        for wrong in ["\"seven\"", "true", "7.5", "\"9223372036854775808\""] {
            assert!(
                serde_json::from_str::<Int64Value>(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
