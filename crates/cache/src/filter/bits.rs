//! One filter's bits in this process, and where the bits of a key lie.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::Ordering::Relaxed;

use fastbloom::{AtomicBloomFilter, DefaultHasher};

use super::size::{Fill, FilterSize};

/// The same in every process and every version: who differs in it sees other bits.
const SEED: [u8; 16] = *b"seawall filter 1";

/// SipHash-1-3 of a key's bytes.
///
/// The bytes alone, without the length that `Hash` would add: that one is as wide as the machine's
/// words.
pub(crate) fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::seeded(&SEED).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// A filter in this process; shared by threads, which set and test bits without a lock.
pub(super) struct Bits {
    bloom: AtomicBloomFilter,
    size: FilterSize,
}

impl Bits {
    pub(super) fn new(size: FilterSize) -> Self {
        let bits = usize::try_from(size.bits()).unwrap_or(usize::MAX);
        let bloom = AtomicBloomFilter::with_num_bits(bits)
            .seed(&0)
            .hashes(size.hashes());
        Self { bloom, size }
    }

    #[inline]
    pub(super) fn contains(&self, hash: u64) -> bool {
        self.bloom.contains_hash(hash)
    }

    pub(super) fn insert(&self, hash: u64) {
        self.bloom.insert_hash(hash);
    }

    /// Counts the bits: about a millisecond for ten million keys.
    pub(super) fn fill(&self) -> Fill {
        let words = self.bloom.as_slice().iter();
        let set = words.map(|word| u64::from(word.load(Relaxed).count_ones()));
        let bits = self.bloom.num_bits() as u64;
        Fill::of(set.sum(), bits, self.bloom.num_hashes(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_inserted_is_never_denied(
            keys in prop::collection::vec(any::<Vec<u8>>(), 0..300), size in 1..200_u64
        ) {
            let bits = Bits::new(FilterSize::new(size, 0.01));
            for key in &keys {
                bits.insert(hash(key));
            }
            prop_assert!(keys.iter().all(|key| bits.contains(hash(key))));
        }
    }

    #[test]
    fn the_hash_is_the_same_for_ever() {
        assert_eq!(hash(b""), 5_792_676_556_683_319_147);
    }

    #[test]
    fn the_error_at_capacity_is_the_stated_one() {
        for (keys, error) in [(100_000_u64, 0.01), (100_000, 0.001), (3_000, 0.05)] {
            let bits = Bits::new(FilterSize::new(keys, error));
            for key in 0..keys {
                bits.insert(hash(&key.to_le_bytes()));
            }
            // So many that the sample itself errs by a fiftieth at most.
            let asked = (10_000.0 / error) as u64;
            let absent = (keys..keys + asked).map(|key| hash(&key.to_le_bytes()));
            let passed = absent.filter(|&hash| bits.contains(hash)).count();
            let measured = passed as f64 / asked as f64;
            assert!(measured <= error * 1.1, "{measured} of {error}");
            let fill = bits.fill();
            assert!(fill.keys.abs_diff(keys) * 50 < keys, "{fill:?}");
        }
    }
}
