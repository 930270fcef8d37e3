//! `google.protobuf.Timestamp`.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DAY: i64 = 86_400;
const NANOS: i32 = 1_000_000_000;
/// The first second of the year 1, and the last of the year 9999: what the JSON form can tell.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

/// A moment, to the nanosecond. Its text is that of RFC 3339: written in UTC, read with any offset.
///
/// ```
/// use seawall::api::types::Timestamp;
///
/// let at: Timestamp = "2024-02-29T12:30:00.5+02:00".parse().unwrap();
/// assert_eq!(at.to_string(), "2024-02-29T10:30:00.500Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Timestamp {
    /// Since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of the second, 0 to 999,999,999; forward in time also before 1970.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    fn is_sound(self) -> bool {
        (FIRST..=LAST).contains(&self.seconds) && (0..NANOS).contains(&self.nanos)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let (seconds, nanos) = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => (i64::try_from(since.as_secs()), since.subsec_nanos()),
            Err(error) => {
                let before = error.duration();
                let whole = i64::try_from(before.as_secs()).map(|s| -s);
                match before.subsec_nanos() {
                    0 => (whole, 0),
                    nanos => (whole.map(|s| s - 1), NANOS as u32 - nanos),
                }
            }
        };
        Self {
            seconds: seconds.unwrap_or(LAST),
            nanos: nanos as i32,
        }
    }
}

/// A timestamp that is none: its nanoseconds are not of a second, or the platform's time ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a moment between the years 1 and 9999, as text `2024-02-29T12:00:00Z`")]
pub struct NoMoment;

impl TryFrom<Timestamp> for SystemTime {
    type Error = NoMoment;

    fn try_from(at: Timestamp) -> Result<Self, NoMoment> {
        if !at.is_sound() {
            return Err(NoMoment);
        }
        let seconds = Duration::from_secs(at.seconds.unsigned_abs());
        let whole = if at.seconds < 0 {
            Self::UNIX_EPOCH.checked_sub(seconds)
        } else {
            Self::UNIX_EPOCH.checked_add(seconds)
        };
        let nanos = Duration::from_nanos(at.nanos as u64);
        whole
            .and_then(|time| time.checked_add(nanos))
            .ok_or(NoMoment)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        match self.nanos {
            0 => {}
            n if n % 1_000_000 == 0 => write!(f, ".{:03}", n / 1_000_000)?,
            n if n % 1_000 == 0 => write!(f, ".{:06}", n / 1_000)?,
            n => write!(f, ".{n:09}")?,
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        read(text.as_bytes())
            .filter(|at| at.is_sound())
            .ok_or(NoMoment)
    }
}

fn read(text: &[u8]) -> Option<Timestamp> {
    let (date, time) = (text.get(..10)?, text.get(11..19)?);
    let marks = date[4] == b'-' && date[7] == b'-' && time[2] == b':' && time[5] == b':';
    let between = matches!(text[10], b'T' | b't' | b' ');
    if !marks || !between {
        return None;
    }
    let (year, month, day) = (
        digits(&date[..4])?,
        digits(&date[5..7])?,
        digits(&date[8..])?,
    );
    let (hour, minute, second) = (
        digits(&time[..2])?,
        digits(&time[3..5])?,
        digits(&time[6..])?,
    );
    let days = days(year, month, day);
    // A date that there is not comes back as another: the 30th of February.
    if hour > 23 || minute > 59 || second > 59 || civil(days) != (year, month, day) {
        return None;
    }
    let (nanos, zone) = fraction(&text[19..])?;
    let seconds = days * DAY + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Some(Timestamp { seconds, nanos })
}

/// Nanoseconds, and what is left.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(after) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let len = after.iter().take_while(|b| b.is_ascii_digit()).count();
    let scale = 10i64.pow(9u32.checked_sub(u32::try_from(len).ok()?)?);
    let nanos = digits(&after[..len])? * scale;
    Some((i32::try_from(nanos).ok()?, &after[len..]))
}

/// Seconds east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, zone) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', zone @ ..] => (1, zone),
        [b'-', zone @ ..] => (-1, zone),
        _ => return None,
    };
    if zone.len() != 5 || zone[2] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(&zone[..2])?, digits(&zone[3..])?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn digits(text: &[u8]) -> Option<i64> {
    let digit = |all: Option<i64>, b: &u8| match b {
        b'0'..=b'9' => Some(all? * 10 + i64::from(b - b'0')),
        _ => None,
    };
    text.iter().fold((!text.is_empty()).then_some(0), digit)
}

/// Days since 1970-01-01 of the Gregorian calendar. Years begin in March, so that a leap day is the
/// last of one; 400 of them have 146,097 days.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_sound() {
            return Err(serde::ser::Error::custom(NoMoment));
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as `2024-02-29T12:00:00Z`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
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
            ("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00Z"),
            (
                "1969-12-31T23:59:59.999999999Z",
                -1,
                999_999_999,
                "1969-12-31T23:59:59.999999999Z",
            ),
            (
                "2000-02-29t00:00:00.1z",
                951_782_400,
                100_000_000,
                "2000-02-29T00:00:00.100Z",
            ),
            (
                "2024-01-01 01:00:00-01:30",
                1_704_076_200,
                0,
                "2024-01-01T02:30:00Z",
            ),
            ("0001-01-01T00:00:00Z", FIRST, 0, "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", LAST, 0, "9999-12-31T23:59:59Z"),
        ] {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!((at.seconds, at.nanos), (seconds, nanos), "{text}");
            assert_eq!(at.to_string(), written);
        }
        for wrong in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "2024-01-01T00:00:00+1:00",
            "0000-12-31T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "2024-01-01",
            "2024-01-01T00:00:00Zé",
        ] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(NoMoment), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in FIRST..=LAST, nanos in 0..NANOS) {
            let at = Timestamp { seconds, nanos };
            prop_assert_eq!(at.to_string().parse(), Ok(at));
            let time = SystemTime::try_from(at).unwrap();
            prop_assert_eq!(Timestamp::from(time), at);
        }

        #[test]
        fn no_number_and_no_text_panics(seconds: i64, nanos: i32, text in "[-0-9T:.+Zé ]{0,32}") {
            let at = Timestamp { seconds, nanos };
            let _ = (at.to_string(), SystemTime::try_from(at), serde_json::to_string(&at));
            let _ = text.parse::<Timestamp>();
        }
    }
}
