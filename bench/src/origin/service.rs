//! How long one request takes: the distributions, drawn so that their mean is exact.
//!
//! Ten thousand independent exponential draws miss their mean by 1 %, bimodal ones by 1.5 %: more
//! than the differences a comparison is after. So draws come in shuffled blocks of one draw per
//! quantile stratum, scaled to the mean. Each draw has the stated distribution, and every
//! [`BLOCK`] draws take exactly the stated time together.

use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Draws in one block.
pub const BLOCK: usize = 200;

/// The shape of service times around their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Every request takes the mean.
    #[default]
    Fixed,
    /// Exponential: coefficient of variation 1.
    Exponential,
    /// 90 % take half the mean, 10 % take 5.5 times the mean: coefficient of variation 1.5.
    Bimodal,
}

impl Distribution {
    /// The inverse distribution function for mean 1, at `0 <= q < 1`.
    pub(crate) fn quantile(self, q: f64) -> f64 {
        match self {
            Self::Fixed => 1.0,
            Self::Exponential => -(1.0 - q).ln(),
            Self::Bimodal if q < 0.9 => 0.5,
            Self::Bimodal => 5.5,
        }
    }
}

/// A stream of factors with mean 1.
#[derive(Debug)]
pub struct Sampler {
    distribution: Distribution,
    rng: Rng,
    block: Vec<f64>,
}

impl Sampler {
    /// A stream that repeats for the same seed.
    #[must_use]
    pub fn new(distribution: Distribution, seed: u64) -> Self {
        Self {
            distribution,
            rng: Rng::with_seed(seed),
            block: Vec::with_capacity(BLOCK),
        }
    }

    /// The next service time around `mean`.
    pub fn draw(&mut self, mean: Duration) -> Duration {
        if self.distribution == Distribution::Fixed {
            return mean;
        }
        if self.block.is_empty() {
            self.refill();
        }
        mean.mul_f64(self.block.pop().unwrap_or(1.0))
    }

    fn refill(&mut self) {
        let strata = BLOCK as f64;
        for stratum in 0..BLOCK {
            let q = (stratum as f64 + self.rng.f64()) / strata;
            self.block.push(self.distribution.quantile(q));
        }
        let scale = strata / self.block.iter().sum::<f64>();
        for factor in &mut self.block {
            *factor *= scale;
        }
        self.rng.shuffle(&mut self.block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(distribution: Distribution, blocks: usize) -> Vec<f64> {
        let mut sampler = Sampler::new(distribution, 7);
        (0..blocks * BLOCK)
            .map(|_| sampler.draw(Duration::from_millis(20)).as_secs_f64() / 0.020)
            .collect()
    }

    #[test]
    fn every_block_has_the_stated_mean() {
        for distribution in [
            Distribution::Fixed,
            Distribution::Exponential,
            Distribution::Bimodal,
        ] {
            for block in draws(distribution, 20).chunks(BLOCK) {
                let mean = block.iter().sum::<f64>() / BLOCK as f64;
                assert!((mean - 1.0).abs() < 1e-6, "{distribution:?}: {mean}");
            }
        }
    }

    #[test]
    fn the_spread_is_that_of_the_distribution() {
        for (distribution, variance) in [
            (Distribution::Fixed, 0.0),
            (Distribution::Exponential, 1.0),
            (Distribution::Bimodal, 2.25),
        ] {
            let draws = draws(distribution, 100);
            let found =
                draws.iter().map(|draw| (draw - 1.0).powi(2)).sum::<f64>() / draws.len() as f64;
            assert!((found - variance).abs() < 0.05, "{distribution:?}: {found}");
        }
    }
}
