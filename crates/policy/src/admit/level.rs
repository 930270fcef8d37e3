//! The admission level: which arrivals are let in while more comes than can be served.
//!
//! As in WeChat's DAGOR (SoCC '18) a call has a business priority (its criticality) and a user
//! priority (a hash of its tenant, one of 128 cohorts, rotated), and a level divides those that
//! are let in from those that are not. Two things differ. The level is *computed*, from a
//! histogram of what arrived and the rate at which calls finish, instead of groped for in steps
//! of 5 % down and 1 % up; and its boundary is fractional, so that one large cohort does not have
//! to be let in whole or not at all. Each criticality has a level of its own, because each keeps a
//! small reserved share of the capacity: nothing starves.
//!
//! Work under way is let in before new work and uses up the same budget. In a simulation of tasks
//! that make several calls this is the main gain over shedding each call by itself.

use crate::Criticality;

use super::tally::{CELLS, COHORTS};

/// Steps within a cohort.
const STEPS: u32 = 256;
/// The position of a call is below this; a keep of this lets everyone in.
pub(super) const FULL: u32 = COHORTS as u32 * STEPS;
/// The share of the capacity that each lower criticality keeps while higher ones flood.
const RESERVED: f64 = 0.01;
/// Calls under way may use this share of the capacity; beyond it they queue up like new ones.
pub(super) const UNDER_WAY_SHARE: f64 = 0.9;

/// One threshold per criticality, in one word that every arrival reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(pub(super) u64);

impl Level {
    /// Lets everyone in.
    pub(super) const OPEN: Self = Self(0x8000_8000_8000_8000);

    fn new(keep: [u32; 4]) -> Self {
        Self(
            keep.iter()
                .enumerate()
                .fold(0, |word, (i, &k)| word | u64::from(k.min(FULL)) << (16 * i)),
        )
    }

    #[inline]
    fn keep(self, criticality: Criticality) -> u32 {
        (self.0 >> (16 * criticality as u32)) as u32 & 0xFFFF
    }

    /// Whether a call at `position` (below [`FULL`]) is let in.
    #[inline]
    pub(super) fn admits(self, criticality: Criticality, position: u32) -> bool {
        position < self.keep(criticality)
    }

    /// Whether some of this criticality are turned away.
    pub(super) fn cuts(self, criticality: Criticality) -> bool {
        self.keep(criticality) < FULL
    }

    /// The share of each criticality that is let in.
    pub(super) fn shares(self) -> [f64; 4] {
        Criticality::ALL.map(|c| f64::from(self.keep(c)) / f64::from(FULL))
    }
}

