//! Lanes: work that must not be held up by other work.
//!
//! A lane has no places of its own that lie idle. While a lane is alone it may use all of the
//! limit; when others are active, each keeps as many places in reserve as it lately used (by
//! Little's law: time spent at the origin per second, plus three standard deviations of a Poisson
//! count), up to a fair share. What a flooded lane may hold is counted against the *knee*, the
//! concurrency the origin really works on, since places beyond it are only a queue inside the
//! origin in which the fast would wait for the slow.

use super::tally::KEYS;

/// How many lanes a gate can tell apart.
pub(super) const LANES: usize = 16;

/// A class of work that is isolated from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u8);

impl Lane {
    /// Where calls go of which nothing else is known.
    pub const DEFAULT: Self = Self(0);
    /// Routes that turned out slow, moved here and back by the gate.
    pub const SLOW: Self = Self(1);
    /// Large bodies.
    pub const BULK: Self = Self(2);
    /// Long-lived replies; they hold no place under the limit but are capped in number.
    pub const STREAM: Self = Self(3);
    /// The first lane that configuration may name; the last is 15.
    pub const FIRST_NAMED: u8 = 4;

    pub(super) fn index(self) -> usize {
        usize::from(self.0) % LANES
    }
}

/// An interned route: what latencies are learned per. The transport hands them out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key(pub u8);

/// What configuration says of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneSettings {
    /// Share of the limit that the lane may hold at most, above 0 up to 1; `None`: all that the
    /// others leave.
    pub share: Option<f64>,
}

/// A route counts as slow from this multiple of the fast routes' latency on ...
const SLOW_ENTER: f64 = 5.0;
/// ... and as fast again below this one.
const SLOW_LEAVE: f64 = 2.5;
/// Calls to have seen of a route before judging it.
const SLOW_SAMPLES: f64 = 8.0;
/// A route with less of the calls than this is no yardstick for the others.
const YARDSTICK_SHARE: f64 = 0.05;
/// How much of the past a review keeps; reviews come every 250 ms, so a lane's reserve halves
/// about every 1.7 s once it falls silent.
const KEEP: f64 = 0.9;

/// What is known of a route.
#[derive(Clone, Copy, Debug, Default)]
struct Route {
    calls: f64,
    seconds: f64,
    slow: bool,
}

/// The lanes' caps and the routes' classes, reviewed a few times a second.
#[derive(Debug)]
pub(super) struct Lanes {
    settings: [LaneSettings; LANES],
    routes: Box<[Route; KEYS]>,
    /// Mean places in use, the recent maximum.
    busy: [f64; LANES],
}

/// The outcome of a review: a cap per lane, `u32::MAX` for none.
pub(super) type Caps = [u32; LANES];

impl Lanes {
    pub(super) fn new(settings: [LaneSettings; LANES]) -> Self {
        Self {
            settings,
            routes: Box::new([Route::default(); KEYS]),
            busy: [0.0; LANES],
        }
    }

    pub(super) fn is_slow(&self, key: usize) -> bool {
        self.routes[key].slow
    }

    /// Takes in what finished in the last `elapsed` seconds: calls and seconds per route, seconds
    /// per lane. True where a route changed its class.
    pub(super) fn review(
        &mut self,
        elapsed: f64,
        routes: &[(f64, f64)],
        lanes: &[f64; LANES],
    ) -> bool {
        if elapsed <= 0.0 {
            return false;
        }
        for (busy, seconds) in self.busy.iter_mut().zip(lanes) {
            *busy = (*busy * KEEP).max(seconds / elapsed);
            if *busy < 1e-3 {
                *busy = 0.0;
            }
        }
        for (route, &(calls, seconds)) in self.routes.iter_mut().zip(routes) {
            route.calls = route.calls * KEEP + calls;
            route.seconds = route.seconds * KEEP + seconds;
        }
        self.classify()
    }

