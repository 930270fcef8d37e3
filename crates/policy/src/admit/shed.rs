//! One lane's control loop: is there a standing queue, and how much may be let in.
//!
//! Once an interval (CoDel's 100 ms, longer where calls finish rarely) it looks at the fewest
//! waiters there were and at the rate at which the lane's calls finish: the time in which those
//! waiters would be served is the standing queue. Above the target, a tenth of the deadline
//! assumed, the lane sheds: a level is set so that as much is let in as finishes, a little more
//! while the queue empties and less while it stands. After five calm intervals it lets go.

use std::time::Duration;

use super::level::{self, Level};
use super::tally::CELLS;
use crate::Tick;

/// The control interval, CoDel's: long enough for bursts to pass, short enough to react.
const INTERVAL: Duration = Duration::from_millis(100);
/// Completions that an interval should see, so that its rate means something.
const ENOUGH: u64 = 20;
/// An interval's end in any case, in seconds (or 2.5 latencies, where that is longer).
const INTERVAL_MAX: f64 = 1.0;
/// Intervals over which the service rate's maximum is taken.
const RATES: usize = 5;
/// How soon an interval that has seen too little is looked at again.
const AGAIN: Duration = Duration::from_millis(10);
/// Calm intervals before the level is let go.
const CALM: u32 = 5;

#[derive(Debug)]
pub(super) struct Shed {
    start: Tick,
    due: Tick,
    completed: u64,
    least_queued: usize,
    rates: [f64; RATES],
    gain: f64,
    calm: u32,
    shedding: bool,
    watching: bool,
}

/// What a control step looks at.
pub(super) struct Reading<'a> {
    pub(super) now: Tick,
    /// Waiters in the lane.
    pub(super) queued: usize,
    /// Latency without queueing, in seconds.
    pub(super) base: f64,
    /// A standing queue longer than this, in seconds, is too long.
    pub(super) target: f64,
    /// More than half the places lie idle.
    pub(super) idle: bool,
    /// Places there are.
    pub(super) limit: u32,
    /// Arrivals by cell, and those under way, since the last step.
    pub(super) cells: &'a [u32; CELLS],
    pub(super) under_way: u32,
}

/// What a control step decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) level: Level,
    /// Arrivals are to be counted.
    pub(super) hot: bool,
    pub(super) under_way_full: bool,
}

impl Shed {
    pub(super) fn new() -> Self {
        Self {
            start: Tick::ZERO,
            due: Tick::ZERO,
            completed: 0,
            least_queued: 0,
            rates: [0.0; RATES],
            gain: 1.0,
            calm: 0,
            shedding: false,
            watching: false,
        }
    }

    pub(super) fn shedding(&self) -> bool {
        self.shedding
    }

    /// A queue begins: nothing is known of it, so it is measured from here.
    pub(super) fn watch(&mut self, now: Tick) {
        self.begin(now);
        self.watching = true;
    }

    fn begin(&mut self, now: Tick) {
        self.start = now;
        self.due = now + INTERVAL;
        self.completed = 0;
        self.least_queued = usize::MAX;
    }

    pub(super) fn note(&mut self, queued: usize) {
        self.least_queued = self.least_queued.min(queued);
    }

    pub(super) fn completed(&mut self, calls: u32) {
        self.completed += u64::from(calls);
    }

    /// Calls that finish in a second.
    pub(super) fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// Whether a step may be due: cheap, to be asked before readings are gathered.
    pub(super) fn is_due(&self, now: Tick) -> bool {
        self.watching && now >= self.due
    }

    /// Takes a step if the interval is over.
    pub(super) fn step(&mut self, reading: &Reading<'_>) -> Option<Control> {
        let seconds = reading.now.since(self.start).as_secs_f64();
        let least = self.least_queued.min(reading.queued);
        if self.completed < ENOUGH && least > 0 && seconds < INTERVAL_MAX.max(2.5 * reading.base) {
            self.due = reading.now + AGAIN;
            return None;
        }
        self.learn_rate(self.completed as f64 / seconds, least > 0);
        // An origin that finishes nothing at all would take for ever.
        let drain = if least == 0 {
            0.0
        } else {
            least as f64 / self.rate()
        };
        self.begin(reading.now);
        self.shedding |= drain > reading.target;
        if !self.shedding {
            self.watching = reading.queued > 0;
            return Some(self.open());
        }
        self.adjust_gain(drain, reading);
        let control = self.choose(reading, seconds);
        let calm = control.level == Level::OPEN && drain < reading.target;
        self.calm = if calm { self.calm + 1 } else { 0 };
        if self.calm >= CALM {
            *self = Self::new();
            self.begin(reading.now);
            self.watching = reading.queued > 0;
            return Some(self.open());
        }
        Some(control)
    }

