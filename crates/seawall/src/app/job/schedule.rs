//! When a job is due.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};

use crate::config::parse_time;

const DAY: i64 = 86_400;

/// When a job is due: a cron pattern (`"*/5 * * * *"`; with six fields the first is seconds;
/// `@hourly` and the like), or `"every 30s"`.
///
/// In UTC, whatever the machine's zone: so no run is lost or doubled when clocks change.
///
/// ```
/// use seawall::app::Schedule;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let nightly: Schedule = "30 3 * * *".parse()?;
/// let first = nightly.after(UNIX_EPOCH).ok_or("never")?;
/// assert_eq!(first, UNIX_EPOCH + Duration::from_secs(3 * 3600 + 30 * 60));
/// assert!("every 30".parse::<Schedule>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    written: String,
    when: When,
}

#[derive(Clone, Debug, PartialEq)]
enum When {
    Cron(Box<Cron>),
    Every(Duration),
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no schedule: {1}; write \"*/5 * * * *\" (minute, hour, day, month, weekday, in UTC) or \"every 5m\""
)]
pub struct ScheduleError(String, String);

impl Schedule {
    /// The first time after `now` that it is due; never, where the pattern has no such time.
    ///
    /// An interval is counted from the beginning of 1970, so that every replica has the same.
    #[must_use]
    pub fn after(&self, now: SystemTime) -> Option<SystemTime> {
        let since = now.duration_since(UNIX_EPOCH).ok()?;
        match &self.when {
            When::Every(every) => {
                let left = every.as_nanos() - since.as_nanos() % every.as_nanos();
                now.checked_add(Duration::from_nanos(u64::try_from(left).ok()?))
            }
            When::Cron(cron) => {
                let from = Utc(i64::try_from(since.as_secs()).ok()?);
                let next = cron.find_next_occurrence(&from, false).ok()?;
                let seconds = u64::try_from(next.0).ok()?;
                UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
            }
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let wrong = |why: String| ScheduleError(text.to_owned(), why);
        let when = if let Some(every) = text.trim().strip_prefix("every ") {
            let every = parse_time(every).map_err(|error| wrong(error.to_string()))?;
            // Below, a job is a worker; above, a pattern.
            if !(Duration::from_millis(100)..=Duration::from_secs(86_400 * 366)).contains(&every) {
                return Err(wrong("an interval is 100ms to a year".to_owned()));
            }
            When::Every(every)
        } else {
            let parser = CronParser::builder().seconds(Seconds::Optional).build();
            let cron = parser.parse(text);
            When::Cron(Box::new(cron.map_err(|error| wrong(error.to_string()))?))
        };
        Ok(Self {
            written: text.to_owned(),
            when,
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Seconds since 1970 in UTC: a calendar without zones, so each civil time is there once.
#[derive(Clone, Copy, Debug)]
struct Utc(i64);

impl CronDateTime for Utc {
    fn to_civil(&self) -> CivilDateTime {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let second = u32::try_from(self.0.rem_euclid(DAY)).unwrap_or(0);
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(year, month, day),
            CivilTime::from_parts_unchecked(second / 3600, second / 60 % 60, second % 60),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        // 1970 began on a Thursday.
        let day = (self.0.div_euclid(DAY) + 4).rem_euclid(7);
        Weekday::from_days_from_sunday(u32::try_from(day).unwrap_or(0))
    }

    fn resolve_civil(&self, at: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let second = i64::from(at.hour() * 3600 + at.minute() * 60 + at.second());
        let days = days(at.year(), at.month(), at.day());
        Ok(Resolution::Single(Self(days * DAY + second)))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(seconds).map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// Days from the first of March of year 0 to the beginning of 1970.
const TO_1970: i64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const CYCLE: i64 = 146_097;

/// The day's number, 0 on 1970-01-01. Years begin in March, so that the leap day is the last.
fn days(year: i32, month: u32, day: u32) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = i64::from(year) - i64::from(month < 3);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_cycle = year.rem_euclid(400);
    let day = of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year;
    year.div_euclid(400) * CYCLE + day - TO_1970
}

/// Year, month and day of the day of this number.
fn civil(days: i64) -> (i32, u32, u32) {
    let days = days + TO_1970;
    let of_cycle = days.rem_euclid(CYCLE);
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / (CYCLE - 1)) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + days.div_euclid(CYCLE) * 400 + i64::from(month < 3);
    (
        i32::try_from(year).unwrap_or(i32::MAX),
        u32::try_from(month).unwrap_or(1),
        u32::try_from(day).unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn next(schedule: &str, from: u64) -> u64 {
        let schedule: Schedule = schedule.parse().unwrap();
        let next = schedule.after(at(from)).unwrap();
        next.duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn due() {
        // 2024-02-28 23:59:30 UTC, a Wednesday in a leap year.
        let leap = 1_709_164_770;
        assert_eq!(next("*/5 * * * *", leap), leap + 30);
        assert_eq!(next("*/10 * * * * *", leap), leap + 10);
        assert_eq!(next("0 12 29 2 *", leap), leap + 30 + 12 * 3600);
        assert_eq!(next("0 0 * * THU", leap), leap + 30);
        assert_eq!(next("@hourly", leap), leap + 30);
        assert_eq!(next("every 1m", leap), leap + 30);
        // On the dot, the next one is meant.
        assert_eq!(next("every 1m", leap + 30), leap + 90);
        assert_eq!(next("* * * * *", leap + 30), leap + 90);
    }

    #[test]
    fn no_schedule() {
        for (bad, why) in [
            ("", "write \"*/5 * * * *\""),
            ("* * *", "is no schedule"),
            ("61 * * * *", "is no schedule"),
            ("every 5", "no unit"),
            ("every 0s", "100ms to a year"),
            ("every 99999h", "100ms to a year"),
            ("every x", "not a number"),
        ] {
            let error = bad.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let never: Schedule = "0 0 30 2 *".parse().unwrap();
        assert_eq!(never.after(at(0)), None);
    }

    proptest! {
        #[test]
        fn the_calendar_is_one(day in -700_000i64..3_000_000) {
            let (year, month, number) = civil(day);
            prop_assert_eq!(days(year, month, number), day);
            let date = CivilDate::from_ymd_opt(year, month, number).unwrap();
            let (y, m, d) = civil(day + 1);
            let next = if date.days_in_month() == number { 1 } else { number + 1 };
            prop_assert_eq!(d, next);
            prop_assert!((y, m) >= (year, month));
        }

        #[test]
        fn the_next_is_later_and_stands(from in 0u64..4_000_000_000, every in 1u64..100_000) {
            let text = format!("every {every}s");
            let first = next(&text, from);
            prop_assert!(first > from && first <= from + every);
            prop_assert_eq!(first % every, 0);
        }
    }
}
