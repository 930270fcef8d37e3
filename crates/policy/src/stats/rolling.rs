//! Counts and sums over the last N buckets.
//!
//! The usual ring keeps an offset and a "last append" time and clears what expired as it moves;
//! the mistakes live there (a window that never slides, one that forgets to clear after an idle
//! hour, one that is a bucket too short while reading). Here every bucket carries the number of
//! the slice of time it holds. A read takes the buckets whose number is in range, a write into a
//! bucket with an older number begins it anew. Nothing has to be cleared, so jumps and idleness
//! are not special cases, and reading needs no `&mut`.

use std::time::Duration;

use super::Slices;
use crate::Tick;

/// What one bucket, or several together, hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least; infinite where there is none.
    pub min: f64,
    /// The greatest; minus infinite where there is none.
    pub max: f64,
}

impl Bucket {
    /// No samples.
    pub const EMPTY: Self = Self {
        count: 0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
    };

    /// A single sample.
    #[must_use]
    pub const fn of(value: f64) -> Self {
        Self {
            count: 1,
            sum: value,
            min: value,
            max: value,
        }
    }

    /// The mean, where there are samples.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Takes the other's samples in.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Which buckets a read takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last N, the one still filling being the last of them.
    WithPresent,
    /// The last N complete ones. For rates: a bucket half full halves them.
    Complete,
}

/// A window over the last N buckets of one width, sliding by one bucket at a time.
///
/// Bucket `k` holds the samples of `[k · width, (k + 1) · width)`. A sample that arrives late but
/// is not yet out of the window goes where it belongs; one that is out of it is passed over.
///
/// ```
/// use seawall_policy::{Tick, stats::{RollingWindow, Span}};
/// use std::time::Duration;
///
/// let mut window = RollingWindow::new(Duration::from_millis(100), 10);
/// window.record(Tick::from_millis(20), 3.0);
/// window.record(Tick::from_millis(130), 5.0);
/// let now = Tick::from_millis(150);
/// assert_eq!(window.total(now, Span::WithPresent).sum, 8.0);
/// assert_eq!(window.total(now, Span::Complete).sum, 3.0); // [100, 200) is still filling
/// assert_eq!(window.total(Tick::from_millis(60_000), Span::WithPresent).count, 0);
/// ```
#[derive(Clone, Debug)]
pub struct RollingWindow {
    slices: Slices,
    /// N + 1 of them, so that N complete ones are there beside the one that fills.
    buckets: Box<[(u64, Bucket)]>,
}

impl RollingWindow {
    /// `buckets` buckets (at least 1) of `width` (at least a nanosecond) each.
    #[must_use]
    pub fn new(width: Duration, buckets: usize) -> Self {
        Self {
            slices: Slices::new(width),
            buckets: vec![(0, Bucket::EMPTY); buckets.max(1) + 1].into(),
        }
    }

