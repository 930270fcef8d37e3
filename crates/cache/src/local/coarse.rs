//! A clock for ages: late by up to ten milliseconds, and a quarter of the price.

use seawall::Tick;
use seawall::clock::Clock;

/// Reads the time for a hit.
///
/// A hit in moka takes some 95 ns, of which its own reading of the clock is 25; a second one would be
/// the largest part of what we add. An entry that is served ten milliseconds longer is not missed.
/// Where the system has no such clock, and by a clock of a test, it is the exact time.
#[derive(Clone, Debug)]
pub(crate) struct Coarse {
    exact: Clock,
    /// What the system's clock reads at the exact clock's zero.
    #[cfg(target_os = "linux")]
    zero: Option<u64>,
}

impl Coarse {
    pub(crate) fn new(exact: &Clock) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            zero: zero(exact),
            exact: exact.clone(),
        }
    }

    /// About now, never later.
    #[inline]
    pub(crate) fn now(&self) -> Tick {
        #[cfg(target_os = "linux")]
        if let Some(zero) = self.zero {
            return Tick(system::read(system::COARSE).saturating_sub(zero));
        }
        self.exact.now()
    }
}

/// The least of three, for the thread may lose its CPU between two readings.
#[cfg(target_os = "linux")]
fn zero(exact: &Clock) -> Option<u64> {
    let once = |_| {
        let now = exact.now().0;
        system::read(system::EXACT).saturating_sub(now)
    };
    let system = matches!(exact, Clock::System(_));
    (0..3).map(once).min().filter(|_| system)
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::time::{ClockId, clock_gettime};

    pub(super) const EXACT: ClockId = ClockId::Monotonic;
    pub(super) const COARSE: ClockId = ClockId::MonotonicCoarse;

    #[inline]
    pub(super) fn read(clock: ClockId) -> u64 {
        let time = clock_gettime(clock);
        (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_about_now() {
        let clock = Clock::system();
        let coarse = Coarse::new(&clock);
        let (before, about, after) = (clock.now(), coarse.now(), clock.now());
        assert!(about <= after);
        // The kernel's slowest tick is 10 ms.
        assert!(about + Duration::from_millis(11) >= before);

        let manual = Clock::manual();
        let coarse = Coarse::new(&manual);
        manual.advance(Duration::from_nanos(3));
        assert_eq!(coarse.now(), Tick(3));
    }
}
