//! How many calls are at a host, and how old they are together, in one word.
//!
//! The age of what is under way is evidence before it ends: a host that has hung shows it after
//! one typical latency, its time limits only after the time limit. A list of begins would need a
//! lock; a count and the sum of the begins need one addition, and give the mean age.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Tick;

/// Bits of the count: a million calls at one host.
const COUNT_BITS: u32 = 20;
/// A unit of age is 2^14 ns, 16 µs: of the 44 bits left, half hold four years of summed age (a
/// thousand streams of a day are three). Beyond it the ages say nothing; the count stays exact.
const UNIT_BITS: u32 = 14;
const UNIT_NS: f32 = (1_u32 << UNIT_BITS) as f32;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// Above it a host takes no more, so that the count never spills into the sum.
pub(super) const FULL: u32 = COUNT_MASK as u32 / 2;

/// The count in the low bits, the sum of the begins in the others, modulo their width.
#[derive(Debug, Default)]
pub(super) struct Flight(AtomicU64);

/// When a call began, as its end has to give it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun(u64);

impl Begun {
    /// To the unit, upwards, so that it is no earlier than it was.
    pub(super) fn at(self) -> Tick {
        Tick(((self.0 >> COUNT_BITS) + 1) << UNIT_BITS)
    }
}

/// A reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnderWay {
    word: u64,
}

impl Flight {
    #[inline]
    pub(super) fn begin(&self, now: Tick) -> Begun {
        let begun = ((now.0 >> UNIT_BITS) << COUNT_BITS) | 1;
        self.0.fetch_add(begun, Relaxed);
        Begun(begun)
    }

    #[inline]
    pub(super) fn end(&self, begun: Begun) {
        self.0.fetch_sub(begun.0, Relaxed);
    }

    #[inline]
    pub(super) fn read(&self) -> UnderWay {
        UnderWay {
            word: self.0.load(Relaxed),
        }
    }
}

impl UnderWay {
    #[inline]
    pub(super) fn count(self) -> u32 {
        (self.word & COUNT_MASK) as u32
    }

    /// The latency that the ages speak for, in ns: calls that arrive evenly at a host of latency L
    /// are L/2 old on average, n of them add up to nL/2. Divided by n + 1, so that a single one
    /// speaks for its own age and no more. Zero where time runs backwards.
    #[inline]
    pub(super) fn latency(self, now: Tick) -> f32 {
        let count = u64::from(self.count());
        let begun = self.word >> COUNT_BITS;
        let age = (now.0 >> UNIT_BITS).wrapping_mul(count).wrapping_sub(begun);
        // Sign of the 44 bits: negative where somebody's clock was later than `now`.
        let age = ((age << COUNT_BITS) as i64) >> COUNT_BITS;
        2.0 * age.max(0) as f32 * UNIT_NS / (count + 1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ages_add_up_and_nothing_leaks(
            begins in prop::collection::vec(0_u64..u64::MAX >> 1, 1..40),
            later in 0_u64..1 << 40,
        ) {
            let flight = Flight::default();
            let now = Tick(begins.iter().max().unwrap() + later);
            let unit = |t: u64| (t >> UNIT_BITS) as f64;
            let calls: Vec<_> = begins.iter().map(|&t| flight.begin(Tick(t))).collect();
            let sum: f64 = begins.iter().map(|&t| unit(now.0) - unit(t)).sum();
            if sum < (1_u64 << 43) as f64 {
                let want = 2.0 * sum * f64::from(UNIT_NS) / (begins.len() + 1) as f64;
                let got = f64::from(flight.read().latency(now));
                prop_assert!((got - want).abs() <= want * 1e-3 + 1.0, "{got} {want}");
            }
            prop_assert_eq!(flight.read().count() as usize, begins.len());
            for call in calls {
                flight.end(call);
            }
            prop_assert_eq!(flight.read().word, 0);
        }
    }

    #[test]
    fn time_backwards_is_no_age() {
        let flight = Flight::default();
        let begun = flight.begin(Tick::from_millis(3_600_000));
        assert_eq!(flight.read().latency(Tick::ZERO), 0.0);
        assert_eq!(flight.read().count(), 1);
        flight.end(begun);
        assert_eq!(flight.read().count(), 0);
    }
}
