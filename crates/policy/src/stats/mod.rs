//! Statistics over time, each a passive value that is told the time.
//!
//! | to answer | use | memory | to record | to read |
//! |---|---|---|---|---|
//! | how many, how much, per bucket, over the last N buckets | [`RollingWindow`] | N + 1 buckets | O(1) | O(N) |
//! | the least or greatest of late | [`WindowedMin`], [`WindowedMax`] | ≤ N + 1 samples | O(1) amortised | O(N) worst, O(1) usual |
//! | the typical value of late | [`DecayingEwma`] | three words | one `exp` | O(1) |
//! | the cost that rises at once and falls slowly | [`PeakEwma`] | three words | one `exp` | one `exp` |
//! | a quantile | [`QuantileSketch`] | fixed by error and range | one `ln` | O(bins) |
//! | a quantile of late | [`SlidingQuantile`] | N sketches | one `ln` | O(N · bins) |
//!
//! All of them take time as a [`Tick`] argument, survive jumps and long idleness, take
//! a time that runs backwards for the latest one they know or for the past it is (each says
//! which), and pass over samples that are not finite: a NaN that enters an average never leaves.

mod ewma;
mod extremum;
mod pair;
mod quantile;
mod rolling;
mod sliding_quantile;

pub use ewma::{DecayingEwma, PeakEwma};
pub use extremum::{WindowedMax, WindowedMin};
pub(crate) use pair::{Pair, PairWindow, SliceNumber};
pub use quantile::{Mismatch, QuantileSketch, Resolution};
pub use rolling::{Bucket, RollingWindow, Span};
pub use sliding_quantile::SlidingQuantile;

use std::time::Duration;

use crate::Tick;

/// Cuts time into numbered slices of equal width.
#[derive(Clone, Copy, Debug)]
struct Slices {
    width_ns: u64,
}

impl Slices {
    /// Slices `width` wide, at least a nanosecond.
    fn new(width: Duration) -> Self {
        let width_ns = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { width_ns }
    }

    /// `span` cut into `count` slices.
    fn of(span: Duration, count: usize) -> Self {
        Self::new(span / u32::try_from(count.max(1)).unwrap_or(u32::MAX))
    }

    fn index(self, at: Tick) -> u64 {
        at.0 / self.width_ns
    }
}