/// Where a call stands among those of its criticality, and the histogram cell it counts in.
///
/// `spread` is evenly distributed; `rotation` changes now and then, so that no user is last for
/// ever. The same tenant stands at the same cohort at every gate of a task's path.
#[inline]
pub(super) fn position(
    criticality: Criticality,
    tenant: u64,
    rotation: u64,
    spread: u32,
) -> (u32, usize) {
    if tenant == 0 {
        return (spread >> 17, 4 * COHORTS + criticality as usize);
    }
    let mixed =
        (tenant ^ rotation.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let cohort = (mixed >> 57) as u32;
    (
        cohort * STEPS + (spread >> 24),
        criticality as usize * COHORTS + cohort as usize,
    )
}

/// Chooses the level that lets in `budget` calls of those counted in `cells`.
///
/// `capacity` is what the budget is a share of, for the reserve; both are calls per interval.
pub(super) fn choose(cells: &[u32; CELLS], budget: f64, capacity: f64) -> Level {
    let arrived = Criticality::ALL.map(|c| {
        let named: u32 = cells[c as usize * COHORTS..][..COHORTS].iter().sum();
        f64::from(named + cells[4 * COHORTS + c as usize])
    });
    let reserve = arrived.map(|n| n.min(capacity * RESERVED));
    let mut left = budget.max(0.0);
    let mut keep = [0; 4];
    for (i, c) in Criticality::ALL.into_iter().enumerate() {
        let below: f64 = reserve[i + 1..].iter().sum();
        let share = (left - below).max(reserve[i]).min(arrived[i]);
        left = (left - share).max(0.0);
        keep[i] = threshold(cells, c, share, arrived[i]);
    }
    Level::new(keep)
}

/// The position below which `share` of the `arrived` calls of a criticality stand.
fn threshold(cells: &[u32; CELLS], criticality: Criticality, share: f64, arrived: f64) -> u32 {
    if share >= arrived {
        return FULL;
    }
    let even = f64::from(cells[4 * COHORTS + criticality as usize]) / COHORTS as f64;
    let mut left = share;
    for (cohort, &named) in cells[criticality as usize * COHORTS..][..COHORTS]
        .iter()
        .enumerate()
    {
        let here = f64::from(named) + even;
        if here > left {
            return cohort as u32 * STEPS + (left / here * f64::from(STEPS)) as u32;
        }
        left -= here;
    }
    FULL
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(unnamed: [u32; 4], named: &[(usize, u32)]) -> [u32; CELLS] {
        let mut cells = [0; CELLS];
        cells[4 * COHORTS..].copy_from_slice(&unnamed);
        for &(cell, n) in named {
            cells[cell] = n;
        }
        cells
    }

    #[test]
    fn the_highest_go_first_and_nobody_starves() {
        let shares = choose(&cells([60, 300, 300, 340], &[]), 100.0, 100.0).shares();
        assert_eq!(shares[0], 1.0);
        assert!((shares[1] - 38.0 / 300.0).abs() < 0.01, "{shares:?}");
        assert!(shares[2] > 0.002 && shares[3] > 0.002, "{shares:?}");
    }

    #[test]
    fn enough_for_all_is_open() {
        assert_eq!(
            choose(&cells([10, 10, 10, 10], &[]), 41.0, 41.0),
            Level::OPEN
        );
    }

    #[test]
    fn one_large_cohort_is_let_in_by_fraction() {
        let level = choose(&cells([0; 4], &[(COHORTS + 5, 1_000)]), 250.0, 250.0);
        let admitted = (0..STEPS)
            .filter(|s| level.admits(Criticality::Critical, 5 * STEPS + s))
            .count();
        assert_eq!(admitted, 64);
    }

    proptest! {
        /// What the level lets in is the budget, to within the reserves and a step of a cohort.
        #[test]
        fn lets_in_the_budget(counts in prop::collection::vec(0u32..50, CELLS), budget in 10.0f64..5_000.0) {
            let cells: [u32; CELLS] = counts.try_into().unwrap();
            let level = choose(&cells, budget, budget);
            let total: f64 = cells.iter().map(|&n| f64::from(n)).sum();
            let mut admitted = 0.0;
            for c in Criticality::ALL {
                let keep = f64::from(level.keep(c)) / f64::from(STEPS);
                let even = f64::from(cells[4 * COHORTS + c as usize]) / COHORTS as f64;
                for cohort in 0..COHORTS {
                    let inside = (keep - cohort as f64).clamp(0.0, 1.0);
                    admitted += inside * (f64::from(cells[c as usize * COHORTS + cohort]) + even);
                }
            }
            let expected = budget.min(total);
            prop_assert!((admitted - expected).abs() <= 0.03 * budget + 2.0, "{admitted} of {expected}");
        }

        /// While a criticality is cut, those below it get their reserve and no more.
        #[test]
        fn order_is_kept(counts in prop::array::uniform4(1u32..500), budget in 1.0f64..3_000.0) {
            let shares = choose(&cells(counts, &[]), budget, budget).shares();
            let step = 1.0 / f64::from(STEPS);
            if let Some(cut) = (0..4).find(|&c| shares[c] < 1.0) {
                for lower in cut + 1..4 {
                    let admitted = shares[lower] * f64::from(counts[lower]);
                    prop_assert!(admitted <= RESERVED * budget + step, "{shares:?}");
                }
            }
        }

        /// Tenants fall on all positions evenly, and keep theirs until the rotation changes.
        #[test]
        fn tenants_keep_their_cohort(tenant in 1u64.., rotation in 0u64..100, s in any::<u32>(), t in any::<u32>()) {
            let a = position(Criticality::Critical, tenant, rotation, s);
            let b = position(Criticality::Critical, tenant, rotation, t);
            prop_assert_eq!(a.1, b.1);
            prop_assert!(a.0 < FULL);
        }
    }
}
