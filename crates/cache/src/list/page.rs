//! Pages and the cursors between them.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::member::Member;
use super::position::{Position, Score};
use crate::cache::Source;

/// A place in a list, to go on from: the score and the member of the last item of a page. It stays
/// what it is whatever is inserted or removed, its own item among it.
///
/// As text (`Display`, `FromStr`) it goes through an API: the score, a dot, the member's bytes in
/// hexadecimal. It is not signed; a made up one reads from where it says, and no more.
///
/// ```
/// use seawall_cache::list::Cursor;
///
/// let cursor = Cursor::new(1_700_000_000.into(), &"ab".to_owned());
/// assert_eq!(cursor.to_string(), "1700000000.6162");
/// assert_eq!("1700000000.6162".parse(), Ok(cursor));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub(super) Position);

impl Cursor {
    /// Behind this item.
    pub fn new(score: Score, member: &impl Member) -> Self {
        let member = member.bytes();
        Self(Position { score, member })
    }

    /// The score of the item that it is behind: for the loader's query.
    #[must_use]
    pub fn score(&self) -> Score {
        self.0.score
    }

    /// The member that it is behind: for the loader's query. `None` where its bytes are none, which
    /// is a cursor made up by a client.
    #[must_use]
    pub fn member<M: Member>(&self) -> Option<M> {
        M::read(&self.0.member)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.0.score.get())?;
        self.0
            .member
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no cursor: one is a score, a dot and a member in hexadecimal, as a page's `next` has it")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (score, hex) = text.split_once('.').ok_or(NoCursor)?;
        let score: i64 = score.parse().map_err(|_| NoCursor)?;
        let score = Score::try_from(score).map_err(|_| NoCursor)?;
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
        let member: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        match member {
            Some(member) if rest.is_empty() => Ok(Self(Position {
                score,
                member: Bytes::from(member),
            })),
            _ => Err(NoCursor),
        }
    }
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<M> {
    /// What it is ordered by.
    pub score: Score,
    /// What it is.
    pub member: M,
}

/// What a loader is asked for: up to `limit` items behind `after`, in the list's order.
///
/// Fewer than `limit` say that nothing is behind them. In SQL, for a descending list:
/// `WHERE list = ? AND (score, id) < (?, ?) ORDER BY score DESC, id DESC LIMIT ?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek {
    /// `None`: from the head.
    pub after: Option<Cursor>,
    /// More than the page that was asked for, so that the next one is there as well.
    pub limit: usize,
}

/// Items of a list, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<M> {
    /// In order; as many as were asked for, or all there are.
    pub items: Vec<Item<M>>,
    /// What to ask for next; `None` at the end. A page may be full and the last one: then the next
    /// is empty.
    pub next: Option<Cursor>,
    /// Nothing is behind these items.
    pub end: bool,
    /// Where they were found. [`Source::Reserve`]: they may be as old as `reserve`.
    pub source: Source,
}
