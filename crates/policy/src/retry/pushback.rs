//! What a server asks of those who would try again.

use std::time::Duration;

/// When a server wants a retry, as its headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pushback {
    /// It said nothing that can be used: the own backoff decides.
    #[default]
    Unsaid,
    /// Not before this time has passed.
    After(Duration),
    /// Not at all.
    Never,
}

impl Pushback {
    /// Reads `retry-after` (RFC 9110, section 10.2.3): whole seconds, blanks around them allowed.
    ///
    /// A date is [`Pushback::Unsaid`], as is any other text: to read it takes a wall clock that
    /// agrees with the server's, and the own backoff does no harm. A number below zero, which the
    /// standard does not have, is [`Pushback::Never`]: whoever writes it means what gRPC means.
    /// A number beyond 64 bits is the longest there is.
    ///
    /// ```
    /// use seawall_policy::retry::Pushback;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Pushback::from_retry_after(b"2"), Pushback::After(Duration::from_secs(2)));
    /// assert_eq!(Pushback::from_retry_after(b"-1"), Pushback::Never);
    /// assert_eq!(Pushback::from_retry_after(b"Fri, 31 Dec 1999 23:59:59 GMT"), Pushback::Unsaid);
    /// ```
    #[must_use]
    pub fn from_retry_after(value: &[u8]) -> Self {
        match Number::read(value) {
            Number::Of(seconds) => Self::After(Duration::from_secs(seconds)),
            Number::Negative => Self::Never,
            Number::Not => Self::Unsaid,
        }
    }

    /// Reads `grpc-retry-pushback-ms` (gRFC A6): milliseconds. What is negative or is no number
    /// means that the server wants no retry.
    ///
    /// ```
    /// use seawall_policy::retry::Pushback;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Pushback::from_grpc(b"150"), Pushback::After(Duration::from_millis(150)));
    /// assert_eq!(Pushback::from_grpc(b"-1"), Pushback::Never);
    /// assert_eq!(Pushback::from_grpc(b"soon"), Pushback::Never);
    /// ```
    #[must_use]
    pub fn from_grpc(value: &[u8]) -> Self {
        match Number::read(value) {
            Number::Of(ms) => Self::After(Duration::from_millis(ms)),
            Number::Negative | Number::Not => Self::Never,
        }
    }
}

enum Number {
    Of(u64),
    Negative,
    Not,
}

impl Number {
    fn read(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let (negative, digits) = match value.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, value),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Self::Not;
        }
        let number = digits.iter().fold(0_u64, |number, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
        match number {
            0 => Self::Of(0),
            _ if negative => Self::Negative,
            _ => Self::Of(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_is_written(n in any::<u64>(), blanks in "[ \t]{0,3}") {
            let text = format!("{blanks}{n}{blanks}");
            let (s, ms) = (Duration::from_secs(n), Duration::from_millis(n));
            prop_assert_eq!(Pushback::from_retry_after(text.as_bytes()), Pushback::After(s));
            prop_assert_eq!(Pushback::from_grpc(text.as_bytes()), Pushback::After(ms));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let number = matches!(Pushback::from_retry_after(&bytes), Pushback::After(_));
            let grpc = matches!(Pushback::from_grpc(&bytes), Pushback::After(_));
            prop_assert_eq!(number, grpc);
        }
    }

    #[test]
    fn odd_values() {
        for odd in ["", " ", "-", "+5", "1.5", "5s", "0x10", "١"] {
            assert_eq!(
                Pushback::from_retry_after(odd.as_bytes()),
                Pushback::Unsaid,
                "{odd}"
            );
            assert_eq!(
                Pushback::from_grpc(odd.as_bytes()),
                Pushback::Never,
                "{odd}"
            );
        }
        let longest = Pushback::After(Duration::from_secs(u64::MAX));
        assert_eq!(Pushback::from_retry_after(&[b'9'; 400]), longest);
        assert_eq!(
            Pushback::from_retry_after(b"-0"),
            Pushback::After(Duration::ZERO)
        );
        assert_eq!(
            Pushback::from_retry_after(b"-99999999999999999999999"),
            Pushback::Never
        );
    }
}
