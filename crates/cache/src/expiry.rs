//! When an entry ends: jitter against ends that coincide, and XFetch against ends that everyone sees.
//!
//! *Jitter shortens.* Added to both sides, as elsewhere, a ttl of ten minutes is eleven now and then;
//! here what is set stays the most that is meant by it.
//!
//! *XFetch* (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache Stampede Prevention",
//! VLDB 2015): a reader at `now` loads early when `now − δ·β·ln(r) ≥ expiry`, with δ what the last
//! load took and r even in (0, 1]. Readers decide alone, and yet one of them begins about δ before
//! the end, earlier where there are many. By itself it sends 2.5 to 2.8 loads per expiry where the
//! load takes as long as the window; with leases the second to decide finds the lease taken.

use std::time::Duration;

/// `−ln` of the least r that [`early`] draws: with more left than so many times β·δ no reader loads
/// early, and none need draw.
pub(crate) const EARLIEST: f64 = 37.0;

/// A life of at most `ttl`, shortened by up to the share `jitter` of it.
pub(crate) fn jittered(ttl: Duration, jitter: f64, random: u64) -> Duration {
    ttl - ttl.mul_f64(jitter.clamp(0.0, 1.0) * unit(random)).min(ttl)
}

/// `−β·ln(r)`, from 0 to [`EARLIEST`]·β: how many times the last load's duration before the end a
/// reader loads early. `random` is any 64 bits.
pub(crate) fn early(beta: f64, random: u64) -> f64 {
    // Never 0, whose logarithm is infinite.
    let r = 1.0 - unit(random);
    (-r.ln() * beta).max(0.0)
}

/// `times` as long as `load`, or for ever.
pub(crate) fn lead(load: Duration, times: f64) -> Duration {
    Duration::try_from_secs_f64(load.as_secs_f64() * times).unwrap_or(Duration::MAX)
}

/// Even in [0, 1).
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_life_is_never_longer_than_said_nor_shorter_than_the_jitter(
            millis in 0_u64..u64::MAX / 4, jitter in 0.0..=1.0, random: u64
        ) {
            let ttl = Duration::from_millis(millis);
            let life = jittered(ttl, jitter, random);
            prop_assert!(life <= ttl);
            // The 53 bits of a float, and the nanosecond that is cut off.
            let least = ttl.as_secs_f64() * (1.0 - jitter);
            prop_assert!(life.as_secs_f64() >= least * (1.0 - 1e-12) - 1e-8);
        }

        #[test]
        fn none_draws_more_than_the_earliest(beta in 0.0..100.0, random: u64) {
            let drawn = early(beta, random);
            prop_assert!(drawn >= 0.0 && drawn <= EARLIEST * beta);
        }
    }

    #[test]
    fn the_extremes_are_numbers() {
        assert_eq!(early(1.0, 0), 0.0);
        let most = early(1.0, u64::MAX);
        assert!(most > 36.0 && most < EARLIEST);
        assert_eq!(lead(Duration::MAX, 37.0), Duration::MAX);
        assert_eq!(jittered(Duration::MAX, 0.0, u64::MAX), Duration::MAX);
    }

    /// The mean of `−ln(r)` is 1: a reader alone begins δ before the end.
    #[test]
    fn a_draw_is_one_on_average() {
        let mut random = fastrand::Rng::with_seed(7);
        let sum: f64 = (0..100_000).map(|_| early(1.0, random.u64(..))).sum();
        assert!((sum / 1e5 - 1.0).abs() < 0.02);
    }
}
