//! The short queue before rejection.
//!
//! In order while it is merely noise that has to be absorbed; newest first while it is backed up,
//! since then the oldest are the ones whose callers leave next (folly's adaptive LIFO). That is for
//! those of whom the level turns some away: who is let in whole is served before them and waits
//! only out a stall, after which all of it can be served, so it stays in order and waits longer.
//! *Backed
//! up* follows CoDel's idea, the least over an interval: the time in which the fewest waiters seen
//! in the interval would drain at the present rate of service. Unlike the wait of those served it
//! does not look small merely because the newest are served.
//!
//! Waiters sit by lane and class, so that taking the next one is a look at a few queue ends.

use std::collections::VecDeque;
use std::time::Duration;

use super::gate::Waiter;
use super::lane::{Key, Lane};
use crate::{Call, Tick};

/// Classes within a lane: by criticality, and within one, work under way before new work.
const CLASSES: usize = 8;
/// Every so many grants the lowest class waiting goes first, so that nothing starves.
const FAIR_TURN: u32 = 64;

/// Someone who waits for a place.
#[derive(Debug)]
pub(super) struct Entry<W> {
    pub(super) call: Call,
    pub(super) lane: Lane,
    pub(super) key: Key,
    pub(super) since: Tick,
    /// When the deadline can no longer be met; [`Tick::MAX`] without a deadline.
    pub(super) last_start: Tick,
    pub(super) waiter: W,
}

impl<W> Entry<W> {
    fn class(&self) -> usize {
        self.call.criticality as usize * 2 + usize::from(!self.call.under_way)
    }
}

/// The waiters of one lane.
#[derive(Debug)]
pub(super) struct Queue<W> {
    classes: [VecDeque<Entry<W>>; CLASSES],
    len: usize,
    turn: u32,
}

impl<W: Waiter> Queue<W> {
    pub(super) fn new() -> Self {
        Self {
            classes: std::array::from_fn(|_| VecDeque::new()),
            len: 0,
            turn: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, entry: Entry<W>) {
        self.len += 1;
        self.classes[entry.class()].push_back(entry);
    }

    /// The next to be served, of its class the newest where `newest_first` says so of its
    /// criticality.
    pub(super) fn pop(&mut self, newest_first: [bool; 4]) -> Option<Entry<W>> {
        self.turn = self.turn.wrapping_add(1);
        let classes = self.classes.iter_mut().enumerate();
        let mut waiting = classes.filter(|(_, class)| !class.is_empty());
        let (index, class) = if self.turn.is_multiple_of(FAIR_TURN) {
            waiting.next_back()
        } else {
            waiting.next()
        }?;
        let entry = if newest_first[index / 2] {
            class.pop_back()
        } else {
            class.pop_front()
        };
        self.len -= usize::from(entry.is_some());
        entry
    }

    /// Puts back what could not be served after all.
    pub(super) fn push_back(&mut self, entry: Entry<W>) {
        self.len += 1;
        self.classes[entry.class()].push_front(entry);
    }

    /// Makes room for an entry of `class_of`: gives up the oldest of the lowest class, unless that
    /// would be a higher one.
    pub(super) fn evict_for(&mut self, call: &Call) -> Option<Entry<W>> {
        let own = call.criticality as usize * 2 + usize::from(!call.under_way);
        let class = (own..CLASSES)
            .rev()
            .find(|&c| !self.classes[c].is_empty())?;
        let entry = self.classes[class].pop_front();
        self.len -= usize::from(entry.is_some());
        entry
    }

    /// Takes out everyone whose time is up: waiting for `max_wait` of its criticality, unable to
    /// meet the deadline, or gone.
    pub(super) fn expire(
        &mut self,
        now: Tick,
        max_wait: [Duration; 4],
        mut each: impl FnMut(Entry<W>),
    ) {
        for (of, class) in self.classes.iter_mut().enumerate() {
            let max_wait = max_wait[of / 2];
            let mut index = 0;
            while let Some(entry) = class.get(index) {
                if now.since(entry.since) >= max_wait
                    || now > entry.last_start
                    || entry.waiter.is_gone()
                {
                    if let Some(entry) = class.remove(index) {
                        self.len -= 1;
                        each(entry);
                    }
                } else {
                    index += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Criticality;
    use proptest::prelude::*;

    fn entry(criticality: Criticality, under_way: bool, since: u64) -> Entry<u64> {
        Entry {
            call: Call {
                criticality,
                under_way,
                ..Call::default()
            },
            lane: Lane::DEFAULT,
            key: Key(0),
            since: Tick::from_millis(since),
            last_start: Tick::MAX,
            waiter: since,
        }
    }

    #[test]
    fn by_criticality_then_under_way_then_age() {
        let mut queue = Queue::new();
        queue.push(entry(Criticality::Sheddable, false, 1));
        queue.push(entry(Criticality::Critical, false, 2));
        queue.push(entry(Criticality::Critical, false, 3));
        queue.push(entry(Criticality::Critical, true, 4));
        queue.push(entry(Criticality::CriticalPlus, false, 5));
        let order: Vec<u64> =
            std::iter::from_fn(|| queue.pop([false; 4]).map(|e| e.waiter)).collect();
        assert_eq!(order, [5, 4, 2, 3, 1]);
    }

    #[test]
    fn newest_first_while_backed_up() {
        let mut queue = Queue::new();
        (1..=3).for_each(|t| queue.push(entry(Criticality::Critical, false, t)));
        assert_eq!(queue.pop([true; 4]).unwrap().waiter, 3);
    }

    #[test]
    fn who_is_let_in_whole_stays_in_order_and_waits_longer() {
        let mut queue = Queue::new();
        let cut = [false, true, true, true];
        for criticality in [Criticality::CriticalPlus, Criticality::Critical] {
            (1..=3).for_each(|t| queue.push(entry(criticality, false, t)));
        }
        let max_wait = cut.map(|cut| Duration::from_millis(if cut { 2 } else { 4 }));
        let mut out = Vec::new();
        queue.expire(Tick::from_millis(4), max_wait, |entry| {
            out.push((entry.call.criticality, entry.waiter));
        });
        let critical = Criticality::Critical;
        assert_eq!(out, [(critical, 1), (critical, 2)]);
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop(cut).map(|e| e.waiter)).collect();
        assert_eq!(order, [1, 2, 3, 3]);
    }

    #[test]
    fn eviction_never_gives_up_a_higher_class() {
        let mut queue = Queue::new();
        queue.push(entry(Criticality::CriticalPlus, false, 1));
        assert!(queue.evict_for(&Call::default()).is_none());
        queue.push(entry(Criticality::Sheddable, false, 2));
        assert_eq!(queue.evict_for(&Call::default()).unwrap().waiter, 2);
    }

    proptest! {
        /// Nobody is lost and the length is right, whatever is done.
        #[test]
        fn nobody_is_lost(steps in prop::collection::vec((0u8..3, 0usize..4, any::<bool>()), 1..200)) {
            let mut queue = Queue::new();
            let (mut pushed, mut out) = (0u64, 0u64);
            for (time, (step, c, flag)) in steps.into_iter().enumerate() {
                match step {
                    0 => { queue.push(entry(Criticality::ALL[c], flag, time as u64)); pushed += 1; }
                    1 => out += u64::from(queue.pop([flag; 4]).is_some()),
                    _ => queue.expire(Tick::from_millis(time as u64), [Duration::from_millis(time as u64 / 2); 4], |_| out += 1),
                }
                prop_assert_eq!(queue.len() as u64, pushed - out);
            }
        }
    }
}