    /// N, the buckets of the window.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len() - 1
    }

    /// Never: a window has at least one bucket, though it may hold no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// A bucket's width.
    #[must_use]
    pub fn width(&self) -> Duration {
        Duration::from_nanos(self.slices.width_ns)
    }

    /// Adds a sample. One that is not finite is passed over.
    pub fn record(&mut self, at: Tick, value: f64) {
        self.merge(at, &Bucket::of(value));
    }

    /// Adds samples that were summed up elsewhere. Passed over where the sum is not finite.
    pub fn merge(&mut self, at: Tick, samples: &Bucket) {
        if samples.count == 0 || !samples.sum.is_finite() {
            return;
        }
        let index = self.slices.index(at);
        let place = (index % self.buckets.len() as u64) as usize;
        let (held, bucket) = &mut self.buckets[place];
        if bucket.count == 0 || *held < index {
            *held = index;
            *bucket = Bucket::EMPTY;
        }
        if *held == index {
            bucket.merge(samples);
        }
    }

    /// The buckets of the window at `now` that hold samples, in no particular order.
    pub fn buckets(&self, now: Tick, span: Span) -> impl Iterator<Item = &Bucket> {
        let present = self.slices.index(now);
        let end = match span {
            Span::WithPresent => present.saturating_add(1),
            Span::Complete => present,
        };
        let from = end.saturating_sub(self.len() as u64);
        self.buckets
            .iter()
            .filter(move |(index, bucket)| bucket.count > 0 && (from..end).contains(index))
            .map(|(_, bucket)| bucket)
    }

    /// All of the window at `now` in one.
    #[must_use]
    pub fn total(&self, now: Tick, span: Span) -> Bucket {
        self.buckets(now, span)
            .fold(Bucket::EMPTY, |mut total, bucket| {
                total.merge(bucket);
                total
            })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.fill((0, Bucket::EMPTY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTH: u64 = 10;

    /// The window by its definition, over every sample ever seen.
    fn naive(samples: &[(u64, f64)], buckets: u64, now: u64, span: Span) -> Bucket {
        let end = now / WIDTH + u64::from(span == Span::WithPresent);
        let mut total = Bucket::EMPTY;
        for &(at, value) in samples {
            if (end.saturating_sub(buckets)..end).contains(&(at / WIDTH)) {
                total.merge(&Bucket::of(value));
            }
        }
        total
    }

    fn same(a: &Bucket, b: &Bucket) -> bool {
        a.count == b.count
            && a.min == b.min
            && a.max == b.max
            && (a.sum - b.sum).abs() <= 1e-9 * a.sum.abs().max(1.0)
    }

    proptest! {
        #[test]
        fn slides_like_the_definition(
            steps in prop::collection::vec((0_u64..35, -50_i32..50), 1..200),
            jumps in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..100_000), 0..4),
            buckets in 1_u64..12,
        ) {
            let mut steps: Vec<_> = steps.into_iter().map(|(dt, v)| (dt, f64::from(v) / 4.0)).collect();
            for (at, dt) in jumps {
                let at = at.index(steps.len());
                steps[at].0 = dt;
            }
            let mut window = RollingWindow::new(Duration::from_nanos(WIDTH), buckets as usize);
            let (mut now, mut seen) = (0, Vec::new());
            for (dt, value) in steps {
                now += dt;
                for span in [Span::WithPresent, Span::Complete] {
                    let (got, want) = (window.total(Tick(now), span), naive(&seen, buckets, now, span));
                    prop_assert!(same(&got, &want), "{got:?} {want:?} at {now}");
                }
                window.record(Tick(now), value);
                seen.push((now, value));
                let (got, want) = (window.total(Tick(now), Span::WithPresent), naive(&seen, buckets, now, Span::WithPresent));
                prop_assert!(same(&got, &want), "{got:?} {want:?} at {now}");
            }
        }

        #[test]
        fn late_samples_go_where_they_belong(
            samples in prop::collection::vec((0_u64..100, 0_i32..9), 1..60),
        ) {
            // Ten buckets and eleven places: nothing here is too old to be kept at the end.
            let mut window = RollingWindow::new(Duration::from_nanos(WIDTH), 10);
            let samples: Vec<_> = samples.into_iter().map(|(at, v)| (at, f64::from(v))).collect();
            for &(at, value) in &samples {
                window.record(Tick(at), value);
            }
            let want = naive(&samples, 10, 99, Span::WithPresent);
            prop_assert!(same(&window.total(Tick(99), Span::WithPresent), &want));
        }
    }

    #[test]
    fn too_late_is_passed_over() {
        let mut window = RollingWindow::new(Duration::from_nanos(WIDTH), 2);
        window.record(Tick(95), 1.0);
        window.record(Tick(65), 7.0); // same place as slice 9, three slices older
        assert_eq!(window.total(Tick(99), Span::WithPresent), Bucket::of(1.0));
    }

    #[test]
    fn what_is_not_finite_is_passed_over() {
        let mut window = RollingWindow::new(Duration::from_millis(1), 3);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            window.record(Tick(0), bad);
        }
        assert_eq!(window.total(Tick(0), Span::WithPresent), Bucket::EMPTY);
        assert_eq!(Bucket::EMPTY.mean(), None);
    }

    #[test]
    fn zero_settings_and_the_ends_of_time() {
        let mut window = RollingWindow::new(Duration::ZERO, 0);
        window.record(Tick::MAX, 2.0);
        assert_eq!(window.len(), 1);
        assert_eq!(window.total(Tick::ZERO, Span::Complete).count, 0);
        window.clear();
        assert_eq!(window.total(Tick::MAX, Span::WithPresent).count, 0);
    }
}
