//! Quantities with their unit and range in the type, for the settings of programs.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

use super::units::{ShowSize, ShowTime, parse_size, parse_time};

/// A time, written with its unit (`"250ms"`), of `FROM` to `TO` milliseconds, both included.
///
/// ```
/// use seawall::config::Time;
///
/// let time: Time<1, 60_000> = serde_json::from_str("\"1.5s\"")?;
/// assert_eq!(time.get().as_millis(), 1_500);
/// let error = serde_json::from_str::<Time<1, 60_000>>("\"2m\"").unwrap_err();
/// assert!(error.to_string().starts_with("out of range: time, 1ms to 1m"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time<const FROM: u64 = 0, const TO: u64 = { u64::MAX }>(Duration);

impl<const FROM: u64, const TO: u64> Time<FROM, TO> {
    /// The time, brought into the range.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        let (from, to) = (Duration::from_millis(FROM), Duration::from_millis(TO));
        Self(time.max(from).min(to))
    }

    /// The time.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl<const FROM: u64, const TO: u64> fmt::Display for Time<FROM, TO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShowTime(self.0).fmt(f)
    }
}

/// A size in bytes, written with its unit (`"64KiB"`), of `FROM` to `TO` bytes, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size<const FROM: u64 = 0, const TO: u64 = { u64::MAX }>(u64);

impl<const FROM: u64, const TO: u64> Size<FROM, TO> {
    /// The size, brought into the range.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(bytes.max(FROM).min(TO))
    }

    /// The size in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const FROM: u64, const TO: u64> fmt::Display for Size<FROM, TO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShowSize(self.0).fmt(f)
    }
}

/// A whole number of `FROM` to `TO`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const FROM: u64 = 0, const TO: u64 = { u64::MAX }>(u64);

impl<const FROM: u64, const TO: u64> Count<FROM, TO> {
    /// The number, brought into the range.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self(count.max(FROM).min(TO))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const FROM: u64, const TO: u64> fmt::Display for Count<FROM, TO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is written for a quantity; a bare number is taken so that the missing unit can be named.
struct Written(&'static str);

impl Visitor<'_> for Written {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<String, E> {
        Ok(n.to_string())
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<String, E> {
        Ok(n.to_string())
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<String, E> {
        Ok(n.to_string())
    }
}

impl<'de, const FROM: u64, const TO: u64> Deserialize<'de> for Time<FROM, TO> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = d.deserialize_str(Written("a time with its unit, such as \"250ms\""))?;
        let time = parse_time(&text).map_err(D::Error::custom)?;
        let (from, to) = (Duration::from_millis(FROM), Duration::from_millis(TO));
        if (from..=to).contains(&time) {
            return Ok(Self(time));
        }
        let (from, to) = (ShowTime(from), ShowTime(to));
        Err(D::Error::custom(format!(
            "out of range: time, {from} to {to}"
        )))
    }
}

impl<'de, const FROM: u64, const TO: u64> Deserialize<'de> for Size<FROM, TO> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = d.deserialize_str(Written("a size with its unit, such as \"64KiB\""))?;
        let bytes = parse_size(&text).map_err(D::Error::custom)?;
        if (FROM..=TO).contains(&bytes) {
            return Ok(Self(bytes));
        }
        let (from, to) = (ShowSize(FROM), ShowSize(TO));
        Err(D::Error::custom(format!(
            "out of range: size, {from} to {to}"
        )))
    }
}

impl<'de, const FROM: u64, const TO: u64> Deserialize<'de> for Count<FROM, TO> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let count = i128::from(i64::deserialize(d)?);
        let range = i128::from(FROM)..=i128::from(TO);
        match u64::try_from(count) {
            Ok(inside) if range.contains(&count) => Ok(Self(inside)),
            _ => Err(D::Error::custom(format!(
                "out of range: whole number, {FROM} to {TO}"
            ))),
        }
    }
}

macro_rules! shown {
    ($($name:ident as $how:ident)*) => {$(
        impl<const FROM: u64, const TO: u64> fmt::Debug for $name<FROM, TO> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<const FROM: u64, const TO: u64> Serialize for $name<FROM, TO> {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                shown!(@$how self s)
            }
        }
    )*};
    (@text $self:ident $s:ident) => { $s.collect_str($self) };
    (@number $self:ident $s:ident) => { $s.serialize_u64($self.0) };
}

shown! { Time as text Size as text Count as number }

#[cfg(test)]
mod tests {
    use super::*;

    type Wait = Time<10, 60_000>;

    #[test]
    fn unit_and_range() {
        for (written, wrong) in [
            ("30", "a bare number has no unit: write \"30ms\", say"),
            ("\"30\"", "a bare number has no unit"),
            ("\"30sec\"", "did you mean \"30s\"?"),
            ("\"1ms\"", "out of range: time, 10ms to 1m"),
            ("\"2m\"", "out of range: time, 10ms to 1m"),
            ("\"1MiB\"", "is a size, and a time belongs here"),
            ("true", "a time with its unit"),
        ] {
            // As it is written in a file: JSON has no say over what a number may be.
            let file = format!("wait = {written}");
            let error = toml::from_str::<std::collections::BTreeMap<String, Wait>>(&file);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(wrong), "{written}: {error}");
        }
        let size = serde_json::from_str::<Size<1, 1024>>("\"2KiB\"").unwrap_err();
        assert!(size.to_string().contains("size, 1B to 1KiB"), "{size}");
        for written in ["0", "-1", "11"] {
            let error = serde_json::from_str::<Count<1, 10>>(written).unwrap_err();
            assert!(error.to_string().contains("1 to 10"), "{error}");
        }
    }

    #[test]
    fn shown_as_written() {
        let wait = Wait::new(Duration::from_millis(1_500));
        assert_eq!(serde_json::to_string(&wait).unwrap(), "\"1500ms\"");
        assert_eq!(format!("{wait:?}"), "1500ms");
        assert_eq!(Wait::new(Duration::MAX).get(), Duration::from_secs(60));
        assert_eq!(
            serde_json::to_string(&Count::<1, 10>::new(99)).unwrap(),
            "10"
        );
    }
}
