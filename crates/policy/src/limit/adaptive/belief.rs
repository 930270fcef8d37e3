//! What is believed of the knee and of what lies above it: a joint distribution.

/// Distance of two candidates in the logarithm: 5 %.
const GRID: f64 = 0.05;
/// The least candidate; a knee of one must have something below it.
const LEAST: f64 = 0.7;
/// How throughput may go above the knee: as in-flight to this power. Zero is a queue that costs
/// nothing; the others an origin that slows as it fills (caches, garbage collection, lock
/// convoys), and that delivers by so much less than in proportion below the knee, too.
const SLOPES: [f64; 4] = [0.0, -0.2, -0.4, -0.6];
/// What of each is believed at first.
const AT_FIRST: [f64; 4] = [0.88, 0.04, 0.04, 0.04];
/// However clear a comparison looks, it may be an accident with this probability.
const ACCIDENT: f64 = 0.03;

/// A distribution over where the knee lies, and over the slope behind it.
///
/// The model is the one sharp fact of a saturated queue: with the limit always reached,
/// throughput is `C · min(1, N/k)`, whatever the distribution of service; and where service takes
/// longer the more calls are present, that times `(N/k)^s`, s < 0. A pair of measurements at two
/// limits compares throughputs within seconds of each other, so `C` drops out and nothing old is
/// ever compared with.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    /// By knee, then by slope.
    weights: Vec<[f64; SLOPES.len()]>,
}

fn candidate(i: usize) -> f64 {
    LEAST * (GRID * i as f64).exp()
}

/// `ln` of the throughput at `limit` relative to that at the knee.
fn shortfall(limit: f64, knee: f64, slope: f64) -> f64 {
    let beyond = (limit / knee).ln();
    beyond.min(0.0) + slope * beyond
}

impl Belief {
    /// Nothing known up to `max`.
    pub(super) fn new(max: u32) -> Self {
        let cells = ((f64::from(max) * 2.0 / LEAST).ln() / GRID) as usize + 1;
        let mut belief = Self {
            weights: vec![AT_FIRST; cells],
        };
        belief.normalise();
        belief
    }

    /// Forgets where the knee was and believes in `center`, give or take `spread` (of the
    /// logarithm). What was learned of the slope stays.
    pub(super) fn set(&mut self, center: f64, spread: f64) {
        let slopes = self.slopes();
        for (i, w) in self.weights.iter_mut().enumerate() {
            let z = (candidate(i) / center).ln() / spread;
            *w = slopes.map(|p| p * (-0.5 * z * z).exp());
        }
        self.normalise();
    }

    fn slopes(&self) -> [f64; SLOPES.len()] {
        let mut sum = [0.0; SLOPES.len()];
        for w in &self.weights {
            sum.iter_mut().zip(w).for_each(|(s, w)| *s += w);
        }
        sum
    }

    /// Mean of the power with which throughput goes above the knee, 0 or less.
    pub(super) fn slope(&self) -> f64 {
        self.slopes().iter().zip(SLOPES).map(|(w, s)| w * s).sum()
    }

    /// Learns that the logarithm of throughput differed by `difference` between the limits `a`
    /// and `b`, known with the variance `variance`.
    pub(super) fn observe(&mut self, a: f64, b: f64, difference: f64, variance: f64) {
        for (i, w) in self.weights.iter_mut().enumerate() {
            let k = candidate(i);
            for (w, slope) in w.iter_mut().zip(SLOPES) {
                let miss = difference - (shortfall(a, k, slope) - shortfall(b, k, slope));
                *w *= ACCIDENT + (1.0 - ACCIDENT) * (-0.5 * miss * miss / variance).exp();
            }
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
        let slopes = self.slopes();
        for (i, w) in self.weights.iter_mut().enumerate() {
            for ((w, p), first) in w.iter_mut().zip(slopes).zip(AT_FIRST) {
                *w *= 1.0 - share;
                if inside(i) {
                    *w += share * (0.9 * p + 0.1 * first) / cells as f64;
                }
            }
        }
    }

    /// The knee is below this with probability `q`.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let mut sum = 0.0;
        for (i, w) in self.knees().enumerate() {
            sum += w;
            if sum >= q {
                // Within the cell, as if it were evenly filled.
                let part = if w > 0.0 { (sum - q) / w } else { 0.0 };
                return candidate(i) * (GRID * (0.5 - part)).exp();
            }
        }
        candidate(self.weights.len() - 1)
    }

    /// Standard deviation of the logarithm.
    pub(super) fn spread(&self) -> f64 {
        let (mut mean, mut square) = (0.0, 0.0);
        for (i, w) in self.knees().enumerate() {
            let x = GRID * i as f64;
            mean += w * x;
            square += w * x * x;
        }
        (square - mean * mean).max(0.0).sqrt()
    }

    /// Probability that the knee is above `limit`.
    pub(super) fn above(&self, limit: f64) -> f64 {
        self.knees()
            .enumerate()
            .filter(|&(i, _)| candidate(i) > limit)
            .map(|(_, w)| w)
            .sum()
    }

    /// What is believed of each candidate, whatever the slope.
    fn knees(&self) -> impl Iterator<Item = f64> {
        self.weights.iter().map(|w| w.iter().sum())
    }

    fn normalise(&mut self) {
        let sum: f64 = self.knees().sum();
        let cells = self.weights.len() as f64;
        for w in &mut self.weights {
            *w = if sum > 0.0 && sum.is_finite() {
                w.map(|w| w / sum)
            } else {
                AT_FIRST.map(|p| p / cells)
            };
        }
    }
}
