//! How far a server is in the primary's history, by MariaDB's global transaction ids.

use std::fmt;
use std::str::FromStr;

/// The most replication domains that a position holds; a server has one, seldom a few.
const MAX_DOMAINS: usize = 16;

/// How far a server is: of each replication domain the last transaction. As text it is MariaDB's own
/// form, `0-1-9` (domain, server, sequence number), parted by commas, and can travel in a header, a
/// cookie or a message, so that another process reads what this one has written.
///
/// It is no secret and no proof: whoever invents one that lies ahead has his reads go to the primary,
/// in the part of it that is kept for [own reads](super::Settings::own_reads). Take it from callers
/// that are trusted.
///
/// ```
/// use seawall::data::Position;
///
/// let here: Position = "0-1-9,7-2-100".parse()?;
/// assert!(here.covers(&"0-3-8".parse()?));
/// assert!(!here.covers(&"0-1-10".parse()?));
/// # Ok::<(), seawall::data::PositionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(Vec<Gtid>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gtid {
    domain: u32,
    server: u32,
    sequence: u64,
}

/// Why a text is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no position such as \"0-1-9\": domain, server, sequence number; at most 16 domains"
)]
pub struct PositionError(String);

impl Position {
    /// Whether a server that is here has all that one at `other` has.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|theirs| {
            let ours = self.0.iter().find(|ours| ours.domain == theirs.domain);
            ours.is_some_and(|ours| ours.sequence >= theirs.sequence)
        })
    }

    /// Moves on to what `other` has and this has not.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.0 {
            match self.0.iter_mut().find(|our| our.domain == theirs.domain) {
                Some(ours) if ours.sequence >= theirs.sequence => {}
                Some(ours) => *ours = *theirs,
                None => self.0.push(*theirs),
            }
        }
    }

    /// Nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, gtid) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(
                f,
                "{comma}{}-{}-{}",
                gtid.domain, gtid.server, gtid.sequence
            )?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        // Cut for the message: the text may come from anyone.
        let bad = || PositionError(text.chars().take(64).collect());
        let mut position = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let gtid = gtid(part).ok_or_else(bad)?;
            position.merge(&Self(vec![gtid]));
            if position.0.len() > MAX_DOMAINS {
                return Err(bad());
            }
        }
        Ok(position)
    }
}

fn gtid(text: &str) -> Option<Gtid> {
    let mut numbers = text.split('-');
    let gtid = Gtid {
        domain: numbers.next()?.parse().ok()?,
        server: numbers.next()?.parse().ok()?,
        sequence: numbers.next()?.parse().ok()?,
    };
    numbers.next().is_none().then_some(gtid)
}

#[cfg(test)]
pub(super) fn at(sequence: u64) -> Position {
    Position(vec![Gtid {
        domain: 0,
        server: 1,
        sequence,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        let gtid = (0u32..4, 1u32..4, any::<u64>()).prop_map(|(domain, server, sequence)| Gtid {
            domain,
            server,
            sequence,
        });
        proptest::collection::vec(gtid, 0..6).prop_map(|gtids| {
            let mut position = Position::default();
            for gtid in gtids {
                position.merge(&Position(vec![gtid]));
            }
            position
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(position in position()) {
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn merged_covers_both_and_nothing_else(a in position(), b in position(), c in position()) {
            let mut both = a.clone();
            both.merge(&b);
            prop_assert!(both.covers(&a) && both.covers(&b));
            if c.covers(&a) && c.covers(&b) {
                prop_assert!(c.covers(&both));
            }
        }

        #[test]
        fn anything_is_read_or_refused(text in ".*") {
            let _ = text.parse::<Position>();
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let many: Vec<_> = (0..17).map(|n| format!("{n}-1-1")).collect();
        for bad in [
            "0-1",
            "0-1-2-3",
            "0-1--2",
            "a-b-c",
            "0-1-99999999999999999999",
            &many.join(","),
        ] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(Position::default()));
    }
}
