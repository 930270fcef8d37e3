//! `google.protobuf.Duration`.

use std::fmt;
use std::str::FromStr;
use std::time;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS: i32 = 1_000_000_000;
/// Ten thousand years, which is the most that the definition allows, in either direction.
const MOST: i64 = 315_576_000_000;

/// A length of time, to the nanosecond, forward or back. Its text is in seconds: `"1.500s"`.
///
/// ```
/// use seawall::api::types::Duration;
/// # use std::time;
///
/// let within: Duration = "1.5s".parse().unwrap();
/// assert_eq!(time::Duration::try_from(within), Ok(time::Duration::from_millis(1_500)));
/// assert_eq!(Duration::from(time::Duration::from_micros(20)).to_string(), "0.000020s");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of a second, of the sign of `seconds`.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Duration {
    fn is_sound(self) -> bool {
        let signs = self.seconds.signum() * i64::from(self.nanos.signum());
        (-MOST..=MOST).contains(&self.seconds)
            && (1 - NANOS..NANOS).contains(&self.nanos)
            && signs >= 0
    }
}

/// A duration that is none: too long, or of two signs. As one of the standard library's: negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time of at most 10,000 years, as text `1.5s`")]
pub struct NoDuration;

/// What is longer than the definition allows becomes the longest.
impl From<time::Duration> for Duration {
    fn from(length: time::Duration) -> Self {
        let seconds = i64::try_from(length.as_secs()).unwrap_or(MOST).min(MOST);
        Self {
            seconds,
            nanos: length.subsec_nanos() as i32,
        }
    }
}

impl TryFrom<Duration> for time::Duration {
    type Error = NoDuration;

    fn try_from(length: Duration) -> Result<Self, NoDuration> {
        let seconds = u64::try_from(length.seconds).map_err(|_| NoDuration)?;
        let nanos = u32::try_from(length.nanos).map_err(|_| NoDuration)?;
        match length.is_sound() {
            true => Ok(Self::new(seconds, nanos)),
            false => Err(NoDuration),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.seconds < 0 || self.nanos < 0 {
            "-"
        } else {
            ""
        };
        write!(f, "{sign}{}", self.seconds.unsigned_abs())?;
        match self.nanos.unsigned_abs() {
            0 => {}
            n if n % 1_000_000 == 0 => write!(f, ".{:03}", n / 1_000_000)?,
            n if n % 1_000 == 0 => write!(f, ".{:06}", n / 1_000)?,
            n => write!(f, ".{n:09}")?,
        }
        f.write_str("s")
    }
}

impl FromStr for Duration {
    type Err = NoDuration;

    fn from_str(text: &str) -> Result<Self, NoDuration> {
        read(text)
            .filter(|length| length.is_sound())
            .ok_or(NoDuration)
    }
}

fn read(text: &str) -> Option<Duration> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    // What `parse` takes for a number may have a sign of its own.
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let scale = 10_i32.pow(9_u32.checked_sub(u32::try_from(part.len()).ok()?)?);
    Some(Duration {
        seconds: i64::from(sign) * whole.parse::<i64>().ok()?,
        nanos: sign * part.parse::<i32>().ok()? * scale,
    })
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_sound() {
            return Err(serde::ser::Error::custom(NoDuration));
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as `1.5s`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        for (text, seconds, nanos, written) in [
            ("0s", 0, 0, "0s"),
            ("-0s", 0, 0, "0s"),
            ("1.5s", 1, 500_000_000, "1.500s"),
            ("-0.000067088s", 0, -67_088, "-0.000067088s"),
            ("-90.000002s", -90, -2_000, "-90.000002s"),
            ("315576000000s", MOST, 0, "315576000000s"),
        ] {
            let length: Duration = text.parse().unwrap();
            assert_eq!((length.seconds, length.nanos), (seconds, nanos), "{text}");
            assert_eq!(length.to_string(), written);
        }
        for wrong in [
            "",
            "s",
            "1",
            "1.s",
            ".5s",
            "+1s",
            "1.+5s",
            "1.0000000001s",
            "1 s",
            "1e3s",
            "é",
            "315576000001s",
            "9223372036854775808s",
            // Negated, the least number there is has no place.
            "--9223372036854775808s",
        ] {
            assert_eq!(wrong.parse::<Duration>(), Err(NoDuration), "{wrong}");
        }
    }

    #[test]
    fn what_is_none_is_not_told() {
        for (seconds, nanos) in [
            (-90, 1),
            (90, -1),
            (MOST + 1, 0),
            (0, NANOS),
            (i64::MIN, i32::MIN),
        ] {
            let length = Duration { seconds, nanos };
            assert!(serde_json::to_string(&length).is_err(), "{length}");
            assert_eq!(time::Duration::try_from(length), Err(NoDuration));
        }
        let longest = Duration::from(time::Duration::MAX);
        assert_eq!(longest.seconds, MOST);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in -MOST..=MOST, nanos in 0..NANOS) {
            let nanos = if seconds < 0 { -nanos } else { nanos };
            let length = Duration { seconds, nanos };
            prop_assert_eq!(length.to_string().parse(), Ok(length));
            if let Ok(std) = time::Duration::try_from(length) {
                prop_assert_eq!(Duration::from(std), length);
            }
        }

        #[test]
        fn no_number_and_no_text_panics(seconds: i64, nanos: i32, text in "[-+0-9.sé ]{0,24}") {
            let length = Duration { seconds, nanos };
            let _ = (length.to_string(), time::Duration::try_from(length), serde_json::to_string(&length));
            let _ = text.parse::<Duration>();
        }
    }
}