    fn classify(&mut self) -> bool {
        let total: f64 = self.routes.iter().map(|r| r.calls).sum();
        let yardstick = self
            .routes
            .iter()
            .filter(|r| r.calls >= SLOW_SAMPLES && r.calls >= total * YARDSTICK_SHARE)
            .map(|r| r.seconds / r.calls)
            .fold(f64::INFINITY, f64::min);
        if !yardstick.is_finite() {
            return false;
        }
        let mut changed = false;
        for route in self.routes.iter_mut() {
            let latency = route.seconds / route.calls.max(f64::MIN_POSITIVE);
            let slow = if route.slow {
                // A route that fell silent keeps its class: it will be as slow when it returns.
                route.calls < 1.0 || latency > yardstick * SLOW_LEAVE
            } else {
                route.calls >= SLOW_SAMPLES && latency >= yardstick * SLOW_ENTER
            };
            changed |= slow != route.slow;
            route.slow = slow;
        }
        changed
    }

    /// What each lane may hold, given the limit and the knee.
    pub(super) fn caps(&self, limit: u32, knee: u32) -> Caps {
        let active = self.busy.iter().filter(|&&b| b > 0.0).count();
        let fair = f64::from(knee) / active.max(1) as f64;
        let reserve = self.busy.map(|busy| {
            if busy > 0.0 {
                reserve(busy).min(fair)
            } else {
                0.0
            }
        });
        let reserved: f64 = reserve.iter().sum();
        std::array::from_fn(|lane| {
            let share = self.settings[lane]
                .share
                .map_or(f64::INFINITY, |s| s * f64::from(limit));
            let others = active - usize::from(self.busy[lane] > 0.0);
            let left = if others == 0 {
                f64::INFINITY
            } else {
                let base = if lane == Lane::DEFAULT.index() {
                    limit
                } else {
                    knee
                };
                (f64::from(base) - (reserved - reserve[lane])).max(fair)
            };
            let cap = share.min(left);
            if cap.is_finite() {
                (cap as u32).max(1)
            } else {
                u32::MAX
            }
        })
    }
}

fn reserve(busy: f64) -> f64 {
    (busy + 3.0 * busy.sqrt() + 1.0).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(lanes: &mut Lanes, routes: &[(usize, f64, f64)], busy: &[(usize, f64)]) -> bool {
        let mut keys = vec![(0.0, 0.0); KEYS];
        for &(key, calls, latency) in routes {
            keys[key] = (calls, calls * latency);
        }
        let mut seconds = [0.0; LANES];
        for &(lane, places) in busy {
            seconds[lane] = places * 0.25;
        }
        lanes.review(0.25, &keys, &seconds)
    }

    #[test]
    fn a_lane_alone_has_no_cap() {
        let mut lanes = Lanes::new(Default::default());
        review(&mut lanes, &[(0, 100.0, 0.02)], &[(0, 20.0)]);
        let caps = lanes.caps(26, 20);
        assert_eq!(caps[0], u32::MAX);
        assert_eq!(caps[1], 20, "one that comes anew may not take all at once");
    }

    #[test]
    fn a_slow_route_moves_and_returns() {
        let mut lanes = Lanes::new(Default::default());
        assert!(review(
            &mut lanes,
            &[(1, 50.0, 0.005), (2, 20.0, 0.2)],
            &[(0, 17.0)]
        ));
        assert!(lanes.is_slow(2) && !lanes.is_slow(1));
        let mut back = false;
        for _ in 0..60 {
            back |= review(
                &mut lanes,
                &[(1, 50.0, 0.005), (2, 20.0, 0.006)],
                &[(0, 1.0)],
            );
        }
        assert!(back && !lanes.is_slow(2));
    }

    #[test]
    fn the_flooded_lane_leaves_room_for_the_other() {
        let mut lanes = Lanes::new(Default::default());
        review(
            &mut lanes,
            &[(1, 50.0, 0.005), (2, 20.0, 0.2)],
            &[(0, 1.0), (1, 18.0)],
        );
        let caps = lanes.caps(26, 20);
        assert_eq!(caps[Lane::SLOW.index()], 15);
        assert!(
            caps[0] >= 10,
            "the fast lane keeps at least its fair share: {caps:?}"
        );
    }

    #[test]
    fn a_configured_share_holds_even_alone() {
        let mut settings = [LaneSettings::default(); LANES];
        settings[4].share = Some(0.25);
        assert_eq!(Lanes::new(settings).caps(40, 32)[4], 10);
    }
}
