//! Draws hosts by weight in constant time.

/// Two seats to compare; the same one twice where there is only one.
pub(super) type Pair = (usize, usize);

/// Vose's alias method: each slot keeps its own index up to `keep`, and gives the rest of its
/// chance to another. Without weights it draws evenly and has no table.
#[derive(Debug)]
pub(super) struct Sampler {
    members: Box<[u32]>,
    /// (chance to keep out of 2^32, the other)
    alias: Option<Box<[(u32, u32)]>>,
}

impl Sampler {
    /// Over `members`, each with its weight (finite, positive).
    pub(super) fn new(members: Vec<(u32, f64)>) -> Self {
        let uneven = members.iter().any(|m| m.1 != members[0].1);
        let alias = uneven.then(|| table(&members));
        Self {
            members: members.into_iter().map(|m| m.0).collect(),
            alias,
        }
    }

    pub(super) fn members(&self) -> &[u32] {
        &self.members
    }

    /// Two seats, `random` giving 32 bits to each: two different ones if all weigh the same, else
    /// each by weight, so that the same may come twice (else one that weighs half of all would be
    /// compared with a light one every time, and get less than half). What is no index where there
    /// are no members.
    #[inline]
    pub(super) fn pair(&self, random: u64) -> Pair {
        let n = self.members.len() as u64;
        if n < 2 {
            let only = self.members.first().map_or(usize::MAX, |&m| m as usize);
            return (only, only);
        }
        let (first, second) = (random >> 32, random & u64::from(u32::MAX));
        let a = self.slot(first, n);
        let mut b = self.slot(second, n);
        if self.alias.is_none() {
            // Of the n - 1 others, evenly.
            b = ((second * (n - 1)) >> 32) as usize;
            b += usize::from(b >= a);
        }
        (self.members[a] as usize, self.members[b] as usize)
    }

    #[inline]
    fn slot(&self, random: u64, n: u64) -> usize {
        let product = random * n;
        let slot = (product >> 32) as usize;
        match &self.alias {
            None => slot,
            // Within a slot the low half is even again: the coin.
            Some(alias) => {
                let (keep, other) = alias[slot];
                if product as u32 <= keep {
                    slot
                } else {
                    other as usize
                }
            }
        }
    }
}

fn table(members: &[(u32, f64)]) -> Box<[(u32, u32)]> {
    let mean = members.iter().map(|m| m.1).sum::<f64>() / members.len() as f64;
    let mut chance: Vec<f64> = members.iter().map(|m| m.1 / mean).collect();
    let mut alias = vec![(u32::MAX, 0_u32); members.len()];
    for (i, slot) in alias.iter_mut().enumerate() {
        slot.1 = i as u32;
    }
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..members.len()).partition(|&i| chance[i] < 1.0);
    while let (Some(s), Some(&l)) = (small.pop(), large.last()) {
        alias[s] = ((chance[s] * f64::from(u32::MAX)) as u32, l as u32);
        chance[l] -= 1.0 - chance[s];
        if chance[l] < 1.0 {
            large.pop();
            small.push(l);
        }
    }
    alias.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::dice::mix;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_of_a_pair_comes_by_weight(weights in prop::collection::vec(1_u32..100, 2..20), seed: u64) {
            let total: u32 = weights.iter().sum();
            let uneven = weights.iter().any(|&w| w != weights[0]);
            let members = weights.iter().enumerate().map(|(i, &w)| (i as u32, f64::from(w)));
            let sampler = Sampler::new(members.collect());
            let mut counts = vec![0_u32; weights.len()];
            let mut random = seed;
            const DRAWS: u32 = 40_000;
            for _ in 0..DRAWS {
                random = mix(random);
                let (a, b) = sampler.pair(random);
                prop_assert!(b < weights.len() && (a != b || uneven));
                counts[a] += 1;
            }
            for (&count, &weight) in counts.iter().zip(&weights) {
                let share = f64::from(weight) / f64::from(total);
                let sigma = (f64::from(DRAWS) * share * (1.0 - share)).sqrt();
                let off = (f64::from(count) - f64::from(DRAWS) * share).abs();
                prop_assert!(off <= 6.0 * sigma + 1.0, "{count} {share}");
            }
        }
    }

    #[test]
    fn one_and_none() {
        assert_eq!(Sampler::new(vec![(7, 1.0)]).pair(u64::MAX), (7, 7));
        assert_eq!(Sampler::new(vec![]).pair(1).0, usize::MAX);
    }
}
