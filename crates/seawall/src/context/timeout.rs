//! Time limits as they stand in headers: read leniently, written exactly.
//!
//! One rule for all four forms. Zero or negative: the caller's time is up. More than
//! [`MAX_TIMEOUT`], however many digits: [`MAX_TIMEOUT`]. Anything else that is no number of the
//! form: `None`, and the caller ignores and counts it, because a request that would be served
//! without the header must not fail for a bad one.

use std::time::Duration;

use http::HeaderValue;

/// The longest time limit that is believed; longer ones are cut to it. One day.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

const MAX_NANOS: u128 = MAX_TIMEOUT.as_nanos();

/// Digits with an optional sign, times `unit` nanoseconds.
fn scaled(digits: &[u8], unit: u128) -> Option<Duration> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut n: u128 = 0;
    for &d in digits {
        if !d.is_ascii_digit() {
            return None;
        }
        n = (n * 10 + u128::from(d - b'0')).min(MAX_NANOS);
    }
    Some(if negative {
        Duration::ZERO
    } else {
        nanos(n.saturating_mul(unit))
    })
}

fn nanos(n: u128) -> Duration {
    u64::try_from(n.min(MAX_NANOS)).map_or(MAX_TIMEOUT, Duration::from_nanos)
}

/// Whole milliseconds, as in `seawall-timeout-ms`.
///
/// ```
/// use seawall::context::parse_millis;
/// use std::time::Duration;
///
/// assert_eq!(parse_millis(b"250"), Some(Duration::from_millis(250)));
/// assert_eq!(parse_millis(b"-5"), Some(Duration::ZERO));
/// assert_eq!(parse_millis(b"soon"), None);
/// ```
#[must_use]
pub fn parse_millis(value: &[u8]) -> Option<Duration> {
    scaled(value.trim_ascii(), 1_000_000)
}

/// gRPC's `grpc-timeout`, by its "PROTOCOL-HTTP2" document; more than its eight digits are let
/// pass and capped.
#[must_use]
pub fn parse_grpc(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.trim_ascii().split_last()?;
    scaled(digits, unit_of_grpc(*unit)?)
}

const fn unit_of_grpc(unit: u8) -> Option<u128> {
    Some(match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    })
}

/// `go-timeout`: what Go's `time.Duration` prints (`300ms`, `1.5s`, `1h2m3s`), or a bare number
/// of milliseconds.
///
/// No document defines this header. The two forms cannot be mistaken for one another: Go's has a
/// unit unless it is zero.
#[must_use]
pub fn parse_go(value: &[u8]) -> Option<Duration> {
    let value = value.trim_ascii();
    if value.last()?.is_ascii_digit() {
        return scaled(value, 1_000_000);
    }
    let (negative, mut rest) = match value {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, value),
    };
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (part, after) = go_part(rest)?;
        total = total.saturating_add(part);
        rest = after;
    }
    Some(if negative {
        Duration::ZERO
    } else {
        nanos(total)
    })
}

