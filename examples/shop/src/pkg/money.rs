//! Amounts.

use std::fmt;

/// An amount in cents of the shop's only currency, never below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

/// An amount beyond what the shop deals in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {}", Money::MOST)]
pub struct TooMuch;

impl Money {
    /// The most the shop deals in: a million. Far enough from the types' ends on the wire and in
    /// the database that no sum can overflow on the way.
    pub const MOST: Self = Self(100_000_000);

    /// Nothing.
    pub const NOTHING: Self = Self(0);

    /// So many cents.
    ///
    /// # Errors
    /// More than [`Money::MOST`].
    pub fn cents(cents: u64) -> Result<Self, TooMuch> {
        if cents > Self::MOST.0 {
            return Err(TooMuch);
        }
        Ok(Self(cents))
    }

    /// How many cents it is.
    #[must_use]
    pub fn in_cents(self) -> u64 {
        self.0
    }

    /// Both together.
    ///
    /// # Errors
    /// More than [`Money::MOST`].
    pub fn plus(self, other: Self) -> Result<Self, TooMuch> {
        Self::cents(self.0.saturating_add(other.0))
    }

    /// So many of it.
    ///
    /// # Errors
    /// More than [`Money::MOST`].
    pub fn times(self, count: u32) -> Result<Self, TooMuch> {
        Self::cents(self.0.saturating_mul(u64::from(count)))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_an_error_and_no_overflow() {
        assert_eq!(Money::cents(u64::MAX), Err(TooMuch));
        assert_eq!(Money::MOST.plus(Money(1)), Err(TooMuch));
        assert_eq!(Money::MOST.times(u32::MAX), Err(TooMuch));
        assert_eq!(Money(1250).times(2), Ok(Money(2500)));
    }

    #[test]
    fn it_reads_as_people_write_it() {
        assert_eq!(Money(1205).to_string(), "12.05");
    }
}
