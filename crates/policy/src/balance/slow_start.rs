//! A host that joins gets its share little by little.
//!
//! The share is applied where hosts are drawn, not to their load: a load ten times as heavy would
//! never win at low traffic, and let the host take a full share at once where all others are as
//! loaded. Drawn a tenth as often, it gets about a tenth, whatever the traffic.

use std::time::Duration;

use crate::Tick;

/// The share, `floor` to 1, of a host that has been warming since `from`.
pub(super) fn share(from: Tick, span: Duration, floor: f64, now: Tick) -> f64 {
    let age = now.since(from).as_secs_f64();
    let span = span.as_secs_f64();
    if age >= span {
        return 1.0;
    }
    floor + (1.0 - floor) * (age / span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_evenly_from_the_floor() {
        let at = |ms| {
            share(
                Tick::ZERO,
                Duration::from_secs(10),
                0.1,
                Tick::from_millis(ms),
            )
        };
        assert!((at(0) - 0.1).abs() < 1e-9);
        assert!((at(5_000) - 0.55).abs() < 1e-9);
        assert_eq!(at(10_000), 1.0);
        assert_eq!(share(Tick::ZERO, Duration::ZERO, 0.1, Tick::ZERO), 1.0);
        assert!((share(Tick::MAX, Duration::from_secs(1), 0.1, Tick::ZERO) - 0.1).abs() < 1e-9);
    }
}
