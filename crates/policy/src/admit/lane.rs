//! Lanes: work that must not be held up by other work.
//!
//! A lane has no places of its own that lie idle. While a lane is alone it may use all of the
//! limit; when others are active, each keeps as many places in reserve as it lately used (by
//! Little's law: time spent at the origin per second, plus three standard deviations of a Poisson
//! count), up to a fair share. What a flooded lane may hold is counted against the *knee*, the
//! concurrency the origin really works on, since places beyond it are only a queue inside the
//! origin in which the fast would wait for the slow.
//!
//! The knee is an estimate, and while a lane's cap is what binds, nothing improves it. So the caps
//! are trimmed by what isolation is for: while the default lane's latency stays near the best it
//! lately had, a lane that is held up gets another place; when it rises, all give some back.

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

impl Key {
    /// Every route that has no key of its own: those of which nothing is known yet, and those
    /// beyond the 255 that are told apart. Being many, it is no yardstick for any one of them.
    pub const OVERFLOW: Self = Self(u8::MAX);
}

/// What configuration says of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneSettings {
    /// Share of the limit that the lane may hold at most, above 0 up to 1; `None`: all that the
    /// others leave.
    pub share: Option<f64>,
}

/// A route counts as slow from this multiple of the fast routes' time of service on ...
const SLOW_ENTER: f64 = 4.0;
/// ... and as fast again below this one.
const SLOW_LEAVE: f64 = 2.0;
/// The latency itself, queueing in the origin included, must be this multiple at the least.
const SLOW_LATENCY: f64 = 1.5;
/// The part of a latency that is service in any case, however much queueing is assumed.
const SERVICE_MIN: f64 = 0.1;
/// The default lane is held up by others from this multiple of its best latency on, ...
const CROWDED: f64 = 1.3;
/// ... and undisturbed below this one.
const CALM: f64 = 1.15;
/// The best latency is forgotten by this factor a review: a tenth in 6 s.
const BEST_FADES: f64 = 1.004;
/// Bound of the trim, in places either way.
const TRIM_MAX: f64 = 1_024.0;
/// Calls to have seen of a route before judging it.
const SLOW_SAMPLES: f64 = 8.0;
/// A route with less of the calls than this is no yardstick for the others.
const YARDSTICK_SHARE: f64 = 0.05;
/// How much of the past a review keeps; reviews come every 250 ms, so a lane's reserve halves
/// about every 1.7 s once it needs less, ...
const KEEP: f64 = 0.9;
/// ... and every review while it neither holds a place nor finishes anything: idle places that
/// are kept for nobody are lost to all.
const KEEP_SILENT: f64 = 0.5;
/// Fewer places than this are not worth a reserve: who comes next is served next anyway.
const BUSY_MIN: f64 = 0.05;

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
    /// The default lane's mean latency in the last review, and the best one lately.
    latency: Option<f64>,
    best: f64,
    /// Places that capped lanes may hold beyond the estimate; below 0, fewer.
    trim: f64,
}

/// The outcome of a review: a cap per lane, `u32::MAX` for none.
pub(super) type Caps = [u32; LANES];

impl Lanes {
    pub(super) fn new(settings: [LaneSettings; LANES]) -> Self {
        Self {
            settings,
            routes: Box::new([Route::default(); KEYS]),
            busy: [0.0; LANES],
            latency: None,
            best: f64::INFINITY,
            trim: 0.0,
        }
    }

    pub(super) fn set(&mut self, settings: [LaneSettings; LANES]) {
        self.settings = settings;
    }

    pub(super) fn is_slow(&self, key: usize) -> bool {
        self.routes[key].slow
    }

    /// Takes in what finished in the last `elapsed` seconds: calls and seconds per route, seconds
    /// and places `held` now per lane. `queueing` seconds of each latency were spent waiting inside
    /// the origin, the same for all. True where a route changed its class.
    pub(super) fn review(
        &mut self,
        elapsed: f64,
        routes: &[(f64, f64)],
        lanes: &[f64; LANES],
        held: &[u32; LANES],
        queueing: f64,
    ) -> bool {
        if elapsed <= 0.0 {
            return false;
        }
        for ((busy, &seconds), &held) in self.busy.iter_mut().zip(lanes).zip(held) {
            let silent = held == 0 && seconds <= 0.0;
            let keep = if silent { KEEP_SILENT } else { KEEP };
            *busy = (*busy * keep).max(seconds / elapsed);
            if *busy < BUSY_MIN {
                *busy = 0.0;
            }
        }
        self.watch_default(routes);
        for (route, &(calls, seconds)) in self.routes.iter_mut().zip(routes) {
            route.calls = route.calls * KEEP + calls;
            route.seconds = route.seconds * KEEP + seconds;
        }
        self.classify(queueing)
    }

    /// Follows the latency of the routes that are in the default lane.
    fn watch_default(&mut self, routes: &[(f64, f64)]) {
        let fast = self
            .routes
            .iter()
            .zip(routes)
            .filter(|(route, _)| !route.slow);
        let (calls, seconds) = fast.fold((0.0, 0.0), |sum, (_, r)| (sum.0 + r.0, sum.1 + r.1));
        self.latency = (calls >= SLOW_SAMPLES).then(|| seconds / calls);
        if let Some(latency) = self.latency {
            self.best = (self.best * BEST_FADES).min(latency);
        }
    }

    /// Trims the caps: `held_up` where a capped lane has waiters.
    pub(super) fn tune(&mut self, held_up: bool) {
        let Some(latency) = self.latency else { return };
        if latency > self.best * CROWDED {
            self.trim = (self.trim * 0.7 - 1.0).max(-TRIM_MAX);
        } else if held_up && latency < self.best * CALM {
            self.trim = (self.trim + 1.0).min(TRIM_MAX);
        }
    }

