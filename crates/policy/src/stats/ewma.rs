//! Averages that forget with time.

use std::time::Duration;

use crate::Tick;

/// e^(−Δt/τ).
fn decay(from: Tick, to: Tick, tau: f64) -> f64 {
    (-to.since(from).as_secs_f64() / tau).exp()
}

/// τ in seconds, at least a nanosecond.
fn seconds(tau: Duration) -> f64 {
    tau.as_secs_f64().max(1e-9)
}

/// An average in which a sample's weight falls by e every τ.
///
/// The value is Σ wᵢ·e^(−(t−tᵢ)/τ)·xᵢ ∕ Σ wᵢ·e^(−(t−tᵢ)/τ), kept as a running value and a running
/// weight W: `W ← W·e^(−Δt/τ) + w`, `value ← value + (x − value)·w/W`. The familiar
/// `value·d + x·(1 − d)` with d = e^(−Δt/τ) (Eckner, "Algorithms for Unevenly Spaced Time Series")
/// passes over samples of the same instant (d = 1) and trusts the first one for a whole τ; this
/// form weighs simultaneous samples alike and is a plain mean while it warms up.
///
/// A time before the last one counts as the last one.
///
/// ```
/// use seawall_policy::{Tick, stats::DecayingEwma};
/// use std::time::Duration;
///
/// let mut latency = DecayingEwma::new(Duration::from_secs(1));
/// assert_eq!(latency.value(), None);
/// latency.record(Tick::ZERO, 10.0);
/// latency.record(Tick::ZERO, 20.0);
/// assert_eq!(latency.value(), Some(15.0));
/// latency.record(Tick::from_millis(60_000), 40.0); // the old ones weigh next to nothing
/// assert!((latency.value().unwrap() - 40.0).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DecayingEwma {
    tau: f64,
    value: f64,
    weight: f64,
    last: Tick,
}

impl DecayingEwma {
    /// Forgets with time constant `tau` (at least a nanosecond).
    #[must_use]
    pub fn new(tau: Duration) -> Self {
        Self {
            tau: seconds(tau),
            value: 0.0,
            weight: 0.0,
            last: Tick::ZERO,
        }
    }

    /// Takes one sample in; one that is not finite is passed over.
    pub fn record(&mut self, now: Tick, value: f64) {
        self.record_weighted(now, value, 1.0);
    }

    /// Takes in the mean of `weight` samples. Passed over where either is not finite or the weight
    /// is not above zero.
    pub fn record_weighted(&mut self, now: Tick, value: f64, weight: f64) {
        if !value.is_finite() || !weight.is_finite() || weight <= 0.0 {
            return;
        }
        let before = self.value().unwrap_or(value);
        self.weight = self.weight * decay(self.last, now, self.tau) + weight;
        let share = (weight / self.weight).min(1.0);
        // Not `before + (value − before)·share`, whose difference overflows at the far ends.
        let mixed = before * (1.0 - share) + value * share;
        self.value = mixed.clamp(before.min(value), before.max(value));
        self.last = self.last.max(now);
    }

    /// The average, from the first sample on.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.value)
    }

    /// Multiplies the average by a finite `factor`: for a baseline that is known to be off.
    pub fn scale(&mut self, factor: f64) {
        if (self.value * factor).is_finite() {
            self.value *= factor;
        }
    }
}

/// A cost that follows a rise at once and a fall with time constant τ.
///
/// Finagle's "peak EWMA" (`com.twitter.finagle.loadbalancer.PeakEwma`): a sample above the cost
/// becomes the cost; any other is mixed in as `cost·d + sample·(1 − d)` with d = e^(−Δt/τ). So a
/// balancer leaves a slow host after one bad answer and comes back cautiously.
///
/// A time before the last one counts as the last one.
///
/// ```
/// use seawall_policy::{Tick, stats::PeakEwma};
/// use std::time::Duration;
///
/// let mut cost = PeakEwma::new(Duration::from_secs(10));
/// cost.record(Tick::ZERO, 0.020);
/// cost.record(Tick::from_millis(1), 0.500);
/// assert_eq!(cost.value(), Some(0.500)); // up at once
/// cost.record(Tick::from_millis(1_001), 0.020);
/// assert!(cost.value().unwrap() > 0.4); // down slowly
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PeakEwma {
    tau: f64,
    cost: Option<f64>,
    last: Tick,
}

impl PeakEwma {
    /// Falls with time constant `tau` (at least a nanosecond).
    #[must_use]
    pub fn new(tau: Duration) -> Self {
        Self {
            tau: seconds(tau),
            cost: None,
            last: Tick::ZERO,
        }
    }

