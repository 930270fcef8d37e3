//! A latency that rises at once and falls slowly, shared by threads without a lock.
//!
//! The rule is Finagle's peak EWMA: a sample above the cost becomes the cost, one below pulls it
//! down by the time since the last, `cost += (sample - cost) · (1 - e^(-Δt/τ))`. Three things differ.
//!
//! - *Idle, it falls to what is typical of the fleet, not to nothing*: that a host has not been
//!   asked for a minute makes it unknown, and the best guess for the unknown is the others.
//! - *After a silence* a cost that keeps calls away falls by ratio: to the cube root of what it was
//!   above the sample. A host that stalled once is hardly asked, so that few samples pull it down,
//!   and each by little; at τ of 10 s, half a second's stall would keep it idle for minutes.
//! - *No `exp`*: e^-x is taken as 1/(1 + x + x²/2), which is right to x³/6. At steps of 10 ms and
//!   τ of 10 s that is 10^-10; after long idleness it forgets a little late (0.4 instead of 0.37
//!   after τ). It costs a division, an `exp` 10–20 ns.
//!
//! Value and time are one word that is read and stored, not exchanged: of two samples at the same
//! moment one may be lost, which no average notices.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Tick;

/// An hour, so that no sum is infinite.
pub(super) const LONGEST: f32 = 3.6e12;
/// From here on, in known costs, one that was given up is a new peak, not more of the same.
const NEWS: f32 = 1.5;
/// A stamp counts 2^20 ns, about a millisecond.
const STAMP_BITS: u32 = 20;
const STAMP_NS: f32 = (1_u32 << STAMP_BITS) as f32;

/// e^-x for x ≥ 0, nearly.
#[inline]
pub(super) fn fade(x: f32) -> f32 {
    1.0 / (1.0 + x + 0.5 * x * x)
}

/// A number and when it was written, in a word. An all-zero word: never written.
#[derive(Debug, Default)]
pub(super) struct Stamped(AtomicU64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) value: f32,
    /// Time since it was written, in the units of the [`Rate`]; zero where time ran backwards.
    pub(super) age: f32,
    pub(super) known: bool,
}

/// 1/τ per stamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate(f32);

impl Rate {
    /// `tau` of at least a millisecond.
    pub(super) fn new(tau: std::time::Duration) -> Self {
        Self(STAMP_NS / (tau.as_nanos().max(1_000_000) as f32))
    }
}

impl Rate {
    /// Plain time as an age.
    pub(super) fn age(self, time: std::time::Duration) -> f32 {
        time.as_nanos() as f32 / STAMP_NS * self.0
    }

    /// An age in plain time.
    pub(super) fn time(self, age: f32) -> std::time::Duration {
        std::time::Duration::from_nanos((age / self.0 * STAMP_NS) as u64)
    }
}

impl Stamped {
    #[inline]
    pub(super) fn read(&self, now: Tick, rate: Rate) -> Reading {
        let word = self.0.load(Relaxed);
        let age = (stamp(now).wrapping_sub((word >> 32) as u32)) as i32;
        Reading {
            value: f32::from_bits(word as u32),
            age: age.max(0) as f32 * rate.0,
            known: word != 0,
        }
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    #[inline]
    pub(super) fn write(&self, value: f32, now: Tick) {
        let word = u64::from(stamp(now)) << 32 | u64::from(value.to_bits());
        self.0.store(word, Relaxed);
    }
}

#[inline]
fn stamp(now: Tick) -> u32 {
    // Never zero, so that a word that was written differs from one that was not.
    ((now.0 >> STAMP_BITS) as u32).max(1)
}

/// A host's latency in ns.
#[derive(Debug, Default)]
pub(super) struct PeakLatency(Stamped);

impl PeakLatency {
    /// The latency at `now`; `typical` where nothing is known, and more so the longer ago it was.
    #[inline]
    pub(super) fn at(&self, now: Tick, rate: Rate, typical: f32) -> f32 {
        let last = self.0.read(now, rate);
        if !last.known {
            return typical;
        }
        typical + (last.value - typical) * fade(last.age)
    }

    /// Takes a call's latency in ns.
    #[inline]
    ///
    /// `old`: an age, in units of `rate`, and a cost; what is both older and higher is of another
    /// time.
    pub(super) fn record(&self, sample: f32, now: Tick, rate: Rate, old: (f32, f32)) {
        let last = self.0.read(now, rate);
        if !last.known || sample >= last.value {
            self.0.write(sample, now);
        } else if last.age > 0.0 {
            let keep = fade(last.age);
            let mut value = sample + (last.value - sample) * keep;
            if last.age >= old.0 && last.value > old.1 {
                value = value.min(sample * (last.value / sample).cbrt());
            }
            self.0.write(value, now);
        }
    }

    /// Takes a latency that can only be a lower bound: a failure's.
    pub(super) fn raise(&self, sample: f32, now: Tick, rate: Rate, typical: f32) {
        if sample > self.at(now, rate, typical) {
            self.0.write(sample, now);
        }
    }

