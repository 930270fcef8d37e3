//! The least and the greatest of late.
//!
//! Two ways are common. Kathleen Nichols' filter (Linux `lib/win_minmax.c`, used by TCP BBR) keeps
//! the best sample and a second and third best from later thirds of the window: three words, but
//! what it answers after the best one expired is the best of a later third, not of the window. The
//! monotonic queue keeps every sample that could still become the answer and is exact, but needs
//! memory for as many samples as come.
//!
//! This is the queue with time cut into N slices, one sample a slice: never more than N + 1
//! entries, and exact up to the slice a sample falls in. Memory is not what is short here (one of
//! these per limit, a few hundred bytes), and an answer that equals its definition can be tested
//! against it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Slices;
use crate::Tick;

/// The least sample of the last `span`, to within a slice.
///
/// Holds the samples of the present slice and the N − 1 before it, slices beginning at multiples
/// of `span / N`. A time before the last one counts as the last one.
///
/// ```
/// use seawall_policy::{Tick, stats::WindowedMin};
/// use std::time::Duration;
///
/// let mut base = WindowedMin::new(Duration::from_secs(10), 10);
/// base.record(Tick::from_millis(0), 0.020);
/// base.record(Tick::from_millis(5_000), 0.030);
/// assert_eq!(base.get(Tick::from_millis(9_000)), Some(0.020));
/// assert_eq!(base.get(Tick::from_millis(12_000)), Some(0.030));
/// assert_eq!(base.get(Tick::from_millis(60_000)), None);
/// ```
#[derive(Clone, Debug)]
pub struct WindowedMin {
    slices: Slices,
    count: u64,
    /// Slices and their least samples: slices rise, samples rise too. The first is the answer.
    queue: VecDeque<(u64, f64)>,
}

impl WindowedMin {
    /// A window of `span` in `slices` slices (at least 1): the more, the smoother it slides.
    #[must_use]
    pub fn new(span: Duration, slices: usize) -> Self {
        Self {
            slices: Slices::of(span, slices),
            count: slices.max(1) as u64,
            queue: VecDeque::new(),
        }
    }

    /// Takes a sample in; one that is not finite is passed over.
    pub fn record(&mut self, now: Tick, value: f64) {
        if !value.is_finite() {
            return;
        }
        let newest = self.queue.back().map_or(0, |&(slice, _)| slice);
        let slice = self.slices.index(now).max(newest);
        let oldest = self.oldest(slice);
        while self.queue.front().is_some_and(|&(slice, _)| slice < oldest) {
            self.queue.pop_front();
        }
        while self.queue.back().is_some_and(|&(_, other)| other >= value) {
            self.queue.pop_back();
        }
        if self.queue.back().is_none_or(|&(other, _)| other < slice) {
            self.queue.push_back((slice, value));
        }
    }

    /// The least sample of the window that ends at `now`, where it holds any.
    #[must_use]
    pub fn get(&self, now: Tick) -> Option<f64> {
        let oldest = self.oldest(self.slices.index(now));
        let live = self.queue.iter().find(|&&(slice, _)| slice >= oldest);
        live.map(|&(_, value)| value)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    /// The first slice of the window whose last is `slice`.
    fn oldest(&self, slice: u64) -> u64 {
        slice.saturating_add(1).saturating_sub(self.count)
    }
}

/// The greatest sample of the last `span`, to within a slice; otherwise as [`WindowedMin`].
///
/// ```
/// use seawall_policy::{Tick, stats::WindowedMax};
/// use std::time::Duration;
///
/// let mut rate = WindowedMax::new(Duration::from_secs(1), 10);
/// rate.record(Tick::from_millis(0), 900.0);
/// rate.record(Tick::from_millis(500), 700.0);
/// assert_eq!(rate.get(Tick::from_millis(600)), Some(900.0));
/// assert_eq!(rate.get(Tick::from_millis(1_200)), Some(700.0));
/// ```
#[derive(Clone, Debug)]
pub struct WindowedMax(WindowedMin);

impl WindowedMax {
    /// A window of `span` in `slices` slices (at least 1): the more, the smoother it slides.
    #[must_use]
    pub fn new(span: Duration, slices: usize) -> Self {
        Self(WindowedMin::new(span, slices))
    }

    /// Takes a sample in; one that is not finite is passed over.
    pub fn record(&mut self, now: Tick, value: f64) {
        self.0.record(now, -value);
    }

    /// The greatest sample of the window that ends at `now`, where it holds any.
    #[must_use]
    pub fn get(&self, now: Tick) -> Option<f64> {
        self.0.get(now).map(|value| -value)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_brute_force_and_stays_small(
            steps in prop::collection::vec((0_u64..40, -50_i32..50), 1..200),
            jump in (any::<prop::sample::Index>(), 0_u64..10_000),
            slices in 1_usize..12,
        ) {
            const WIDTH: u64 = 10;
            let span = Duration::from_nanos(WIDTH * slices as u64);
            let (mut least, mut greatest) = (WindowedMin::new(span, slices), WindowedMax::new(span, slices));
            let (mut now, mut seen) = (0_u64, Vec::new());
            let at = jump.0.index(steps.len());
            for (i, (dt, value)) in steps.into_iter().enumerate() {
                now += if i == at { jump.1 } else { dt };
                for recorded in [false, true] {
                    if recorded {
                        seen.push((now, f64::from(value)));
                        least.record(Tick(now), f64::from(value));
                        greatest.record(Tick(now), f64::from(value));
                    }
                    let live = || seen.iter().filter(|&&(t, _)| t / WIDTH + slices as u64 > now / WIDTH).map(|&(_, v)| v);
                    prop_assert_eq!(least.get(Tick(now)), live().reduce(f64::min));
                    prop_assert_eq!(greatest.get(Tick(now)), live().reduce(f64::max));
                }
                prop_assert!(least.queue.len() <= slices + 1);
            }
        }
    }

    #[test]
    fn a_time_that_runs_backwards_counts_as_the_last() {
        let mut least = WindowedMin::new(Duration::from_nanos(100), 10);
        least.record(Tick(1_000), 5.0);
        least.record(Tick(10), 3.0);
        assert_eq!(least.get(Tick(1_000)), Some(3.0));
        least.record(Tick(1_000), f64::NAN);
        assert_eq!(least.get(Tick(1_000)), Some(3.0));
        least.clear();
        assert_eq!(least.get(Tick(1_000)), None);
    }
}
