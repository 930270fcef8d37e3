//! Who may go as a probe, and when: words that threads compare and swap.
//!
//! In a file of its own because `tests/loom_breaker.rs` compiles it a second time over loom's words.

use super::words::{AtomicU64, Ordering};

/// One probe in each interval, first come.
///
/// The word is the time from which the next one may go, so a probe that is never heard of again
/// holds nothing up, and a probe that is given back has only to set the time back.
#[derive(Debug)]
pub(super) struct Pacer {
    next: AtomicU64,
    every: u64,
}

impl Pacer {
    /// A pacer that lets a probe go at `next`, then one each `every` nanoseconds.
    pub(super) fn new(next: u64, every: u64) -> Self {
        Self {
            next: AtomicU64::new(next),
            every: every.max(1),
        }
    }

    /// Takes the present interval's probe: its slot, to give it back by.
    #[inline]
    pub(super) fn take(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Acquire);
        // No slot lies further ahead than one interval, give or take the threads' readings of the
        // clock; one that does was set by a clock that has since gone back.
        let unsound = next.saturating_sub(now) > self.every.saturating_mul(2);
        if now < next && !unsound {
            return None;
        }
        let slot = now.saturating_add(self.every);
        self.next
            .compare_exchange(next, slot, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then_some(slot)
    }

    /// Lets another probe go in the place of one that measured nothing, unless one has gone.
    pub(super) fn give_back(&self, slot: u64, now: u64) {
        let _ = self
            .next
            .compare_exchange(slot, now, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Lets the next probe go at `next`, wherever that was before.
    pub(super) fn set(&self, next: u64) {
        self.next.store(next, Ordering::Release);
    }

    /// Moves the next probe to an interval from `now`, if that is later.
    fn postpone(&self, now: u64) {
        self.next
            .fetch_max(now.saturating_add(self.every), Ordering::AcqRel);
    }

    /// The interval, in nanoseconds.
    pub(super) fn every(&self) -> u64 {
        self.every
    }

    /// How long until the next probe may go.
    pub(super) fn left(&self, now: u64) -> u64 {
        let next = self.next.load(Ordering::Relaxed);
        next.saturating_sub(now).min(self.every)
    }
}

/// What a breaker does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Closed = 0,
    Open = 1,
    HalfOpen = 2,
}

const FIELD: u64 = 0x3ff;

/// A breaker's state in one word: generation, kind, and of a half-open state its round, the probes
/// that are out in the round, and the successes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    pub(super) const fn new(generation: u32, kind: Kind, out: u64, good: u64) -> Self {
        Self(((generation as u64) << 32) | ((kind as u64) << 30) | (out << 10) | good)
    }

    #[inline]
    pub(super) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(super) const fn kind(self) -> Kind {
        match (self.0 >> 30) & 3 {
            0 => Kind::Closed,
            1 => Kind::Open,
            _ => Kind::HalfOpen,
        }
    }

    const fn round(self) -> u64 {
        (self.0 >> 20) & FIELD
    }

    const fn out(self) -> u64 {
        (self.0 >> 10) & FIELD
    }

    pub(super) const fn good(self) -> u64 {
        self.0 & FIELD
    }

    const fn with(self, round: u64, out: u64, good: u64) -> Self {
        let head = self.0 >> 30 << 30;
        Self(head | ((round & FIELD) << 20) | ((out & FIELD) << 10) | (good & FIELD))
    }
}

/// A half-open state's answer to a call that would be a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is one, of this round.
    Probe(u64),
    /// As many are out as may be.
    Full,
    /// The state has changed meanwhile.
    Moved,
}

/// A breaker's state, of which half-open lets exactly so many through.
///
/// Only the holder of the breaker's lock changes the generation ([`Turnstile::turn`]); probes come
/// and go without it.
#[derive(Debug)]
pub(super) struct Turnstile {
    word: AtomicU64,
    pub(super) pacer: Pacer,
    probes: u64,
}

impl Turnstile {
    /// A closed one that lets `probes` through when half-open.
    pub(super) fn new(probes: u32, every: u64) -> Self {
        Self {
            word: AtomicU64::new(Word::new(0, Kind::Closed, 0, 0).0),
            pacer: Pacer::new(0, every),
            probes: u64::from(probes).clamp(1, FIELD),
        }
    }

    /// Probes that must succeed, and that may be out at once.
    pub(super) fn probes(&self) -> u64 {
        self.probes
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Enters a new generation. Under the breaker's lock; what probes do at the same time belongs
    /// to the old generation and is overwritten.
    pub(super) fn turn(&self, kind: Kind, out: u64, good: u64) -> Word {
        let word = Word::new(self.word().generation().wrapping_add(1), kind, out, good);
        self.word.swap(word.0, Ordering::AcqRel);
        word
    }

    /// Takes a place for a probe in the half-open state that `word` belongs to.
    pub(super) fn enter(&self, mut word: Word, now: u64) -> Turn {
        let generation = word.generation();
        loop {
            if word.kind() != Kind::HalfOpen || word.generation() != generation {
                return Turn::Moved;
            }
            if word.out() + word.good() >= self.probes {
                // Whoever is out has had an interval to report: lost, or slow. One may follow.
                return match self.pacer.take(now) {
                    Some(_) => self.renew(generation),
                    None => Turn::Full,
                };
            }
            // Before the swap: who finds the last place taken must find it taken now.
            self.pacer.postpone(now);
            let next = word.with(word.round(), word.out() + 1, word.good());
            match self.swap(word, next) {
                Ok(()) => return Turn::Probe(next.round()),
                Err(found) => word = found,
            }
        }
    }

    /// Begins another round with one probe, in which those that are out no longer count.
    fn renew(&self, generation: u32) -> Turn {
        let mut word = self.word();
        loop {
            if word.generation() != generation {
                return Turn::Moved;
            }
            let next = word.with(word.round().wrapping_add(1), 1, word.good());
            match self.swap(word, next) {
                Ok(()) => return Turn::Probe(next.round()),
                Err(found) => word = found,
            }
        }
    }

    /// Counts a probe that succeeded; whether enough have. Its round may be over, it is as alive.
    pub(super) fn succeed(&self, generation: u32, round: u64) -> bool {
        self.leave(generation, round, 1)
            .is_some_and(|good| good >= self.probes)
    }

    /// Takes a probe back that measured nothing.
    pub(super) fn give_back(&self, generation: u32, round: u64) {
        self.leave(generation, round, 0);
    }

    fn leave(&self, generation: u32, round: u64, good: u64) -> Option<u64> {
        let mut word = self.word();
        loop {
            if word.generation() != generation || word.kind() != Kind::HalfOpen {
                return None;
            }
            let mine = u64::from(word.round() == round);
            let good = (word.good() + good).min(FIELD);
            let next = word.with(word.round(), word.out().saturating_sub(mine), good);
            match self.swap(word, next) {
                Ok(()) => return Some(good),
                Err(found) => word = found,
            }
        }
    }

    fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        self.word
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Word)
    }
}
