//! How often a key was invalidated, as far as anyone must know.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Places for each entry that may be held: an invalidation then voids a quarter of another entry.
const PLACES: u64 = 4;
const LEAST: u64 = 1 << 12;
/// 16 MiB.
const MOST: u64 = 1 << 22;

/// A key's generation at some time. It passes with each invalidation.
///
/// 32 bits: to be taken for current again, a place would have to see four thousand million
/// invalidations within one entry's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Generation {
    place: u32,
    number: u32,
}

/// Counters that keys share by their hash.
pub(crate) struct Generations {
    /// A power of two of them.
    numbers: Box<[AtomicU32]>,
    /// Seeded anew in each process: nobody outside finds keys that share a place.
    hasher: ahash::RandomState,
}

impl Generations {
    /// For so many entries.
    pub(crate) fn new(entries: u64) -> Self {
        let places = entries.saturating_mul(PLACES).clamp(LEAST, MOST);
        let places = places.next_power_of_two();
        Self {
            numbers: (0..places).map(|_| AtomicU32::new(0)).collect(),
            hasher: ahash::RandomState::new(),
        }
    }

    /// The generation now of the key that writes these bytes: to be taken before a value is read.
    pub(crate) fn of(&self, bytes: &[u8]) -> Generation {
        let place = self.place(bytes);
        Generation {
            place,
            number: self.numbers[place as usize].load(SeqCst),
        }
    }

    /// Whether `generation` is still its key's.
    #[inline]
    pub(crate) fn is(&self, generation: Generation) -> bool {
        self.numbers[generation.place as usize].load(SeqCst) == generation.number
    }

    /// The key's generation passes: what was read under it is void. Returns the new one.
    pub(crate) fn pass(&self, bytes: &[u8]) -> Generation {
        let place = self.place(bytes);
        let before = self.numbers[place as usize].fetch_add(1, SeqCst);
        Generation {
            place,
            number: before.wrapping_add(1),
        }
    }

    /// The key's generation passes, and the new one is the caller's where it was `generation`; where
    /// another had come between, none is.
    pub(crate) fn pass_from(&self, generation: Generation) -> Option<Generation> {
        let place = generation.place;
        let before = self.numbers[place as usize].fetch_add(1, SeqCst);
        let number = before.wrapping_add(1);
        (before == generation.number).then_some(Generation { place, number })
    }

    /// Every key's generation passes.
    pub(crate) fn pass_all(&self) {
        for number in &self.numbers {
            number.fetch_add(1, SeqCst);
        }
    }

    fn place(&self, bytes: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(bytes);
        // There are no more than 2^22 places.
        (hash & (self.numbers.len() as u64 - 1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_passes_for_its_key() {
        let generations = Generations::new(0);
        let (a, b) = (generations.of(b"a"), generations.of(b""));
        let next = generations.pass(b"a");
        assert!(!generations.is(a) && generations.is(next));
        assert_eq!(generations.of(b"a"), next);
        generations.pass_all();
        assert!(!generations.is(next) && !generations.is(b));
    }

    #[test]
    fn a_size_beyond_reason_is_bounded() {
        assert_eq!(Generations::new(u64::MAX).numbers.len() as u64, MOST);
        assert_eq!(Generations::new(5_000).numbers.len(), 32_768);
    }
}
