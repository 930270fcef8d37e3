//! What may be asked of a list where it is kept, and the answers.

use std::time::Duration;

use super::position::{Order, Position, Score};
use crate::store::Token;

/// No lease and no fence is longer; one with more than this left is the work of a clock that
/// jumped, and over.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);
/// Loads of one list under way at once; more load for themselves, and what they load is not kept.
pub(super) const LEASES: usize = 32;
/// Changes that are remembered for loads under way; a load that more have overtaken is not kept.
pub(super) const LOG: usize = 128;
/// Writes of one list under way at once; beyond, the oldest counts as lost.
pub(super) const PENDING: usize = 64;
/// Known parts of a list; beyond, the one farthest from the head is forgotten.
pub(super) const SPANS: usize = 64;

/// What holds for all lists of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) order: Order,
    /// Members that are kept of a list.
    pub(crate) bound: u32,
    /// How long a load may take.
    pub(crate) lease: Duration,
    /// How long a write may take.
    pub(crate) fence: Duration,
    /// How long a list lives, from its first load on.
    pub(crate) life: Duration,
}

/// What of a page is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) items: Vec<Position>,
    /// Whether these are all that was asked for; otherwise the rest is to be loaded from behind
    /// `from`.
    pub(crate) whole: bool,
    /// Nothing is behind these; only ever where `whole`.
    pub(crate) end: bool,
    /// `None`: the head.
    pub(crate) from: Option<Position>,
}

/// The answer to who asks for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Paged {
    /// All of it is known.
    Hit(View),
    /// The rest is the caller's to load, and to fill in; or to release.
    Granted(View),
    /// Too many load at once: to be loaded, and not kept.
    Alone(View),
    /// Another one loads from there, and has so long left. It is told when it comes.
    Busy(Duration),
}

/// The answer to who fills in what was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Whether it was taken.
    pub(crate) kept: bool,
    /// The page as it is known now.
    pub(crate) view: View,
}

/// The answer to who asks for the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Known(u64),
    Granted,
    /// A write is under way: to be counted, and not kept.
    Alone,
    Busy(Duration),
}

/// The answer to who asks for a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ranked {
    /// So many are in front of it.
    Known(u64),
    /// It is not in the list.
    Absent,
    /// What is in front of it is not loaded.
    Unknown,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The member stands where it was said, and the list has so many more than before.
    Done(i8),
    /// Nothing was written.
    Nothing,
    /// One or the other.
    Unknown,
}

/// A member and where it stands from now on; `None`: nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) member: bytes::Bytes,
    pub(crate) to: Option<Score>,
}

impl Moved {
    pub(super) fn position(&self) -> Option<Position> {
        let member = self.member.clone();
        self.to.map(|score| Position { score, member })
    }
}

/// Who asks, and when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) token: Token,
    /// Milliseconds of the store's clock.
    pub(super) until: u64,
}

impl Hold {
    pub(super) fn new(token: Token, now: u64, length: Duration) -> Self {
        let until = now.saturating_add(millis(length.min(LONGEST)));
        Self { token, until }
    }

    pub(super) fn lives(&self, now: u64) -> bool {
        self.until > now && self.until - now <= millis(LONGEST)
    }

    pub(super) fn left(&self, now: u64) -> Duration {
        Duration::from_millis(self.until.saturating_sub(now))
    }
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
