//! Quantiles with a bounded relative error in bounded memory.
//!
//! Bins whose edges grow geometrically, as in DDSketch (Masson, Rim, Lee, VLDB 2019). With
//! γ = (1 + α)/(1 − α), bin i holds (γ^(i−1), γ^i], and its middle 2·γ^i/(γ + 1) is within a factor
//! 1 ± α of everything in it. DDSketch lets its bins grow and collapses the lowest ones when there
//! are too many; here the range is fixed at the start, so memory is too, recording never
//! allocates, and merging is an addition of arrays. Latencies have a known range.

use std::fmt;

/// How fine a sketch is, and over which range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolution {
    /// The greatest relative error α of an answer, 0.001 to 0.5. Default 0.01.
    pub error: f64,
    /// What is less counts as this; above zero. Default 1e-6: a microsecond, in seconds.
    pub min: f64,
    /// What is more counts as this; above `min`. Default 1000: a quarter of an hour, in seconds.
    pub max: f64,
}

impl Default for Resolution {
    /// A hundredth, from a microsecond to a quarter of an hour: 1,037 bins, 8 KiB.
    fn default() -> Self {
        Self {
            error: 0.01,
            min: 1e-6,
            max: 1e3,
        }
    }
}

impl Resolution {
    /// The nearest one that is in range.
    fn sound(self) -> Self {
        let default = Self::default();
        let or = |x: f64, other: f64| if x.is_finite() { x } else { other };
        let min = or(self.min, default.min).clamp(1e-12, 1e12);
        Self {
            error: or(self.error, default.error).clamp(0.001, 0.5),
            min,
            max: or(self.max, default.max).clamp(min, 1e15),
        }
    }
}

/// Two sketches of different [`Resolution`] cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mismatch {
    /// The resolution merged into.
    pub into: Resolution,
    /// The other one.
    pub from: Resolution,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { into, from } = self;
        write!(
            f,
            "sketches of different resolution cannot be merged ({into:?} and {from:?}): build both with the same one"
        )
    }
}

impl std::error::Error for Mismatch {}

/// Counts samples in geometric bins and answers quantiles from them.
///
/// Samples outside the range count at its ends, NaN is passed over. Recording costs a logarithm
/// and an addition.
///
/// ```
/// use seawall_policy::stats::{QuantileSketch, Resolution};
///
/// let mut sketch = QuantileSketch::new(Resolution::default());
/// for ms in 1..=1000 {
///     sketch.record(f64::from(ms) / 1e3);
/// }
/// let p99 = sketch.quantile(0.99).unwrap();
/// assert!((p99 - 0.990).abs() <= 0.01 * 0.990);
/// ```
#[derive(Clone, Debug)]
pub struct QuantileSketch {
    resolution: Resolution,
    /// ln γ.
    ln_gamma: f64,
    bins: Box<[u64]>,
    count: u64,
    min: f64,
    max: f64,
}

