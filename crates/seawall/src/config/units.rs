//! Quantities that carry their unit: `"250ms"`, `"64KiB"`.
//!
//! A bare number is an error, always: `timeout = 30` has meant seconds, milliseconds and
//! nanoseconds in one company, and the reader of a file cannot ask.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A number and nothing else; the unit that is usual here.
    #[error("a bare number has no unit: write \"{0}{1}\", say")]
    Missing(String, &'static str),
    /// Not a unit of this quantity.
    #[error("unknown unit `{unit}`: one of {known}{}", meant.as_ref().map(|meant| format!(" (did you mean \"{meant}\"?)")).unwrap_or_default())]
    Unknown {
        /// What stands there.
        unit: String,
        /// What may.
        known: &'static str,
        /// The quantity that may be meant.
        meant: Option<String>,
    },
    /// Another quantity; what it is, what belongs here, and an example of that.
    #[error("`{0}` is a {1}, and a {2} belongs here, such as \"{3}\"")]
    Other(String, &'static str, &'static str, &'static str),
    /// Does not begin with a number.
    #[error("`{0}` is not a number and a unit, such as \"{1}\"")]
    Number(String, &'static str),
}

struct Quantity {
    name: &'static str,
    units: &'static [Unit],
    names: &'static str,
    other: &'static Self,
    /// The unit of a bare number, if it is not that of the example.
    usual: Option<&'static str>,
}

struct Unit {
    name: &'static str,
    scale: f64,
    /// What else is written for it, in small letters.
    aliases: &'static [&'static str],
}

const fn unit(name: &'static str, scale: f64, aliases: &'static [&'static str]) -> Unit {
    Unit {
        name,
        scale,
        aliases,
    }
}

static TIME: Quantity = Quantity {
    name: "time",
    units: &[
        unit("us", 1e-6, &["µs", "μs", "usec", "micros"]),
        unit("ms", 1e-3, &["msec", "millis"]),
        unit("s", 1.0, &["sec", "secs", "second", "seconds"]),
        unit("m", 60.0, &["min", "mins", "minute", "minutes"]),
        unit("h", 3600.0, &["hr", "hrs", "hour", "hours"]),
        unit("d", 86_400.0, &["day", "days"]),
    ],
    names: "us, ms, s, m, h, d",
    other: &SIZE,
    usual: None,
};

static SIZE: Quantity = Quantity {
    name: "size",
    units: &[
        unit("B", 1.0, &["byte", "bytes"]),
        unit("KiB", 1024.0, &["k", "kb"]),
        unit("MiB", 1_048_576.0, &["m", "mb"]),
        unit("GiB", 1_073_741_824.0, &["g", "gb"]),
    ],
    names: "B, KiB, MiB, GiB (powers of 1,024)",
    other: &TIME,
    // Elsewhere a bare size is one in bytes.
    usual: Some("B"),
};

impl Quantity {
    /// `example` is one that fits here, in the unit that is usual here.
    fn parse(&self, text: &str, example: &'static str) -> Result<f64, UnitError> {
        let text = text.trim();
        let (number, unit) = split(text);
        let value: f64 = number
            .parse()
            .map_err(|_| UnitError::Number(text.to_owned(), example))?;
        if unit.is_empty() {
            let usual = self.usual.unwrap_or(split(example).1);
            return Err(UnitError::Missing(text.to_owned(), usual));
        }
        match self.units.iter().find(|known| known.name == unit) {
            Some(known) => Ok(value * known.scale),
            None => Err(self.unknown(text, example)),
        }
    }

    fn unknown(&self, text: &str, example: &'static str) -> UnitError {
        let (number, unit) = split(text);
        let small = unit.to_lowercase();
        let meant = self
            .units
            .iter()
            .find(|known| known.name.to_lowercase() == small || known.aliases.contains(&&*small));
        if meant.is_none() && self.other.units.iter().any(|other| other.name == unit) {
            let other = self.other.name;
            return UnitError::Other(text.to_owned(), other, self.name, example);
        }
        let meant = meant.map(|meant| format!("{number}{}", meant.name));
        UnitError::Unknown {
            unit: unit.to_owned(),
            known: self.names,
            meant,
        }
    }
}

/// A number and its unit.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    (number, unit.trim_start())
}

/// Reads a time: a number and one of `us ms s m h d`; a day has 24 hours.
///
/// # Errors
/// No number, no unit or an unknown one. A time beyond [`Duration::MAX`] is that maximum.
///
/// ```
/// use seawall::config::parse_time;
/// use std::time::Duration;
///
/// assert_eq!(parse_time("1.5s"), Ok(Duration::from_millis(1500)));
/// assert!(parse_time("30").unwrap_err().to_string().contains("no unit"));
/// ```
pub fn parse_time(text: &str) -> Result<Duration, UnitError> {
    time_like(text, "250ms")
}

/// As [`parse_time`], for a setting that is written like `example`.
pub(super) fn time_like(text: &str, example: &'static str) -> Result<Duration, UnitError> {
    let seconds = TIME.parse(text, example)?;
    let nanos = (seconds * 1e9).round();
    Ok(if nanos >= u64::MAX as f64 {
        Duration::MAX
    } else {
        Duration::from_nanos(nanos as u64)
    })
}

/// Reads a size in bytes: a number and one of `B KiB MiB GiB`.
///
/// # Errors
/// No number, no unit or an unknown one. Saturates at `u64::MAX`.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    size_like(text, "64KiB")
}

