//! How old what a replica shows may be, from positions alone.
//!
//! `Seconds_Behind_Master` compares a replica with the events that it has *received*: it says 0 while
//! the connection to the primary hangs, and nothing at all once a thread has stopped. A heartbeat
//! table tells the truth and costs a write each time, a privilege and a table. Here the primary is
//! asked every so often how far it is, and the answers are kept with their time. A replica that is at
//! or past what the primary said at time t shows all that was there at t, so what it shows is at most
//! as old as the latest such t. It holds whatever thread has stopped or is slow, writes nothing, and an
//! idle primary looks as it is: up to date.

use std::collections::VecDeque;

use super::position::Position;
use crate::Tick;

/// Positions that are remembered: at ten a second that is more than a minute and a half of writes
/// without a pause.
const KEPT: usize = 1_024;

/// What the primary has said of itself.
#[derive(Debug, Default)]
pub(super) struct History {
    /// In order of time; positions grow.
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    position: Position,
    /// When it was last asked and had got no further.
    seen: Tick,
}

impl History {
    /// The primary was asked at `asked`, and had got to `position`.
    pub(super) fn record(&mut self, position: Position, asked: Tick) {
        match self.samples.back_mut() {
            Some(last) if last.position.covers(&position) => {
                // A primary that has gone back has been set up anew: what was said is of no use.
                if position.covers(&last.position) {
                    last.seen = last.seen.max(asked);
                    return;
                }
                self.samples.clear();
            }
            _ => {}
        }
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            position,
            seen: asked,
        });
    }

    /// The time up to which a server at `position` shows everything; `None` when that is further
    /// back than is remembered.
    pub(super) fn shown_until(&self, position: &Position) -> Option<Tick> {
        let samples = self.samples.iter().rev();
        let mut reached = samples.filter(|sample| position.covers(&sample.position));
        reached.next().map(|sample| sample.seen)
    }

    /// When the primary was last asked with success, and where it was.
    pub(super) fn last(&self) -> Option<(Tick, &Position)> {
        let last = self.samples.back()?;
        Some((last.seen, &last.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::position::at;
    use proptest::prelude::*;

    proptest! {
        /// Against the whole history of writes, of which the primary is asked now and then.
        #[test]
        fn nothing_that_is_not_shown_was_written_before(
            writes in proptest::collection::vec(0u64..5, 1..300),
            asked in proptest::collection::vec(any::<bool>(), 300),
            applied in 0u64..800,
        ) {
            let mut history = History::default();
            let mut written_at = Vec::new();
            for (now, (count, asked)) in writes.iter().zip(asked).enumerate() {
                written_at.extend(std::iter::repeat_n(Tick(now as u64 * 10), *count as usize));
                if asked {
                    history.record(at(written_at.len() as u64), Tick(now as u64 * 10 + 5));
                }
            }
            if let Some(until) = history.shown_until(&at(applied)) {
                let missing = written_at.get(applied as usize..).unwrap_or_default();
                prop_assert!(missing.iter().all(|write| *write > until));
            }
        }
    }

    #[test]
    fn an_idle_primary_leaves_nobody_behind() {
        let mut history = History::default();
        history.record(at(1), Tick::from_millis(0));
        for now in (1_000..9_000).step_by(100) {
            history.record(at(2), Tick::from_millis(now));
        }
        assert_eq!(history.shown_until(&at(2)), Some(Tick::from_millis(8_900)));
        assert_eq!(history.shown_until(&at(1)), Some(Tick::from_millis(0)));
        assert_eq!(history.shown_until(&at(0)), None);
    }

    #[test]
    fn memory_is_bounded_and_a_primary_set_up_anew_begins_anew() {
        let mut history = History::default();
        for n in 0..10_000 {
            history.record(at(n), Tick(n));
        }
        assert_eq!(history.samples.len(), KEPT);
        assert_eq!(history.shown_until(&at(9_000)), Some(Tick(9_000)));
        assert_eq!(history.shown_until(&at(8_000)), None);
        history.record(at(5), Tick(10_001));
        assert_eq!(history.shown_until(&at(9_000)), Some(Tick(10_001)));
        assert_eq!(history.samples.len(), 1);
    }
}
