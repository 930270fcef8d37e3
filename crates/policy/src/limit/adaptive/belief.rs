//! What is believed of the knee: a distribution over its logarithm.

/// Distance of two candidates in the logarithm: 5 %.
const GRID: f64 = 0.05;
/// The least candidate; a knee of one must have something below it.
const LEAST: f64 = 0.7;
/// However clear a comparison looks, it may be an accident with this probability.
const ACCIDENT: f64 = 0.03;

/// A distribution over where the knee lies.
///
/// The model is the one sharp fact of a saturated queue: with the limit always reached,
/// throughput is `C · min(1, N/k)`, whatever the distribution of service. A pair of measurements
/// at two limits compares throughputs within seconds of each other, so `C` drops out and nothing
/// old is ever compared with.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    weights: Vec<f64>,
}

fn candidate(i: usize) -> f64 {
    LEAST * (GRID * i as f64).exp()
}

/// `ln` of the throughput at `limit` relative to the capacity, if the knee is at `knee`.
fn shortfall(limit: f64, knee: f64) -> f64 {
    (limit / knee).min(1.0).ln()
}

impl Belief {
    /// Nothing known up to `max`.
    pub(super) fn new(max: u32) -> Self {
        let cells = ((f64::from(max) * 2.0 / LEAST).ln() / GRID) as usize + 1;
        Self {
            weights: vec![1.0 / cells as f64; cells],
        }
    }

    /// Forgets all and believes in `center`, give or take `spread` (of the logarithm).
    pub(super) fn set(&mut self, center: f64, spread: f64) {
        for (i, w) in self.weights.iter_mut().enumerate() {
            let z = (candidate(i) / center).ln() / spread;
            *w = (-0.5 * z * z).exp();
        }
        self.normalise();
    }

    /// Learns that the logarithm of throughput differed by `difference` between the limits `a`
    /// and `b`, known with the variance `variance`.
    pub(super) fn observe(&mut self, a: f64, b: f64, difference: f64, variance: f64) {
        for (i, w) in self.weights.iter_mut().enumerate() {
            let k = candidate(i);
            let miss = difference - (shortfall(a, k) - shortfall(b, k));
            *w *= ACCIDENT + (1.0 - ACCIDENT) * (-0.5 * miss * miss / variance).exp();
        }
        self.normalise();
    }

    /// Gives a part `share` of the belief to everything from `from` to `to` alike.
    pub(super) fn doubt(&mut self, from: f64, to: f64, share: f64) {
        let inside = |i: usize| (from..=to).contains(&candidate(i));
        let cells = (0..self.weights.len()).filter(|&i| inside(i)).count();
        if cells == 0 {
            return;
        }
        for (i, w) in self.weights.iter_mut().enumerate() {
            *w *= 1.0 - share;
            if inside(i) {
                *w += share / cells as f64;
            }
        }
    }

    /// The knee is below this with probability `q`.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let mut sum = 0.0;
        for (i, w) in self.weights.iter().enumerate() {
            sum += w;
            if sum >= q {
                // Within the cell, as if it were evenly filled.
                let part = if *w > 0.0 { (sum - q) / w } else { 0.0 };
                return candidate(i) * (GRID * (0.5 - part)).exp();
            }
        }
        candidate(self.weights.len() - 1)
    }

    /// Standard deviation of the logarithm.
    pub(super) fn spread(&self) -> f64 {
        let (mut mean, mut square) = (0.0, 0.0);
        for (i, w) in self.weights.iter().enumerate() {
            let x = GRID * i as f64;
            mean += w * x;
            square += w * x * x;
        }
        (square - mean * mean).max(0.0).sqrt()
    }

    /// Probability that the knee is above `limit`.
    pub(super) fn above(&self, limit: f64) -> f64 {
        self.weights
            .iter()
            .enumerate()
            .filter(|&(i, _)| candidate(i) > limit)
            .map(|(_, w)| w)
            .sum()
    }

    fn normalise(&mut self) {
        let sum: f64 = self.weights.iter().sum();
        if sum > 0.0 && sum.is_finite() {
            self.weights.iter_mut().for_each(|w| *w /= sum);
        } else {
            let even = 1.0 / self.weights.len() as f64;
            self.weights.fill(even);
        }
    }
}
