//! Where an item of a list stands: a score, then the member's bytes.

use std::cmp::Ordering;

use bytes::Bytes;

/// The largest score, and its negative the smallest: up to here a Redis score, which is a double,
/// holds every integer.
pub const MAX_SCORE: i64 = 1 << 53;

/// What a list is ordered by: an integer of at most 2⁵³, so that Redis, the database and this
/// process mean the same number by it. Times fit in microseconds (until the year 2255), not in
/// nanoseconds.
///
/// ```
/// use seawall_cache::list::Score;
///
/// assert_eq!(Score::try_from(12.0)?, Score::try_from(12_i64)?);
/// assert!(Score::try_from(i64::MAX).is_err());
/// assert!(Score::try_from(0.5).is_err() && Score::try_from(f64::NAN).is_err());
/// # Ok::<_, seawall_cache::list::NoScore>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(i64);

/// A number that cannot be a score: no integer, or beyond 2⁵³.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no score: one is an integer from -2^53 to 2^53; scale it, or use a coarser unit")]
pub struct NoScore(pub f64);

impl Score {
    /// The number 0.
    pub const ZERO: Self = Self(0);

    /// The number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl From<i32> for Score {
    fn from(number: i32) -> Self {
        Self(number.into())
    }
}

impl From<u32> for Score {
    fn from(number: u32) -> Self {
        Self(number.into())
    }
}

impl TryFrom<i64> for Score {
    type Error = NoScore;

    #[expect(clippy::cast_precision_loss, reason = "only for the message")]
    fn try_from(number: i64) -> Result<Self, NoScore> {
        if (-MAX_SCORE..=MAX_SCORE).contains(&number) {
            Ok(Self(number))
        } else {
            Err(NoScore(number as f64))
        }
    }
}

impl TryFrom<u64> for Score {
    type Error = NoScore;

    #[expect(clippy::cast_precision_loss, reason = "only for the message")]
    fn try_from(number: u64) -> Result<Self, NoScore> {
        i64::try_from(number)
            .map_err(|_| NoScore(number as f64))?
            .try_into()
    }
}

impl TryFrom<f64> for Score {
    type Error = NoScore;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "an integer within 2^53 by then"
    )]
    fn try_from(number: f64) -> Result<Self, NoScore> {
        if number.fract() == 0.0 && number.abs() <= MAX_SCORE as f64 {
            Ok(Self(number as i64))
        } else {
            Err(NoScore(number))
        }
    }
}

/// Which end of a list is its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The highest score, and of equal scores the highest member: timelines, comments, rankings.
    /// In SQL: `ORDER BY score DESC, member DESC`.
    #[default]
    Descending,
    /// The lowest first. In SQL: `ORDER BY score, member`.
    Ascending,
}

/// An item of a list as stores know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) score: Score,
    pub(crate) member: Bytes,
}

impl Order {
    /// `Less`: `a` stands nearer to the head.
    pub(crate) fn compare(self, a: &Position, b: &Position) -> Ordering {
        match self {
            Self::Descending => b.cmp(a),
            Self::Ascending => a.cmp(b),
        }
    }

    /// Whether `position` stands behind `from`; `None` is in front of the head.
    pub(crate) fn behind(self, position: &Position, from: Option<&Position>) -> bool {
        from.is_none_or(|from| self.compare(position, from).is_gt())
    }

    /// Whether `position` stands at or before `to`; `None` is the end.
    pub(crate) fn until(self, position: &Position, to: Option<&Position>) -> bool {
        to.is_none_or(|to| self.compare(position, to).is_le())
    }
}