/// As [`parse_size`], for a setting that is written like `example`.
pub(super) fn size_like(text: &str, example: &'static str) -> Result<u64, UnitError> {
    // A float cast saturates.
    SIZE.parse(text, example).map(|bytes| bytes as u64)
}

/// Writes a time as [`parse_time`] reads it, in the largest unit that leaves no fraction.
pub(super) struct ShowTime(pub(super) Duration);

impl fmt::Display for ShowTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            0 => write!(f, "0s"),
            n if n % 3_600_000_000 == 0 => write!(f, "{}h", n / 3_600_000_000),
            n if n % 60_000_000 == 0 => write!(f, "{}m", n / 60_000_000),
            n if n % 1_000_000 == 0 => write!(f, "{}s", n / 1_000_000),
            n if n % 1_000 == 0 => write!(f, "{}ms", n / 1_000),
            n => write!(f, "{n}us"),
        }
    }
}

/// Writes a size as [`parse_size`] reads it.
pub(super) struct ShowSize(pub(super) u64);

impl fmt::Display for ShowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n > 0 && n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n > 0 && n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

pub(super) fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    parse_time(&String::deserialize(d)?).map_err(D::Error::custom)
}

pub(super) fn some_time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    time(d).map(Some)
}

pub(super) fn size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    parse_size(&String::deserialize(d)?).map_err(D::Error::custom)
}

/// For `#[serde(with = "…")]` of settings that are read and printed.
#[cfg(feature = "api")]
pub(crate) mod units_serde {
    macro_rules! optional {
        ($name:ident, $type:ty, $read:ident, $show:ident) => {
            pub(crate) mod $name {
                use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

                use super::super::{$read, $show};

                pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
                    d: D,
                ) -> Result<Option<$type>, D::Error> {
                    let read = $read(&String::deserialize(d)?);
                    read.map(Some).map_err(D::Error::custom)
                }

                pub(crate) fn serialize<S: Serializer>(
                    value: &Option<$type>,
                    s: S,
                ) -> Result<S::Ok, S::Error> {
                    value.map(|value| $show(value).to_string()).serialize(s)
                }
            }
        };
    }

    optional!(some_time, std::time::Duration, parse_time, ShowTime);
    optional!(some_size, u64, parse_size, ShowSize);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        for (text, micros) in [
            ("250ms", 250_000),
            ("1.5s", 1_500_000),
            ("2 m", 120_000_000),
            ("1h", 3_600_000_000),
            ("2d", 172_800_000_000),
            ("7us", 7),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_time(text),
                Ok(Duration::from_micros(micros)),
                "{text}"
            );
        }
        assert_eq!(parse_time("99999999999999999h"), Ok(Duration::MAX));
        assert!(matches!(parse_time("30"), Err(UnitError::Missing(..))));
        assert!(matches!(
            parse_time("30sec"),
            Err(UnitError::Unknown { .. })
        ));
        for bad in ["", "s", "-1s", "1.2.3s", "fast"] {
            assert!(
                matches!(parse_time(bad), Err(UnitError::Number(..))),
                "{bad}"
            );
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1B", 1),
            ("64KiB", 65_536),
            ("1.5MiB", 1_572_864),
            ("2GiB", 1 << 31),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert!(matches!(parse_size("64KB"), Err(UnitError::Unknown { .. })));
        assert!(matches!(parse_size("64"), Err(UnitError::Missing(..))));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(micros in 0u64..1 << 50, bytes in 0u64..1 << 50) {
            let time = Duration::from_micros(micros);
            let read = parse_time(&ShowTime(time).to_string()).unwrap();
            // f64 holds 2^53 exactly; whole units divide without loss here.
            prop_assert!(read.abs_diff(time) < Duration::from_micros(1));
            prop_assert_eq!(parse_size(&ShowSize(bytes).to_string()), Ok(bytes));
        }
    }
}