    fn open(&self) -> Control {
        Control {
            level: Level::OPEN,
            hot: self.watching,
            under_way_full: false,
        }
    }

    /// Takes in the rate at which calls finish. What an origin does while it has nothing to do
    /// says little of what it could.
    fn learn_rate(&mut self, rate: f64, saturated: bool) {
        if saturated || rate > self.rate() {
            self.rates.rotate_right(1);
            self.rates[0] = rate;
        }
    }

    /// A queue that empties wants more let in, most of all where places lie idle; one that stands
    /// wants less.
    fn adjust_gain(&mut self, drain: f64, reading: &Reading<'_>) {
        let factor = match drain {
            d if d <= 0.0 && reading.idle => 1.25,
            d if d <= 0.0 => 1.04,
            d if d > reading.target => 0.9,
            d if d > reading.target / 4.0 => 0.98,
            _ => 1.0,
        };
        self.gain = (self.gain * factor).clamp(0.7, 2.0);
    }

    fn choose(&self, reading: &Reading<'_>, seconds: f64) -> Control {
        let capacity = self.rate() * seconds;
        let under_way = f64::from(reading.under_way);
        // Never so little that a dead origin's return would go unnoticed.
        let floor = f64::from(reading.limit) / 2.0;
        let budget = (capacity * self.gain).max(floor) - under_way;
        Control {
            level: level::choose(reading.cells, budget, capacity),
            hot: true,
            under_way_full: under_way > capacity * level::UNDER_WAY_SHARE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(now_ms: u64, queued: usize, cells: &[u32; CELLS]) -> Reading<'_> {
        Reading {
            now: Tick::from_millis(now_ms),
            queued,
            base: 0.02,
            target: 0.025,
            idle: false,
            limit: 26,
            cells,
            under_way: 0,
        }
    }

    #[test]
    fn a_standing_queue_sheds_and_calm_lets_go() {
        let mut shed = Shed::new();
        let mut cells = [0; CELLS];
        let crit = CELLS - 3;
        cells[crit] = 1_000;
        shed.watch(Tick::ZERO);
        shed.note(200);
        shed.completed(100);
        let control = shed.step(&reading(100, 200, &cells)).unwrap();
        assert!(shed.shedding() && control.hot);
        let share = control.level.shares()[1];
        assert!(
            (share - 0.09).abs() < 0.01,
            "as much as finishes, less a tenth: {share}"
        );
        cells[crit] = 50;
        for i in 2..=6 {
            assert!(shed.shedding(), "step {i}");
            shed.note(0);
            shed.completed(50);
            shed.step(&reading(100 * i, 0, &cells)).unwrap();
        }
        assert!(!shed.shedding() && !shed.is_due(Tick::MAX));
    }

    #[test]
    fn noise_does_not_shed() {
        let mut shed = Shed::new();
        shed.watch(Tick::ZERO);
        shed.note(0);
        shed.note(40);
        shed.completed(100);
        let control = shed.step(&reading(100, 40, &[0; CELLS])).unwrap();
        assert_eq!(control.level, Level::OPEN);
        assert!(!shed.shedding());
    }

    #[test]
    fn an_origin_that_finishes_nothing_is_still_tried() {
        let mut shed = Shed::new();
        let mut cells = [0; CELLS];
        cells[CELLS - 3] = 1_000;
        shed.watch(Tick::ZERO);
        shed.note(50);
        assert_eq!(
            shed.step(&reading(200, 50, &cells)),
            None,
            "too early to tell"
        );
        let control = shed.step(&reading(1_000, 50, &cells)).unwrap();
        assert!(control.level.shares()[1] > 0.01);
    }
}