    fn classify(&mut self, queueing: f64) -> bool {
        let total: f64 = self.routes.iter().map(|r| r.calls).sum();
        let latency = |r: &Route| r.seconds / r.calls.max(f64::MIN_POSITIVE);
        let fastest = self
            .routes
            .iter()
            .take(usize::from(Key::OVERFLOW.0))
            .filter(|r| r.calls >= SLOW_SAMPLES && r.calls >= total * YARDSTICK_SHARE)
            .map(latency)
            .fold(f64::INFINITY, f64::min);
        if !fastest.is_finite() {
            return false;
        }
        let service = |latency: f64| (latency - queueing).max(latency * SERVICE_MIN);
        let yardstick = service(fastest);
        let mut changed = false;
        for route in self.routes.iter_mut() {
            let latency = latency(route);
            let slow = if route.slow {
                // A route that fell silent keeps its class: it will be as slow when it returns.
                route.calls < 1.0 || service(latency) > yardstick * SLOW_LEAVE
            } else {
                route.calls >= SLOW_SAMPLES
                    && latency >= fastest * SLOW_LATENCY
                    && service(latency) >= yardstick * SLOW_ENTER
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
            let room = |base: u32| f64::from(base) - (reserved - reserve[lane]);
            let left = match lane {
                _ if others == 0 => f64::INFINITY,
                0 => room(limit).max(fair),
                // What others need is theirs, however well the trim went.
                _ => (room(knee) + self.trim).clamp(fair / 2.0, room(limit).max(fair)),
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
        let held = std::array::from_fn(|lane| (seconds[lane] > 0.0).into());
        lanes.review(0.25, &keys, &seconds, &held, 0.0)
    }

    /// At a cold start the first calls go by the shared key, and those after them, of the same
    /// route, meet the queue that the load has made at the origin meanwhile.
    #[test]
    fn calls_before_a_route_was_known_do_not_make_it_slow() {
        let mut lanes = Lanes::new(Default::default());
        let overflow = usize::from(Key::OVERFLOW.0);
        review(&mut lanes, &[(overflow, 60.0, 0.02)], &[(0, 5.0)]);
        review(&mut lanes, &[(0, 100.0, 0.15)], &[(0, 60.0)]);
        assert!(!lanes.is_slow(0));
        let mut known = Lanes::new(Default::default());
        review(&mut known, &[(1, 60.0, 0.02)], &[(0, 5.0)]);
        review(&mut known, &[(0, 100.0, 0.15)], &[(0, 60.0)]);
        assert!(known.is_slow(0), "beside another route it would be");
    }

    #[test]
    fn a_silent_lane_lets_go_of_its_reserve_within_seconds() {
        let mut lanes = Lanes::new(Default::default());
        review(&mut lanes, &[], &[(0, 20.0), (1, 20.0)]);
        assert_eq!(lanes.caps(26, 20)[0], 16);
        for _ in 0..10 {
            review(&mut lanes, &[], &[(0, 20.0)]);
        }
        assert_eq!(lanes.caps(26, 20)[0], u32::MAX);
    }

    #[test]
    fn a_lane_whose_calls_take_long_is_not_silent() {
        let mut lanes = Lanes::new(Default::default());
        review(&mut lanes, &[], &[(0, 20.0), (1, 20.0)]);
        let (mut held, mut seconds) = ([0; LANES], [0.0; LANES]);
        (held[0], held[1], seconds[0]) = (10, 10, 5.0);
        for _ in 0..10 {
            lanes.review(0.25, &[(0.0, 0.0); KEYS], &seconds, &held, 0.0);
        }
        assert_eq!(lanes.caps(26, 20)[0], 16);
    }

    #[test]
    fn a_lane_alone_has_no_cap() {
        let mut lanes = Lanes::new(Default::default());
        review(&mut lanes, &[(0, 100.0, 0.02)], &[(0, 20.0)]);
        let caps = lanes.caps(26, 20);
        assert_eq!(caps[0], u32::MAX);
        assert_eq!(caps[1], 10, "one that comes anew may not take all at once");
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
    fn queueing_inside_the_origin_hides_no_slow_route() {
        let mut keys = vec![(0.0, 0.0); KEYS];
        (keys[1], keys[2]) = ((50.0, 50.0 * 0.155), (20.0, 20.0 * 0.35));
        let mut lanes = Lanes::new(Default::default());
        lanes.review(0.25, &keys, &[0.0; LANES], &[0; LANES], 0.0);
        assert!(!lanes.is_slow(2));
        lanes.review(0.25, &keys, &[0.0; LANES], &[0; LANES], 0.12);
        assert!(lanes.is_slow(2));
    }

    #[test]
    fn caps_follow_the_default_lanes_latency() {
        let mut lanes = Lanes::new(Default::default());
        let busy = [(0, 1.0), (1, 14.0)];
        review(&mut lanes, &[(1, 50.0, 0.005), (2, 20.0, 0.2)], &busy);
        let cap = |lanes: &Lanes| lanes.caps(40, 20)[1];
        let before = cap(&lanes);
        for _ in 0..4 {
            review(&mut lanes, &[(1, 50.0, 0.005), (2, 20.0, 0.2)], &busy);
            lanes.tune(true);
        }
        assert_eq!(cap(&lanes), before + 4, "undisturbed: a place a review");
        review(&mut lanes, &[(1, 50.0, 0.009), (2, 20.0, 0.2)], &busy);
        lanes.tune(true);
        assert!(cap(&lanes) < before + 4, "held up: some are given back");
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
