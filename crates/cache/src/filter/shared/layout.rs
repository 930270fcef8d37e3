//! Where the bits of a key lie in Redis, and what is written down about generations. Pure.

use serde::{Deserialize, Serialize};

use crate::filter::size::FilterSize;

/// Bits of a segment, at most: 128 KiB, which Redis writes in some 50 µs. A filter as one string
/// would be one slot's burden in a Cluster, and one long stall when it is written or removed.
const SEGMENT: u64 = 1 << 20;
/// Before a segment's bits stands the stamp of its generation: a string that is gone reads as
/// zeros, which are no stamp.
pub(super) const HEAD: usize = 8;

/// One generation of a filter.
///
/// All bits of a key lie in one segment, so that a query is one command on one key. Segments get
/// unlike numbers of keys, 0.3 % apart where each has 100,000, which costs a hundred-thousandth of
/// the error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Generation {
    /// Drawn at random, not 0.
    pub(super) stamp: u64,
    pub(super) segments: u32,
    /// Of each segment; a multiple of 8.
    pub(super) bits: u32,
    pub(super) hashes: u32,
    keys: u64,
    error: f64,
}

impl Generation {
    pub(super) fn new(stamp: u64, size: FilterSize) -> Self {
        let segments = size.bits().div_ceil(SEGMENT).max(1);
        let bits = size.bits().div_ceil(segments).next_multiple_of(8);
        Self {
            stamp: stamp.max(1),
            segments: u32::try_from(segments).unwrap_or(u32::MAX),
            bits: bits as u32,
            hashes: size.hashes(),
            keys: size.keys(),
            error: size.error(),
        }
    }

    pub(super) fn size(&self) -> FilterSize {
        FilterSize::new(self.keys, self.error)
    }

    /// Bytes of a segment with its head.
    pub(super) fn length(&self) -> usize {
        HEAD + self.bits as usize / 8
    }

    pub(super) fn head(&self) -> [u8; HEAD] {
        self.stamp.to_be_bytes()
    }

    pub(super) fn segment_of(&self, hash: u64) -> u32 {
        scaled(hash, self.segments)
    }

    /// Offsets of a key's bits within its segment's string.
    pub(super) fn offsets(&self, hash: u64) -> impl Iterator<Item = u32> {
        let bits = self.bits;
        (1..=u64::from(self.hashes)).map(move |step| {
            HEAD as u32 * 8 + scaled(mix(hash.wrapping_add(step.wrapping_mul(GOLDEN))), bits)
        })
    }

    /// The key of a segment. The braces keep what belongs to a segment in one slot.
    pub(super) fn key(&self, name: &str, segment: u32) -> Vec<u8> {
        format!("{name}:filter:{{{:016x}.{segment}}}", self.stamp).into_bytes()
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `random` as a number below `bound`.
fn scaled(random: u64, bound: u32) -> u32 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u32
}

/// What is written in Redis about a filter: one string, replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// At work.
    pub(super) now: Option<Generation>,
    /// Being built: gets every key that is added.
    pub(super) next: Option<Generation>,
    /// Was at work, and may still be asked by who does not know better: gets every key that is added
    /// until its segments are gone.
    pub(super) old: Option<Generation>,
}

impl Meta {
    /// Of what Redis holds; anything that is not ours is none.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let meta: Self = serde_json::from_slice(bytes).unwrap_or_default();
        let sound = |generation: &Generation| {
            generation.segments > 0
                && (8..=SEGMENT as u32).contains(&generation.bits)
                && (1..=64).contains(&generation.hashes)
                && generation.stamp > 0
        };
        Self {
            now: meta.now.filter(sound),
            next: meta.next.filter(sound),
            old: meta.old.filter(sound),
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        // Numbers and options alone do not fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Generation> {
        [&self.now, &self.next, &self.old].into_iter().flatten()
    }
}

/// A generation's bits while this process builds them: as Redis has them, the first bit highest.
pub(super) struct Draft {
    pub(super) generation: Generation,
    pub(super) segments: Vec<Vec<u8>>,
}

impl Draft {
    pub(super) fn new(generation: Generation) -> Self {
        let mut empty = vec![0; generation.length()];
        empty[..HEAD].copy_from_slice(&generation.head());
        Self {
            generation,
            segments: vec![empty; generation.segments as usize],
        }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let segment = &mut self.segments[self.generation.segment_of(hash) as usize];
        for offset in self.generation.offsets(hash) {
            segment[offset as usize / 8] |= 0x80 >> (offset % 8);
        }
    }

    pub(super) fn set(&self) -> u64 {
        let bytes = self.segments.iter().flat_map(|segment| &segment[HEAD..]);
        bytes.map(|byte| u64::from(byte.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::filter::bits::hash;
    use crate::filter::size::Fill;

    fn contains(draft: &Draft, hash: u64) -> bool {
        let segment = &draft.segments[draft.generation.segment_of(hash) as usize];
        let mut offsets = draft.generation.offsets(hash);
        offsets.all(|offset| segment[offset as usize / 8] & (0x80 >> (offset % 8)) != 0)
    }

    proptest! {
        #[test]
        fn offsets_lie_within_the_segment(keys: u64, error: f64, hash: u64, stamp: u64) {
            let generation = Generation::new(stamp, FilterSize::new(keys, error));
            prop_assert!(generation.segment_of(hash) < generation.segments);
            for offset in generation.offsets(hash) {
                let byte = offset as usize / 8;
                prop_assert!((HEAD..generation.length()).contains(&byte));
            }
            let meta = Meta { now: Some(generation), ..Meta::default() };
            prop_assert_eq!(Meta::read(&meta.write()), meta);
        }

        #[test]
        fn what_is_not_ours_is_none(bytes: Vec<u8>) {
            prop_assert_eq!(Meta::read(&bytes), Meta::default());
        }
    }

    #[test]
    fn the_error_at_capacity_is_the_stated_one() {
        // Four segments.
        for (keys, error) in [(400_000_u64, 0.01), (5_000, 0.001)] {
            let mut draft = Draft::new(Generation::new(7, FilterSize::new(keys, error)));
            for key in 0..keys {
                draft.insert(hash(&key.to_le_bytes()));
            }
            assert!((0..keys).all(|key| contains(&draft, hash(&key.to_le_bytes()))));
            let asked = (10_000.0 / error) as u64;
            let absent = (keys..keys + asked).map(|key| hash(&key.to_le_bytes()));
            let measured =
                absent.filter(|&hash| contains(&draft, hash)).count() as f64 / asked as f64;
            assert!(measured <= error * 1.1, "{measured} of {error}");
            let Generation {
                segments,
                bits,
                hashes,
                ..
            } = draft.generation;
            let bits = u64::from(segments) * u64::from(bits);
            let fill = Fill::of(draft.set(), bits, hashes, draft.generation.size());
            assert!(fill.keys.abs_diff(keys) * 50 < keys, "{fill:?}");
        }
    }
}