impl QuantileSketch {
    /// An empty sketch. Settings out of range are brought to the nearest in range.
    #[must_use]
    pub fn new(resolution: Resolution) -> Self {
        let resolution = resolution.sound();
        let Resolution { error, min, max } = resolution;
        let ln_gamma = ((1.0 + error) / (1.0 - error)).ln();
        let last = ((max / min).ln() / ln_gamma).ceil() as usize;
        Self {
            resolution,
            ln_gamma,
            bins: vec![0; last + 1].into(),
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    /// Samples so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The resolution in force.
    #[must_use]
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Adds a sample.
    pub fn record(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let value = value.clamp(self.resolution.min, self.resolution.max);
        let bin = ((value / self.resolution.min).ln() / self.ln_gamma).ceil() as usize;
        let last = self.bins.len() - 1;
        self.bins[bin.min(last)] += 1;
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// The `q`-quantile (0 to 1, what is outside counts as the nearer end): a value within the
    /// relative error of the sample that has ⌊q·(n − 1)⌋ samples before it. None while empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 || q.is_nan() {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * (self.count - 1) as f64) as u64;
        let mut before = 0;
        let bin = self.bins.iter().position(|&n| {
            before += n;
            before > rank
        })?;
        let edge = self.resolution.min * (bin as f64 * self.ln_gamma).exp();
        let middle = edge * 2.0 / (self.ln_gamma.exp() + 1.0);
        Some(middle.clamp(self.min, self.max))
    }

    /// Takes the other's samples in, as if they had been recorded here.
    ///
    /// # Errors
    /// [`Mismatch`] where the resolutions differ; nothing has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Mismatch> {
        if self.resolution != other.resolution {
            return Err(Mismatch {
                into: self.resolution,
                from: other.resolution,
            });
        }
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            *bin += more;
        }
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        Ok(())
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bins.fill(0);
        self.count = 0;
        self.min = f64::INFINITY;
        self.max = f64::NEG_INFINITY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch_of(resolution: Resolution, values: &[f64]) -> QuantileSketch {
        let mut sketch = QuantileSketch::new(resolution);
        values.iter().for_each(|&v| sketch.record(v));
        sketch
    }

    /// Latencies spread over nine orders of magnitude.
    fn latencies(max: usize) -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-6.0..3.0_f64, 1..max)
            .prop_map(|v| v.into_iter().map(|exp| 10_f64.powf(exp)).collect())
    }

    proptest! {
        #[test]
        fn answers_within_the_relative_error(values in latencies(300), error in 0.002..0.2_f64, q in 0.0..=1.0_f64) {
            let sketch = sketch_of(Resolution { error, ..Resolution::default() }, &values);
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            for q in [0.0, q, 0.5, 0.99, 1.0] {
                let want = sorted[(q * (sorted.len() - 1) as f64) as usize];
                let got = sketch.quantile(q).unwrap();
                prop_assert!((got - want).abs() <= (error + 1e-9) * want, "q {q}: {got} {want}");
            }
        }

        #[test]
        fn a_merged_sketch_is_the_sketch_of_all(a in latencies(100), b in latencies(100)) {
            let mut merged = sketch_of(Resolution::default(), &a);
            merged.merge(&sketch_of(Resolution::default(), &b)).unwrap();
            let whole = sketch_of(Resolution::default(), &[a, b].concat());
            prop_assert_eq!(merged.count(), whole.count());
            for q in 0..=20 {
                let q = f64::from(q) / 20.0;
                prop_assert_eq!(merged.quantile(q), whole.quantile(q));
            }
        }

        #[test]
        fn quantiles_never_fall_as_q_rises(values in latencies(100), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
            let sketch = sketch_of(Resolution::default(), &values);
            prop_assert!(sketch.quantile(a.min(b)) <= sketch.quantile(a.max(b)));
        }
    }

    #[test]
    fn the_range_has_ends() {
        let mut sketch = QuantileSketch::new(Resolution::default());
        assert_eq!(sketch.quantile(0.5), None);
        sketch.record(f64::NAN);
        assert_eq!(sketch.count(), 0);
        for odd in [-1.0, 0.0, f64::NEG_INFINITY] {
            sketch.record(odd);
            assert_eq!(sketch.quantile(1.0), Some(1e-6));
        }
        sketch.record(f64::INFINITY);
        assert_eq!(sketch.quantile(1.0), Some(1e3));
        assert_eq!(sketch.quantile(f64::NAN), None);
        sketch.clear();
        assert_eq!(sketch.quantile(1.0), None);
    }

    #[test]
    fn memory_is_fixed_and_settings_are_made_sound() {
        assert_eq!(QuantileSketch::new(Resolution::default()).bins.len(), 1_038);
        for x in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let odd = Resolution {
                error: x,
                min: x,
                max: x,
            };
            let mut sketch = QuantileSketch::new(odd);
            assert!(sketch.bins.len() < 40_000);
            sketch.record(1.0);
            assert!(sketch.quantile(0.5).unwrap().is_finite());
        }
    }

    #[test]
    fn resolutions_do_not_mix() {
        let mut a = QuantileSketch::new(Resolution::default());
        let b = QuantileSketch::new(Resolution {
            error: 0.02,
            ..Resolution::default()
        });
        assert!(
            a.merge(&b)
                .unwrap_err()
                .to_string()
                .contains("build both with the same one")
        );
    }
}
