//! From when until when a certificate holds.
//!
//! rustls checks it and does not tell. A certificate's first fields are in fixed order, so reading
//! them takes fewer lines than the crates that read all of X.509 have dependencies. Only files that
//! the operator names are read here.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const DAY: i64 = 86_400;

/// Both ends, which are included, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Validity {
    /// Of a certificate in DER; `None` for what is none.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut signed = Der(Der(outer.expect(SEQUENCE)?).expect(SEQUENCE)?);
        if signed.0.first() == Some(&VERSION) {
            signed.next()?;
        }
        // Serial number, algorithm, issuer.
        for _ in 0..3 {
            signed.next()?;
        }
        let mut both = Der(signed.expect(SEQUENCE)?);
        Some(Self {
            not_before: both.time()?,
            not_after: both.time()?,
        })
    }
}

/// What is left of a DER encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value and its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // No certificate has a field beyond 2³² bytes.
            let bytes = usize::from(first & 0x7F);
            let (length, rest) = rest.split_at_checked(bytes).filter(|_| bytes <= 4)?;
            let length = length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
            (length, rest)
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .and_then(|(found, value)| (found == tag).then_some(value))
    }

    /// RFC 5280, 4.1.2.5: years of two digits from 50 on are of the last century.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let digits = text.strip_suffix(b"Z")?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = digits.split_at_checked(2)?;
                let year = number(year)?;
                (year + if year < 50 { 2_000 } else { 1_900 }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = digits.split_at_checked(4)?;
                (number(year)?, rest)
            }
            _ => return None,
        };
        let fields: &[u8; 10] = rest.try_into().ok()?;
        let field = |n: usize| number(&fields[2 * n..2 * n + 2]);
        let (month, day) = (field(0)?, field(1)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let seconds = field(2)? * 3_600 + field(3)? * 60 + field(4)?;
        Some(days(year, month, day) * DAY + seconds)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, digit| {
        digit
            .is_ascii_digit()
            .then(|| n * 10 + i64::from(digit - b'0'))
    })
}

/// Days from 1970-01-01 in the Gregorian calendar. A year that begins in March ends with its leap
/// day, so the days before a month are 153 in five months.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Seconds since 1970 by the system's clock.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// A time to read: `2026-11-25`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Date(pub(crate) i64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.0.div_euclid(DAY);
        // The estimate is right but for the days around a new year.
        let mut year = 1_970 + day.saturating_mul(400).div_euclid(146_097);
        while days(year + 1, 1, 1) <= day {
            year += 1;
        }
        while days(year, 1, 1) > day {
            year -= 1;
        }
        let month = (1..=12).rfind(|month| days(year, *month, 1) <= day);
        let month = month.unwrap_or(1);
        write!(
            f,
            "{year:04}-{month:02}-{:02}",
            day - days(year, month, 1) + 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate(from: (i32, u8, u8), to: (i32, u8, u8)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn what_rcgen_writes_is_read() {
        let read = Validity::of(&certificate((1999, 12, 31), (2049, 2, 28))).unwrap();
        assert_eq!(
            (
                Date(read.not_before).to_string(),
                Date(read.not_after).to_string()
            ),
            ("1999-12-31".to_owned(), "2049-02-28".to_owned())
        );
        assert_eq!(read.not_before, 946_598_400);
        // From 2050 on another form is used.
        let read = Validity::of(&certificate((1970, 1, 1), (2400, 2, 29))).unwrap();
        assert_eq!(read.not_before, 0);
        assert_eq!(Date(read.not_after).to_string(), "2400-02-29");
    }

    proptest! {
        #[test]
        fn a_date_reads_as_it_was_written(year in 1i64..9_999, month in 1i64..=12, day in 1i64..=28) {
            let at = days(year, month, day) * DAY;
            prop_assert_eq!(Date(at).to_string(), format!("{year:04}-{month:02}-{day:02}"));
            prop_assert_eq!(days(year, month, day + 1), at / DAY + 1);
        }

        #[test]
        fn nothing_makes_it_panic(junk in proptest::collection::vec(any::<u8>(), 0..64), at in any::<i32>()) {
            let _ = Validity::of(&junk);
            let _ = Date(i64::from(at)).to_string();
            let mut cut = certificate((2020, 1, 1), (2030, 1, 1));
            for (place, byte) in junk.iter().enumerate() {
                let place = (place * 31 + usize::from(*byte)) % cut.len().min(200);
                cut[place] = *byte;
            }
            let _ = Validity::of(&cut);
        }
    }
}
