//! A token bucket by criticality: so many a second, so many at once, and the rest by rank.
//!
//! *By rank, without shares of the rate.* One bucket for all, out of which a lower criticality
//! takes only what leaves a part of the burst to those above it: `critical` leaves a quarter,
//! `sheddable-plus` a half, `sheddable` three quarters, `critical-plus` nothing. While more is
//! asked for than comes in, the level stands where the lowest that still gets something has to
//! stop, so everything above that one is served in full: a strict order, whatever the parts are.
//! What the parts decide is how large a burst of those above is met at once; equal steps give each
//! rank the same. A bucket for each would cut the rate into shares, and what one does not use would
//! be lost to the others. Reserves need a burst of at least four times a call's cost: what would
//! never fit beside its reserve is let through by a full bucket.
//!
//! *Booking ahead.* Who may wait for a token takes it now and uses it when it has come in, which
//! makes a queue of callers without keeping one: first come, first served, and no crowd that tries
//! again at the same moment. `critical-plus` may go into debt for it; the others book at most
//! half of what they leave to those above, so that these still find something. A booking is never
//! given back: its time may be over, and what was saved meanwhile would come on top.
//!
//! *Exact.* The level is kept in 10⁻¹⁵ of a unit, in which a rate in millionths brings a whole
//! number each nanosecond: nothing is rounded, over any time. A bucket in one atomic word, which
//! keeps the time until which everything given out is earned, rounds each token to a nanosecond (at
//! 300,000 a second by 0.02 %) and has no room for ranks. This one stands behind a lock, as what
//! takes tokens goes on to a database or another fleet, at a thousand times the cost.

use std::time::Duration;

use parking_lot::Mutex;

use crate::{Criticality, Tick};

/// Parts of a unit that one nanosecond at a rate of a millionth a second brings.
const UNIT: u128 = 1_000_000_000_000_000;
const MILLION: f64 = 1e6;
/// The highest rate, a second.
const RATE_MAX: f64 = 1e9;
const QUARTERS: u128 = 4;

/// Settings of a [`TokenBucket`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenBucketSettings {
    /// Units a second, 0 to 10⁹, in steps of a millionth. Default 100. With 0 the first burst is
    /// all there ever is.
    pub rate: f64,
    /// Units at once, at least 1. Default 100. A call that costs more is never let through.
    pub burst: u32,
}

impl Default for TokenBucketSettings {
    fn default() -> Self {
        Self {
            rate: 100.0,
            burst: 100,
        }
    }
}

/// At most `burst + rate · t` units in any time `t`, the higher criticalities first.
///
/// With bookings, `t` counts a nanosecond more: their times are rounded up. Full at first. Time
/// that runs backwards counts as the latest seen. A take costs a lock, a few multiplications of 128
/// bits and, where it is refused, a division.
///
/// ```
/// use seawall_policy::{Criticality, Tick, TokenBucket, TokenBucketSettings};
/// use std::time::Duration;
///
/// let bucket = TokenBucket::new(&TokenBucketSettings { rate: 10.0, burst: 4 }, Tick::ZERO);
/// let take = |criticality, now| bucket.take(criticality, 1, now);
/// let now = Tick::ZERO;
/// assert_eq!(take(Criticality::Sheddable, now), Ok(()));
/// // The next one would not leave three quarters.
/// assert_eq!(take(Criticality::Sheddable, now), Err(Duration::from_millis(100)));
/// for _ in 0..3 {
///     assert_eq!(take(Criticality::CriticalPlus, now), Ok(()));
/// }
/// assert_eq!(take(Criticality::CriticalPlus, now), Err(Duration::from_millis(100)));
/// ```
#[derive(Debug)]
pub struct TokenBucket {
    /// Millionths of a unit a second, which is parts a nanosecond.
    rate: u128,
    burst: u128,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In parts; below zero where it is booked ahead.
    level: i128,
    seen: Tick,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(settings: &TokenBucketSettings, now: Tick) -> Self {
        let rate = if settings.rate.is_nan() {
            TokenBucketSettings::default().rate
        } else {
            settings.rate.clamp(0.0, RATE_MAX)
        };
        let burst = u128::from(settings.burst.max(1)) * UNIT;
        Self {
            rate: (rate * MILLION).round() as u128,
            burst,
            state: Mutex::new(State {
                level: burst as i128,
                seen: now,
            }),
        }
    }

