//! Quantiles of the last while.
//!
//! A ring of sketches, one per slice of time, each marked with the slice it holds, merged when
//! read. Reads are rare (a decision a window, a scrape), so their cost does not matter; recording
//! stays one logarithm. Decaying counts would need one sketch only, but a burst then never quite
//! leaves it, and the answer could not be compared with a definition.

use std::time::Duration;

use super::{QuantileSketch, Resolution, Slices};
use crate::Tick;

/// A [`QuantileSketch`] of the last `span`, to within a slice.
///
/// Holds the samples of the present slice and the N − 1 before it. A late sample goes where it
/// belongs if that slice is still held, and is passed over otherwise.
///
/// ```
/// use seawall_policy::{Tick, stats::{Resolution, SlidingQuantile}};
/// use std::time::Duration;
///
/// let mut latency = SlidingQuantile::new(Duration::from_secs(10), 5, Resolution::default());
/// latency.record(Tick::from_millis(0), 3.0);
/// latency.record(Tick::from_millis(9_000), 0.5);
/// let worst = |ms| latency.quantile(Tick::from_millis(ms), 1.0).unwrap();
/// assert!((worst(9_000) - 3.0).abs() <= 0.01 * 3.0);
/// assert!((worst(12_000) - 0.5).abs() <= 0.01 * 0.5);
/// ```
#[derive(Clone, Debug)]
pub struct SlidingQuantile {
    slices: Slices,
    ring: Box<[(u64, QuantileSketch)]>,
}

impl SlidingQuantile {
    /// A window of `span` in `slices` slices (at least 1), each a sketch of that `resolution`.
    #[must_use]
    pub fn new(span: Duration, slices: usize, resolution: Resolution) -> Self {
        let sketch = QuantileSketch::new(resolution);
        Self {
            slices: Slices::of(span, slices),
            ring: vec![(0, sketch); slices.max(1)].into(),
        }
    }

    /// Adds a sample; NaN is passed over.
    pub fn record(&mut self, at: Tick, value: f64) {
        let slice = self.slices.index(at);
        let place = (slice % self.ring.len() as u64) as usize;
        let (held, sketch) = &mut self.ring[place];
        if *held < slice {
            *held = slice;
            sketch.clear();
        }
        if *held == slice {
            sketch.record(value);
        }
    }

    /// Everything in the window that ends at `now`, as one sketch.
    #[must_use]
    pub fn sketch(&self, now: Tick) -> QuantileSketch {
        let end = self.slices.index(now).saturating_add(1);
        let live = end.saturating_sub(self.ring.len() as u64)..end;
        let mut whole = QuantileSketch::new(self.ring[0].1.resolution());
        for (slice, sketch) in &self.ring {
            if sketch.count() > 0 && live.contains(slice) {
                // Same resolution by construction.
                let merged = whole.merge(sketch);
                debug_assert!(merged.is_ok());
            }
        }
        whole
    }

    /// The newest slices of the window that ends at `now`, as many as it takes to hold `enough`
    /// samples; all where they hold fewer.
    #[must_use]
    pub fn newest(&self, now: Tick, enough: u64) -> QuantileSketch {
        let end = self.slices.index(now);
        let slices = self.ring.len() as u64;
        let mut newest = QuantileSketch::new(self.ring[0].1.resolution());
        for slice in (0..slices).map_while(|back| end.checked_sub(back)) {
            if newest.count() >= enough {
                break;
            }
            let (held, sketch) = &self.ring[(slice % slices) as usize];
            if *held == slice {
                // Same resolution by construction.
                let merged = newest.merge(sketch);
                debug_assert!(merged.is_ok());
            }
        }
        newest
    }

    /// The `q`-quantile of the window that ends at `now`, as [`QuantileSketch::quantile`] has it.
    #[must_use]
    pub fn quantile(&self, now: Tick, q: f64) -> Option<f64> {
        self.sketch(now).quantile(q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_sketch_of_what_the_window_holds(
            steps in prop::collection::vec((0_u64..30, 0.001..10.0_f64), 1..100),
            slices in 1_usize..6,
            idle in 0_u64..200,
        ) {
            const WIDTH: u64 = 10;
            let resolution = Resolution { error: 0.05, ..Resolution::default() };
            let mut sliding = SlidingQuantile::new(Duration::from_nanos(WIDTH * slices as u64), slices, resolution);
            let (mut now, mut seen) = (0, Vec::new());
            for (dt, value) in steps {
                now += dt;
                sliding.record(Tick(now), value);
                seen.push((now, value));
            }
            now += idle;
            let mut want = QuantileSketch::new(resolution);
            for &(at, value) in &seen {
                if at / WIDTH + slices as u64 > now / WIDTH {
                    want.record(value);
                }
            }
            for q in [0.0, 0.3, 0.9, 1.0] {
                prop_assert_eq!(sliding.quantile(Tick(now), q), want.quantile(q));
            }
            for enough in [0, 1, 5, 1_000] {
                let newest = sliding.newest(Tick(now), enough);
                let since = |slice| {
                    let within = seen.iter().filter(|(at, _)| at / WIDTH >= slice);
                    within.count() as u64
                };
                let oldest = (now / WIDTH + 1).saturating_sub(slices as u64);
                let mut from = now / WIDTH + 1;
                while from > oldest && since(from) < enough {
                    from -= 1;
                }
                prop_assert_eq!(newest.count(), since(from), "the newest with {}", enough);
            }
        }
    }

    #[test]
    fn too_late_is_passed_over() {
        let mut sliding = SlidingQuantile::new(Duration::from_nanos(20), 2, Resolution::default());
        sliding.record(Tick(45), 1.0);
        sliding.record(Tick(5), 100.0);
        assert_eq!(sliding.sketch(Tick(45)).count(), 1);
        assert_eq!(sliding.quantile(Tick(1_000), 0.5), None);
    }
}