    /// Takes a call that was given up after `sample` without an answer. Once, it is a peak like any
    /// other. Where answers take L on average, one comes for each L of time at the host, so further
    /// time that brought none adds up.
    pub(super) fn add(&self, sample: f32, now: Tick, rate: Rate, typical: f32) {
        let known = self.at(now, rate, typical);
        let peak = sample >= NEWS * known;
        let cost = if peak { sample } else { known + sample };
        self.0.write(cost.min(LONGEST), now);
    }

    /// What was known no longer holds; `sample` does.
    pub(super) fn restart(&self, sample: f32, now: Tick) {
        self.0.write(sample, now);
    }

    /// Half of what it is above `typical` goes, by ratio.
    pub(super) fn doubt(&self, now: Tick, rate: Rate, typical: f32) {
        let halved = (self.at(now, rate, typical) * typical).sqrt();
        self.0.write(halved, now);
    }

    /// What was known no longer holds.
    pub(super) fn forget(&self) {
        self.0.clear();
    }

    /// Nothing was heard for as long as `silence`, in units of `rate`.
    pub(super) fn is_silent(&self, now: Tick, rate: Rate, silence: f32) -> bool {
        self.0.read(now, rate).age >= silence
    }

    /// What was last written, where something was.
    pub(super) fn last(&self, now: Tick, rate: Rate) -> Option<f32> {
        let last = self.0.read(now, rate);
        last.known.then_some(last.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::PeakEwma;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Nothing is of another time.
    const NEVER: (f32, f32) = (f32::INFINITY, f32::INFINITY);

    #[test]
    fn a_stall_of_long_ago_is_forgotten_by_two_answers() {
        let rate = Rate::new(Duration::from_secs(10));
        let latency = PeakLatency::default();
        let old = (rate.age(Duration::from_millis(500)), 40.0);
        let at = |ms| latency.at(Tick::from_millis(ms), rate, 20.0);
        latency.record(1_000.0, Tick::ZERO, rate, old);
        latency.record(20.0, Tick::from_millis(400), rate, old);
        assert!(at(400) > 900.0, "not yet: {}", at(400));
        latency.record(20.0, Tick::from_millis(1_000), rate, old);
        assert!(at(1_000) < 80.0, "{}", at(1_000));
        latency.record(20.0, Tick::from_millis(1_600), rate, old);
        assert!(at(1_600) < 40.0, "{}", at(1_600));
    }

    #[test]
    fn time_without_an_answer_adds_up() {
        let rate = Rate::new(Duration::from_secs(10));
        let latency = PeakLatency::default();
        let add = |sample| latency.add(sample, Tick::ZERO, rate, 20.0);
        add(50.0);
        assert_eq!(latency.at(Tick::ZERO, rate, 20.0), 50.0);
        add(50.0);
        add(50.0);
        assert_eq!(latency.at(Tick::ZERO, rate, 20.0), 150.0);
        add(f32::MAX);
        assert_eq!(latency.at(Tick::ZERO, rate, 20.0), LONGEST);
    }

    proptest! {
        #[test]
        fn it_follows_the_plain_one(steps in prop::collection::vec((0_u64..200, 1.0..1e9_f32), 1..60)) {
            let tau = Duration::from_secs(10);
            let (rate, shared, mut plain) = (Rate::new(tau), PeakLatency::default(), PeakEwma::new(tau));
            let mut now = 0;
            for (ms, sample) in steps {
                // Whole stamps, so that both see the same time.
                now += ms << STAMP_BITS;
                shared.record(sample, Tick(now), rate, NEVER);
                // The plain one weighs a step of no time by nothing, as this one does.
                plain.record(Tick(now), f64::from(sample));
                let (got, want) = (shared.last(Tick(now), rate).unwrap(), plain.value().unwrap());
                prop_assert!((f64::from(got) / want - 1.0).abs() < 1e-3, "{got} {want}");
            }
        }

        #[test]
        fn idle_it_goes_to_what_is_typical(sample in 1.0..1e9_f32, typical in 1.0..1e9_f32, ms in 0_u64..100_000) {
            let rate = Rate::new(Duration::from_secs(10));
            let latency = PeakLatency::default();
            prop_assert_eq!(latency.at(Tick::ZERO, rate, typical), typical);
            latency.record(sample, Tick::ZERO, rate, NEVER);
            let at = |ms| latency.at(Tick::from_millis(ms), rate, typical);
            let (low, high) = (sample.min(typical) * 0.999, sample.max(typical) * 1.001);
            prop_assert!((low..=high).contains(&at(ms)));
            let off = |ms| (at(ms) - typical).abs();
            prop_assert!(off(ms + 1_000) <= off(ms) + 1e-3 * high);
            prop_assert!(off(1_000_000) <= 1e-3 * (sample - typical).abs() + 1e-6 * high);
        }
    }

    #[test]
    fn time_backwards_is_no_time() {
        let rate = Rate::new(Duration::ZERO);
        let latency = PeakLatency::default();
        latency.record(5.0, Tick::from_millis(10_000), rate, NEVER);
        latency.record(3.0, Tick::ZERO, rate, NEVER);
        assert_eq!(latency.at(Tick::ZERO, rate, 1.0), 5.0);
        assert!(latency.at(Tick::MAX, rate, 1.0).is_finite());
    }
}