    /// Takes `cost` units, if the bucket holds them and what those above are left.
    ///
    /// # Errors
    /// How long until that is so, if nobody else takes any; [`Duration::MAX`] for never.
    pub fn take(&self, criticality: Criticality, cost: u32, now: Tick) -> Result<(), Duration> {
        self.book(criticality, cost, Duration::ZERO, now).map(drop)
    }

    /// Takes `cost` units that will be there in `most` at the latest: they are to be used when the
    /// answered time has passed, at once where it is zero.
    ///
    /// # Errors
    /// How long until they are there, where that is longer or too much is booked already;
    /// [`Duration::MAX`] for never. Nothing is taken.
    pub fn book(
        &self,
        criticality: Criticality,
        cost: u32,
        most: Duration,
        now: Tick,
    ) -> Result<Duration, Duration> {
        let cost = u128::from(cost) * UNIT;
        let mut state = self.state.lock();
        self.refill(&mut state, now);
        let wait = self.wait(&state, criticality, cost);
        let left = state.level - cost as i128;
        let booked_out = criticality != Criticality::CriticalPlus
            && left < (self.reserve(criticality, cost) / 2) as i128;
        let too_late = wait > most || wait == Duration::MAX;
        if too_late || (!wait.is_zero() && booked_out) {
            return Err(wait);
        }
        state.level = left;
        Ok(wait)
    }

    /// How long until `cost` units are there, if nobody else takes any; zero where they are, and
    /// [`Duration::MAX`] for never. Takes nothing.
    #[must_use]
    pub fn after(&self, criticality: Criticality, cost: u32, now: Tick) -> Duration {
        let mut state = self.state.lock();
        self.refill(&mut state, now);
        self.wait(&state, criticality, u128::from(cost) * UNIT)
    }

    /// The units it holds; below zero where they are booked ahead. For metrics.
    #[must_use]
    pub fn level(&self, now: Tick) -> f64 {
        let mut state = self.state.lock();
        self.refill(&mut state, now);
        state.level as f64 / UNIT as f64
    }

    /// 64 bits of nanoseconds times 50 bits of rate: far from full, as are all sums here. A booking
    /// adds to the debt at most a cost of 82 bits each 2⁶⁴ ns.
    fn refill(&self, state: &mut State, now: Tick) {
        let passed = now.0.saturating_sub(state.seen.0);
        if passed > 0 {
            let full = self.burst as i128;
            state.level = (state.level + (self.rate * u128::from(passed)) as i128).min(full);
            state.seen = now;
        }
    }

    /// What a take leaves to those above, but no more than leaves room for it in a full bucket.
    fn reserve(&self, criticality: Criticality, cost: u128) -> u128 {
        let quarters = criticality as u128;
        (self.burst * quarters / QUARTERS).min(self.burst.saturating_sub(cost))
    }

    fn wait(&self, state: &State, criticality: Criticality, cost: u128) -> Duration {
        if cost > self.burst {
            return Duration::MAX;
        }
        let wanted = (self.reserve(criticality, cost) + cost) as i128;
        match u128::try_from(wanted - state.level) {
            Err(_) | Ok(0) => Duration::ZERO,
            Ok(_) if self.rate == 0 => Duration::MAX,
            Ok(missing) => {
                let nanos = missing.div_ceil(self.rate);
                u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
            }
        }
    }
}

#[cfg(test)]
#[path = "token_bucket_tests.rs"]
mod tests;
