//! HeavyKeeper: the keys that are asked for most, in bounded memory. Pure.
//!
//! Gong et al., "HeavyKeeper: An Accurate Algorithm for Finding Top-k Elephant Flows" (USENIX ATC
//! 2018). Rows of buckets, each a fingerprint and a count. A key that finds its fingerprint adds to
//! it; one that finds another's takes one off with probability b^−count, and moves in at zero. So
//! mice wear one another down and hardly touch elephants, where a count-min sketch adds all mice of
//! a bucket to the elephant in it. b = 1.08, as the authors have it.
//!
//! - *Rows are updated in full* (the paper's basic version), and the estimate is the largest row's.
//! - *Fingerprints of 64 bits.* The paper's are 16 for a switch's memory; here two keys that share
//!   one would both be called hot, and a bucket has room.
//! - *Windows by halving.* What was hot must be let go, so all counts are halved at fixed times:
//!   a count is then an exponentially weighted rate, and no second sketch is needed.

use std::collections::BTreeMap;

/// b of the paper.
const BASE: f64 = 1.08;
/// Counts from which a bucket loses with a probability of less than 2⁻³², which is none.
const SURE: u32 = 288;

#[derive(Clone, Copy, Default)]
struct Bucket {
    fingerprint: u64,
    count: u32,
}

/// A sketch of a stream and its heaviest keys.
pub(super) struct HeavyKeeper {
    rows: Vec<Vec<Bucket>>,
    /// `2^32 · b^−count`, for counts below [`SURE`].
    decay: Vec<u32>,
    /// Counts by hash. As many as are looked for, the least of them found by a walk: they are few,
    /// and it is walked only for a key that may enter.
    top: BTreeMap<u64, u32>,
    capacity: usize,
    random: fastrand::Rng,
}

impl HeavyKeeper {
    /// Of `rows` rows of `width` buckets, at least one each, that looks for the `top` heaviest.
    pub(super) fn new(rows: usize, width: usize, top: usize, seed: u64) -> Self {
        let row = vec![Bucket::default(); width.max(1)];
        let decay = (0..SURE).map(|count| (BASE.powf(-f64::from(count)) * 4_294_967_295.0) as u32);
        Self {
            rows: vec![row; rows.max(1)],
            decay: decay.collect(),
            top: BTreeMap::new(),
            capacity: top.max(1),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes a key in, by a good hash of it.
    pub(super) fn add(&mut self, hash: u64) {
        let mut estimate = 0;
        for (row, buckets) in (0..).zip(&mut self.rows) {
            let at = index(hash, row, buckets.len());
            let bucket = &mut buckets[at];
            if bucket.count > 0 && bucket.fingerprint != hash {
                let chance = self.decay.get(bucket.count as usize);
                if chance.is_none_or(|&chance| self.random.u32(..) > chance) {
                    continue;
                }
                bucket.count -= 1;
                if bucket.count > 0 {
                    continue;
                }
            }
            bucket.fingerprint = hash;
            bucket.count = bucket.count.saturating_add(1);
            estimate = estimate.max(bucket.count);
        }
        if estimate > 0 {
            self.rank(hash, estimate);
        }
    }

    fn rank(&mut self, hash: u64, estimate: u32) {
        if let Some(count) = self.top.get_mut(&hash) {
            *count = estimate;
            return;
        }
        if self.top.len() >= self.capacity {
            let least = self.top.iter().min_by_key(|(_, count)| **count);
            match least.map(|(&hash, &count)| (hash, count)) {
                Some((least, count)) if count < estimate => self.top.remove(&least),
                _ => return,
            };
        }
        self.top.insert(hash, estimate);
    }

    /// Halves every count: what is not asked for any more fades.
    pub(super) fn fade(&mut self) {
        for bucket in self.rows.iter_mut().flatten() {
            bucket.count /= 2;
        }
        self.top.retain(|_, count| {
            *count /= 2;
            *count > 0
        });
    }

    /// Hashes and counts of the heaviest, in no particular order.
    pub(super) fn top(&self) -> impl Iterator<Item = (u64, u32)> {
        self.top.iter().map(|(&hash, &count)| (hash, count))
    }

    #[cfg(test)]
    fn estimate(&self, hash: u64) -> u32 {
        let rows = (0..).zip(&self.rows);
        let counts = rows.map(|(row, buckets)| buckets[index(hash, row, buckets.len())]);
        let own = counts.filter(|bucket| bucket.fingerprint == hash);
        own.map(|bucket| bucket.count).max().unwrap_or(0)
    }
}

/// Each row sees other bits of the hash: odd multipliers, highest bits.
fn index(hash: u64, row: u64, width: usize) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (hash ^ (hash >> 29)).wrapping_mul(GOLDEN.wrapping_add(row << 1));
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(GOLDEN);
    ((u128::from(mixed) * width as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// A good hash of a small number.
    fn hash(key: u64) -> u64 {
        let key = (key + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (key ^ (key >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    proptest! {
        #[test]
        fn no_key_counts_more_than_it_was_asked_for(
            keys in prop::collection::vec(0..200_u64, 0..2_000), width in 1..64_usize, seed: u64
        ) {
            let mut keeper = HeavyKeeper::new(2, width, 4, seed);
            let mut real = HashMap::<u64, u32>::new();
            for key in keys {
                keeper.add(hash(key));
                *real.entry(key).or_default() += 1;
                prop_assert!(keeper.estimate(hash(key)) <= real[&key]);
            }
            prop_assert!(keeper.top.len() <= 4);
            let real: HashMap<u64, u32> = real.iter().map(|(&key, &count)| (hash(key), count)).collect();
            for (hashed, count) in keeper.top() {
                prop_assert!(count <= real[&hashed]);
            }
        }

        #[test]
        fn all_that_was_hot_fades(keys in prop::collection::vec(0..50_u64, 0..500), seed: u64) {
            let mut keeper = HeavyKeeper::new(2, 64, 8, seed);
            keys.iter().for_each(|&key| keeper.add(hash(key)));
            (0..10).for_each(|_| keeper.fade());
            prop_assert_eq!(keeper.top().count(), 0);
            prop_assert!(keeper.rows.iter().flatten().all(|bucket| bucket.count == 0));
        }
    }

    /// Of 100 seeds: one key in a hundred asks, and 100,000 others take turns.
    #[test]
    fn a_key_of_one_in_a_hundred_is_found_and_counted() {
        let mut short = 0;
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut keeper = HeavyKeeper::new(2, 1_024, 16, seed ^ 1);
            let mut real = 0;
            for _ in 0..20_000 {
                let key = if random.u32(..100) == 0 {
                    real += 1;
                    0
                } else {
                    random.u64(1..=100_000)
                };
                keeper.add(hash(key));
            }
            let found = keeper.top().find(|(found, _)| *found == hash(0));
            let count = found.map_or(0, |(_, count)| count);
            short += u32::from(count < real * 9 / 10);
        }
        assert!(short <= 1, "{short} of 100 seeds");
    }

    #[test]
    fn memory_is_what_it_was_at_first() {
        let mut keeper = HeavyKeeper::new(2, 100, 8, 1);
        for key in 0..100_000 {
            keeper.add(hash(key));
        }
        assert_eq!(keeper.rows.iter().map(Vec::capacity).sum::<usize>(), 200);
        assert!(keeper.top.len() <= 8);
    }
}