/// One `<number><unit>` of a Go duration, in nanoseconds, and what follows it.
fn go_part(text: &[u8]) -> Option<(u128, &[u8])> {
    let number = text
        .iter()
        .position(|b| !b.is_ascii_digit() && *b != b'.')?;
    let (number, text) = text.split_at(number);
    let unit = text
        .iter()
        .position(|b| b.is_ascii_digit() || *b == b'.')
        .unwrap_or(text.len());
    let (unit, rest) = text.split_at(unit);
    let unit: u128 = match unit {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = match number.iter().position(|b| *b == b'.') {
        Some(dot) => (&number[..dot], &number[dot + 1..]),
        None => (number, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut total = if whole.is_empty() {
        0
    } else {
        scaled(whole, unit)?.as_nanos()
    };
    let mut place = unit;
    for &d in fraction {
        if !d.is_ascii_digit() {
            return None;
        }
        place /= 10;
        total += u128::from(d - b'0') * place;
    }
    Some((total, rest))
}

/// Writes whole milliseconds, rounded down: what is left is never overstated.
#[must_use]
pub fn millis_value(left: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
}

/// Writes a `grpc-timeout`: the finest unit that fits eight digits, rounded down.
///
/// gRPC wants a positive number; time that is up is written as one nanosecond.
#[must_use]
pub fn grpc_value(left: Duration) -> HeaderValue {
    const UNITS: [(u128, u8); 6] = [
        (1, b'n'),
        (1_000, b'u'),
        (1_000_000, b'm'),
        (1_000_000_000, b'S'),
        (60_000_000_000, b'M'),
        (3_600_000_000_000, b'H'),
    ];
    let n = left.as_nanos().max(1);
    let (amount, unit) = UNITS
        .iter()
        .map(|(size, unit)| (n / size, *unit))
        .find(|(amount, _)| *amount <= 99_999_999)
        .unwrap_or((99_999_999, b'H'));
    let mut text = [0u8; 9];
    let mut at = text.len() - 1;
    text[at] = unit;
    let mut amount = amount;
    loop {
        at -= 1;
        text[at] = b'0' + (amount % 10) as u8;
        amount /= 10;
        if amount == 0 {
            break;
        }
    }
    // Digits and a letter are always a valid value.
    HeaderValue::from_bytes(&text[at..]).unwrap_or_else(|_| HeaderValue::from_static("1n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Option<Duration> {
        Some(Duration::from_millis(n))
    }

    #[test]
    fn milliseconds() {
        assert_eq!(parse_millis(b"250"), ms(250));
        assert_eq!(parse_millis(b" 250 "), ms(250));
        assert_eq!(parse_millis(b"0"), ms(0));
        assert_eq!(parse_millis(b"-1"), ms(0));
        assert_eq!(parse_millis(b"-99999999999999999999999999"), ms(0));
        assert_eq!(
            parse_millis(b"99999999999999999999999999999999999999999999"),
            Some(MAX_TIMEOUT)
        );
        for garbage in [
            "", "-", "+", "1.5", "1e3", "0x10", "250ms", "1 2", "\u{661}",
        ] {
            assert_eq!(parse_millis(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn grpc() {
        assert_eq!(parse_grpc(b"1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_grpc(b"2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse_grpc(b"3S"), ms(3000));
        assert_eq!(parse_grpc(b"250m"), ms(250));
        assert_eq!(parse_grpc(b"7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse_grpc(b"9n"), Some(Duration::from_nanos(9)));
        assert_eq!(parse_grpc(b"99999999H"), Some(MAX_TIMEOUT));
        assert_eq!(parse_grpc(b"0S"), ms(0));
        assert_eq!(parse_grpc(b"-1S"), ms(0));
        for garbage in ["", "S", "1", "1s", "1.5S", "1SS", "m1"] {
            assert_eq!(parse_grpc(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn go() {
        assert_eq!(parse_go(b"250"), ms(250));
        assert_eq!(parse_go(b"250ms"), ms(250));
        assert_eq!(parse_go(b"1.5s"), ms(1500));
        assert_eq!(parse_go(b".5s"), ms(500));
        assert_eq!(parse_go(b"1m30s"), ms(90_000));
        assert_eq!(parse_go("7µs".as_bytes()), Some(Duration::from_micros(7)));
        assert_eq!(parse_go(b"0s"), ms(0));
        assert_eq!(parse_go(b"-1.5s"), ms(0));
        assert_eq!(parse_go(b"9999999h"), Some(MAX_TIMEOUT));
        for garbage in ["", "s", "1x", "1.2.3s", ".s", "1s2", "- 1s", "1.5"] {
            assert_eq!(parse_go(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn written() {
        assert_eq!(millis_value(Duration::from_micros(1_999)), "1");
        assert_eq!(grpc_value(Duration::ZERO), "1n");
        assert_eq!(grpc_value(Duration::from_millis(250)), "250000u");
        assert_eq!(grpc_value(Duration::from_millis(99)), "99000000n");
        assert_eq!(grpc_value(Duration::from_secs(3600)), "3600000m");
        assert_eq!(grpc_value(Duration::MAX), "99999999H");
    }

    proptest! {
        #[test]
        fn what_is_written_never_overstates(n in 1u64..=MAX_TIMEOUT.as_nanos() as u64) {
            let left = Duration::from_nanos(n);
            let grpc = parse_grpc(grpc_value(left).as_bytes()).unwrap();
            prop_assert!(grpc <= left && left - grpc <= left / 99_999);
            let millis = parse_millis(millis_value(left).as_bytes()).unwrap();
            prop_assert!(millis <= left && left - millis < Duration::from_millis(1));
        }

        #[test]
        fn no_bytes_panic(value: Vec<u8>) {
            for parsed in [parse_millis(&value), parse_grpc(&value), parse_go(&value)].into_iter().flatten() {
                prop_assert!(parsed <= MAX_TIMEOUT);
            }
        }

        #[test]
        fn near_misses_do_not_panic(value in "[-+]?[0-9.]{0,40}(ns|us|ms|s|m|h|H|M|S|n|u)?[0-9.]{0,9}(s|m)?") {
            for parsed in [parse_millis(value.as_bytes()), parse_grpc(value.as_bytes()), parse_go(value.as_bytes())].into_iter().flatten() {
                prop_assert!(parsed <= MAX_TIMEOUT);
            }
        }
    }
}
