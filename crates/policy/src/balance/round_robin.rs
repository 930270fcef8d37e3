//! In turn, by weight.
//!
//! nginx's smooth weighted round robin keeps a running credit per host, which threads can only
//! share under a lock. Its sequence repeats, so it is written down once, when the list is made, and
//! a call takes the next place in it: one addition.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use seawall_sync::CachePadded;

/// The longest sequence; finer weights are rounded to it.
const LONGEST: f64 = 4_096.0;

#[derive(Debug)]
pub(super) struct RoundRobin {
    sequence: Box<[u32]>,
    next: CachePadded<AtomicU32>,
}

impl RoundRobin {
    /// `members` and their weights; starts at a place of its own, so that clients that start
    /// together do not go round in step.
    pub(super) fn new(members: &[(u32, f64)], start: u32) -> Self {
        Self {
            sequence: sequence(members),
            next: CachePadded::new(AtomicU32::new(start)),
        }
    }

    pub(super) fn next(&self) -> u32 {
        self.next.load(Relaxed)
    }

    /// The first in turn that `usable` takes.
    #[inline]
    pub(super) fn pick(&self, mut usable: impl FnMut(usize) -> bool) -> Option<usize> {
        for _ in 0..self.sequence.len() {
            let turn = self.next.fetch_add(1, Relaxed) as usize;
            let at = self.sequence[turn % self.sequence.len()] as usize;
            if usable(at) {
                return Some(at);
            }
        }
        None
    }
}

fn sequence(members: &[(u32, f64)]) -> Box<[u32]> {
    let Some(least) = members.iter().map(|m| m.1).reduce(f64::min) else {
        return Box::default();
    };
    // Whole turns, the lightest host at least one, unless that makes it too long.
    let total: f64 = members.iter().map(|m| m.1).sum();
    let longest = LONGEST.max(members.len() as f64);
    let unit = (1.0 / least).min(longest / total);
    let turns: Vec<i64> = members
        .iter()
        .map(|m| (m.1 * unit).round().max(1.0) as i64)
        .collect();
    let total: i64 = turns.iter().sum();
    let mut credit = vec![0_i64; turns.len()];
    let mut out = Vec::with_capacity(total as usize);
    for _ in 0..total {
        let mut best = 0;
        for (at, own) in credit.iter_mut().enumerate() {
            *own += turns[at];
        }
        for at in 1..credit.len() {
            if credit[at] > credit[best] {
                best = at;
            }
        }
        credit[best] -= total;
        out.push(members[best].0);
    }
    out.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_has_its_turns_and_they_are_spread(weights in prop::collection::vec(1_u32..20, 1..12)) {
            let members: Vec<_> = weights.iter().enumerate().map(|(i, &w)| (i as u32, f64::from(w))).collect();
            let least = *weights.iter().min().unwrap();
            let turns = sequence(&members);
            let total: u32 = weights.iter().sum();
            for (at, &weight) in weights.iter().enumerate() {
                let places: Vec<_> = (0..turns.len()).filter(|&i| turns[i] as usize == at).collect();
                let want = f64::from(weight) / f64::from(least);
                prop_assert!((places.len() as f64 - want).abs() <= 0.5);
                // No gap of more than twice the fair one (and a turn).
                let fair = f64::from(total) / f64::from(weight);
                let gap = places.windows(2).map(|p| p[1] - p[0]).max().unwrap_or(0);
                prop_assert!(gap as f64 <= 3.0 * fair + 2.0, "{gap} {fair}");
            }
        }
    }

    #[test]
    fn smooth_as_nginx_has_it() {
        let turns = sequence(&[(0, 5.0), (1, 1.0), (2, 1.0)]);
        assert_eq!(*turns, [0, 0, 1, 0, 2, 0, 0]);
    }
}
