//! Time, as the decisions see it.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since a start that the driver chose. Monotonic, never wall-clock.
///
/// Decisions take a `Tick` as an argument instead of reading a clock, so a simulation and a
/// running gateway execute the same code. 64 bits last 584 years.
///
/// ```
/// use seawall_policy::Tick;
/// use std::time::Duration;
///
/// let start = Tick::from_millis(5);
/// let later = start + Duration::from_millis(2);
/// assert_eq!(later.since(start), Duration::from_millis(2));
/// assert_eq!(start.since(later), Duration::ZERO); // saturates
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The start.
    pub const ZERO: Self = Self(0);
    /// Further away than anything: "no deadline".
    pub const MAX: Self = Self(u64::MAX);

    /// A tick `ms` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// A tick `s` seconds after the start.
    #[must_use]
    pub fn from_secs_f64(s: f64) -> Self {
        Self((s * 1e9) as u64)
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the start.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    /// Saturates at [`Tick::MAX`].
    #[inline]
    fn add(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Tick {
    type Output = Self;

    /// Saturates at [`Tick::ZERO`].
    #[inline]
    fn sub(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}
