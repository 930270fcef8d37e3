//! Who has written, and how far a server must be for them to read there.
//!
//! A table of places by a hash of the caller. A place is never emptied, it only moves on: two callers
//! that share one both need what either has written, which costs a read of the primary now and then
//! and never shows anybody an older state than their own write. So memory is bounded and nothing is
//! forgotten.
//!
//! MariaDB could say at which position a write ended (`@@last_gtid`), for one more round trip a write
//! at the busiest server there is. Here the time of the write is noted, and the first position that
//! the primary tells when it is *asked after* that time is taken instead; until then the caller reads
//! at the primary. It lies at the write or past it, so what covers it has the write.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::position::Position;
use crate::Tick;
use crate::clock::Clock;

/// 300 KiB or so.
const PLACES: usize = 4_096;

/// What a caller needs of a server to read there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// That it has this.
    Position(Position),
    /// That it is the primary.
    Primary,
}

impl Need {
    pub(super) fn nothing() -> Self {
        Self::Position(Position::default())
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Position(mut all), Self::Position(more)) => {
                all.merge(&more);
                Self::Position(all)
            }
            _ => Self::Primary,
        }
    }
}

#[derive(Debug, Default)]
struct Place {
    position: Position,
    /// What was written up to here is not in `position` yet.
    unknown: Option<Tick>,
}

/// Those who have written.
#[derive(Debug)]
pub(super) struct Writers {
    places: Box<[Mutex<Place>]>,
    hasher: RandomState,
}

impl Default for Writers {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Writers {
    fn place(&self, caller: u64) -> &Mutex<Place> {
        &self.places[self.hasher.hash_one(caller) as usize % PLACES]
    }

    /// `caller` has written. Not before `by` is it certain that the write has ended.
    pub(super) fn wrote(&self, caller: u64, by: Tick) {
        let mut place = self.place(caller).lock();
        place.unknown = place.unknown.max(Some(by));
    }

    /// What `caller` needs, as the primary was last found: when it was asked, and where it was.
    pub(super) fn need(&self, caller: u64, primary: Option<(Tick, &Position)>) -> Need {
        let mut place = self.place(caller).lock();
        if let Some(by) = place.unknown {
            match primary {
                Some((asked, position)) if asked > by => {
                    place.position.merge(position);
                    place.unknown = None;
                }
                _ => return Need::Primary,
            }
        }
        Need::Position(place.position.clone())
    }
}

/// Whose writes these are.
#[derive(Clone, Debug)]
pub(super) struct Author {
    pub(super) writers: Arc<Writers>,
    pub(super) callers: Vec<u64>,
    pub(super) clock: Clock,
}

impl Author {
    /// Something was written now, or is within `longest`.
    pub(super) fn wrote(&self, longest: Duration) {
        let by = self.clock.now() + longest;
        for caller in &self.callers {
            self.writers.wrote(*caller, by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::position::at;

    const ME: u64 = 1;

    #[test]
    fn a_writer_reads_at_the_primary_until_its_position_is_known() {
        let writers = Writers::default();
        let old = at(7);
        assert_eq!(writers.need(ME, Some((Tick(5), &old))), Need::nothing());
        writers.wrote(ME, Tick(10));
        assert_eq!(writers.need(ME, None), Need::Primary);
        // Asked before the write, or in the same moment: it may not be in there.
        for asked in [5, 10] {
            assert_eq!(writers.need(ME, Some((Tick(asked), &old))), Need::Primary);
        }
        let need = writers.need(ME, Some((Tick(11), &at(9))));
        assert_eq!(need, Need::Position(at(9)));
        // Nor does it grow with what others write.
        assert_eq!(writers.need(ME, Some((Tick(20), &at(30)))), need);
    }

    #[test]
    fn an_earlier_end_does_not_shorten_a_later_one() {
        let writers = Writers::default();
        writers.wrote(ME, Tick(30));
        writers.wrote(ME, Tick(10));
        assert_eq!(writers.need(ME, Some((Tick(20), &at(1)))), Need::Primary);
    }

    #[test]
    fn of_a_million_writers_none_is_forgotten() {
        let writers = Writers::default();
        for caller in 0..1_000_000 {
            writers.wrote(caller, Tick(10));
        }
        for caller in (0..1_000_000).step_by(97) {
            let need = writers.need(caller, Some((Tick(11), &at(5))));
            assert_eq!(need, Need::Position(at(5)));
        }
    }

    #[test]
    fn all_needs_together() {
        let need = Need::Position(at(3)).and(Need::Position(at(5)));
        assert_eq!(need, Need::Position(at(5)));
        assert_eq!(need.and(Need::Primary), Need::Primary);
    }
}
