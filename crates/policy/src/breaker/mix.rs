//! What a share of all calls is by criticality, where the lowest go first.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::Criticality;

/// Calls by criticality since they were last collected. Read and stored, not exchanged: of two at
/// the same moment one may go uncounted, which no share notices.
#[derive(Debug, Default)]
pub(super) struct Mix([AtomicU32; 4]);

impl Mix {
    #[inline]
    pub(super) fn count(&self, criticality: Criticality) {
        let count = &self.0[criticality as usize];
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Adds what came to what is `keep` of the sums before.
    pub(super) fn collect(&self, sums: &mut [f64; 4], keep: f64) {
        for (sum, count) in sums.iter_mut().zip(&self.0) {
            *sum = *sum * keep + f64::from(count.swap(0, Relaxed));
        }
    }
}

/// The share of each criticality that makes up `share` of all that `came`, the lowest first, and at
/// most `most` of each. What did not come of late counts for nothing. The same for each while nothing is known of what comes.
pub(super) fn lowest_first(share: f64, most: f64, came: &[f64; 4]) -> [f64; 4] {
    let all: f64 = came.iter().sum();
    if all <= 0.0 {
        return [share; 4];
    }
    let mut left = share.min(most) * all;
    let mut shares = [0.0; 4];
    for criticality in Criticality::ALL.into_iter().rev() {
        let own = came[criticality as usize];
        let turned_away = left.min(own * most);
        shares[criticality as usize] = if own > 0.0 {
            (turned_away / own).min(most)
        } else if left > 0.0 {
            most
        } else {
            0.0
        };
        left -= turned_away;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lowest_go_first() {
        let shares = lowest_first(0.5, 0.99, &[5.0, 25.0, 30.0, 40.0]);
        let want = [0.0, 0.0, (50.0 - 39.6) / 30.0, 0.99];
        for (got, want) in shares.into_iter().zip(want) {
            assert!((got - want).abs() < 1e-9, "{shares:?}");
        }
        assert_eq!(lowest_first(0.5, 0.99, &[0.0; 4]), [0.5; 4]);
    }

    proptest! {
        #[test]
        fn they_make_up_the_share(share in 0.0..0.99, came in prop::array::uniform4(0.0..1e6)) {
            let most = 0.99;
            let all: f64 = came.iter().sum();
            let shares = lowest_first(share, most, &came);
            let turned_away: f64 = shares.iter().zip(came).map(|(s, c)| s * c).sum();
            prop_assert!((turned_away - share * all).abs() <= 1e-9 * all);
            prop_assert!(shares.iter().all(|s| (0.0..=most).contains(s)));
            // None is touched while a lower one is not turned away whole.
            for pair in shares.windows(2) {
                prop_assert!(pair[0] == 0.0 || pair[1] >= most * (1.0 - 1e-9), "{shares:?}");
            }
        }
    }
}
