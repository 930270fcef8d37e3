//! Consistent hashing with bounded loads.
//!
//! A ring rather than Maglev's table: when a host comes or goes, a ring moves only the keys that
//! must move (those of that host), the table a few more; and a ring has a next host, which is what
//! a bound, a retry and an ejection need.
//!
//! The bound is that of Mirrokni, Thorup and Zadimoghaddam (2016): a host whose calls under way
//! would exceed `c` times the mean (of the hosts that serve, by weight, rounded up) is passed by,
//! and the key goes to the next on the ring. So a hot key spills over to a second host rather than
//! drown the first one. Threads that pick at the same moment may each add one beyond the bound.

use super::dice::mix;

/// Points of a host of mean weight: its share of the ring is off by about a tenth.
const POINTS: f64 = 128.0;
/// The most points of a ring: 1 MiB. Larger fleets have fewer for each host.
const MOST: f64 = 65_536.0;
/// So many points are looked at before every host is.
const STEPS: usize = 64;

#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// Over members of `(key, seat, weight)`; the mean weight is 1.
    pub(super) fn new(members: impl Iterator<Item = (u64, u32, f64)> + Clone) -> Self {
        let count = members.clone().count().max(1);
        let each = POINTS.min(MOST / count as f64);
        let mut points: Vec<_> = members
            .flat_map(|(key, at, weight)| {
                let own = (weight * each).round().clamp(1.0, MOST) as u64;
                (0..own).map(move |point| (mix(key ^ mix(point)), at))
            })
            .collect();
        points.sort_unstable();
        Self {
            points: points.into_boxed_slice(),
        }
    }

    /// The first from the key's place on that `usable` takes; `None` where none is near.
    #[inline]
    pub(super) fn pick(&self, hash: u64, mut usable: impl FnMut(usize) -> bool) -> Option<usize> {
        // Hashes that callers bring may be no more than small numbers.
        let hash = mix(hash);
        let place = self.points.partition_point(|point| point.0 < hash);
        let (before, from) = self.points.split_at(place);
        let mut last = usize::MAX;
        for point in from.iter().chain(before).take(STEPS) {
            let at = point.1 as usize;
            if at != last && usable(at) {
                return Some(at);
            }
            last = at;
        }
        None
    }
}

/// The most calls that a host of weight `1 / inverse` may have under way.
#[inline]
pub(super) fn bound(factor: f32, total: u64, serving: usize, inverse: f32) -> f32 {
    let mean = (total as f32 + 1.0) / serving.max(1) as f32;
    (factor * mean / inverse).ceil().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(keys: &[u64]) -> Ring {
        Ring::new((0..).zip(keys).map(|(at, &key)| (key, at, 1.0)))
    }

    proptest! {
        #[test]
        fn only_the_keys_of_a_host_that_goes_move(seed: u64, hosts in 2_usize..20, gone in 0_usize..20) {
            let gone = gone % hosts;
            let keys: Vec<u64> = (0..hosts as u64).map(|i| mix(seed ^ i)).collect();
            let mut left = keys.clone();
            left.remove(gone);
            let (before, after) = (ring(&keys), ring(&left));
            let mut moved = 0;
            const CALLS: u64 = 2_000;
            for hash in 0..CALLS {
                let was = keys[before.pick(hash, |_| true).unwrap()];
                let is = left[after.pick(hash, |_| true).unwrap()];
                if was == keys[gone] {
                    moved += 1;
                } else {
                    prop_assert_eq!(was, is);
                }
            }
            let fair = CALLS as f64 / hosts as f64;
            prop_assert!(f64::from(moved) < 2.0 * fair, "{moved} {fair}");
        }
    }

    #[test]
    fn bounds_hold_all_calls() {
        assert_eq!(bound(1.25, 0, 10, 1.0), 1.0);
        assert_eq!(bound(1.25, 99, 10, 1.0), 13.0);
        assert_eq!(bound(1.25, 99, 10, 0.5), 25.0);
        assert!(bound(1.25, u64::MAX, 0, 1.0).is_finite());
        assert_eq!(Ring::new(std::iter::empty()).pick(1, |_| true), None);
    }
}