    /// Takes a sample in; one that is not finite is passed over.
    pub fn record(&mut self, now: Tick, sample: f64) {
        if !sample.is_finite() {
            return;
        }
        self.cost = Some(match self.cost {
            Some(cost) if sample < cost => {
                let keep = decay(self.last, now, self.tau);
                (cost * keep + sample * (1.0 - keep)).clamp(sample, cost)
            }
            _ => sample,
        });
        self.last = self.last.max(now);
    }

    /// The cost at the last sample.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.cost
    }

    /// The cost at `now`, fallen towards zero since the last sample, as Finagle reads it: a host
    /// that nobody asks any more is tried again in the end.
    #[must_use]
    pub fn at(&self, now: Tick) -> Option<f64> {
        self.cost.map(|cost| cost * decay(self.last, now, self.tau))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples() -> impl Strategy<Value = Vec<(u64, f64)>> {
        prop::collection::vec((0_u64..5_000, -1e6_f64..1e6), 1..80)
    }

    proptest! {
        #[test]
        fn the_average_equals_its_definition(steps in samples(), tau_ms in 1_u64..3_000) {
            let tau = tau_ms as f64 / 1e3;
            let mut ewma = DecayingEwma::new(Duration::from_millis(tau_ms));
            let (mut now, mut seen) = (0, Vec::new());
            for (dt, x) in steps {
                now += dt;
                seen.push((now, x));
                ewma.record(Tick::from_millis(now), x);
                let weigh = |at: u64| (-((now - at) as f64) / 1e3 / tau).exp();
                let sum: f64 = seen.iter().map(|&(at, x)| weigh(at) * x).sum();
                let want = sum / seen.iter().map(|&(at, _)| weigh(at)).sum::<f64>();
                let got = ewma.value().unwrap();
                prop_assert!((got - want).abs() <= 1e-3, "{got} {want}");
            }
        }

        #[test]
        fn averages_stay_between_their_inputs(steps in samples(), tau_ms in 0_u64..3_000) {
            let mut ewma = DecayingEwma::new(Duration::from_millis(tau_ms));
            let mut peak = PeakEwma::new(Duration::from_millis(tau_ms));
            let (mut now, mut min, mut max) = (0, f64::INFINITY, f64::NEG_INFINITY);
            for (dt, x) in steps {
                now += dt;
                (min, max) = (min.min(x), max.max(x));
                ewma.record(Tick::from_millis(now), x);
                peak.record(Tick::from_millis(now), x);
                for value in [ewma.value().unwrap(), peak.value().unwrap()] {
                    prop_assert!((min..=max).contains(&value));
                }
                prop_assert!(peak.value().unwrap() >= x, "a peak is never under the last sample");
            }
        }

        #[test]
        fn a_weight_is_so_many_samples(x in -9.0..9.0_f64, y in -9.0..9.0_f64, n in 1_u32..20, dt in 0_u64..2_000) {
            let (mut one, mut many) = (DecayingEwma::new(Duration::from_secs(1)), DecayingEwma::new(Duration::from_secs(1)));
            for ewma in [&mut one, &mut many] {
                ewma.record(Tick::ZERO, x);
            }
            one.record_weighted(Tick::from_millis(dt), y, f64::from(n));
            for _ in 0..n {
                many.record(Tick::from_millis(dt), y);
            }
            prop_assert!((one.value().unwrap() - many.value().unwrap()).abs() < 1e-9);
        }

        #[test]
        fn a_peak_falls_by_the_formula(high in 1.0..9.0_f64, low in 0.0..1.0_f64, dt in 0_u64..5_000) {
            let mut peak = PeakEwma::new(Duration::from_secs(1));
            peak.record(Tick::ZERO, high);
            peak.record(Tick::from_millis(dt), low);
            let keep = (-(dt as f64) / 1e3).exp();
            prop_assert!((peak.value().unwrap() - (high * keep + low * (1.0 - keep))).abs() < 1e-9);
            let idle = peak.at(Tick::from_millis(dt + 1_000)).unwrap();
            prop_assert!((idle - peak.value().unwrap() / std::f64::consts::E).abs() < 1e-9);
        }
    }

    #[test]
    fn nothing_odd_gets_in() {
        let mut ewma = DecayingEwma::new(Duration::ZERO);
        let mut peak = PeakEwma::new(Duration::ZERO);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            ewma.record(Tick::ZERO, bad);
            ewma.record_weighted(Tick::ZERO, 1.0, bad);
            peak.record(Tick::ZERO, bad);
        }
        ewma.record_weighted(Tick::ZERO, 1.0, 0.0);
        assert_eq!((ewma.value(), peak.value()), (None, None));
        ewma.record(Tick::MAX, f64::MAX);
        ewma.record(Tick::ZERO, f64::MIN); // backwards: counts as now
        assert!(ewma.value().unwrap().is_finite());
        ewma.scale(f64::INFINITY);
        assert!(ewma.value().unwrap().is_finite());
    }
}
