//! A small pool that takes a failing main pool's calls until the main one answers again.
//!
//! Facebook's gutter (NSDI 2013): about a hundredth of the machines, idle until servers fail, and
//! client-visible failures fell by 99 %. What it must not do is to turn one outage into two, so it
//! has a hard limit of its own, its calls are never retried, and what it cannot bear is rejected
//! at once ([`Reason::Gutter`]).
//!
//! *Entered* when nearly all of the main pool's calls fail: below that, a main pool that serves a
//! half serves more than a gutter would. `Overloaded` is an answer, not a failure: a main pool at
//! its limit is to shed, and a gutter in its place would be a collapse. The driver may also say
//! that the main pool's breaker has opened ([`Gutter::enter`]).
//!
//! *Left* by itself. One probe at a time goes to the main pool, the next at once where it was
//! answered and after half a second where it was not. Three in a row, and the main pool gets a
//! sixteenth of the calls, then an eighth and so on, each step after ten results of calls begun in
//! it. At once would stampede a pool that starts cold; steps by the clock would keep calls out of
//! a pool that is well. Steps by results take four latencies where traffic is dense, and where it
//! is thin the gutter can bear what is left to it.
//!
//! *Not to and fro*: what enters it again soon after a return has to stay longer each time, a
//! second, then two, up to a minute, whatever the probes say.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_sync::{CachePadded, Shard, Sharded};

use crate::stats::{Pair, PairWindow};
use crate::{Advice, Outcome, Reason, Rejection, Scope, Tick};

const SLICES: usize = 10;
/// Probes in a row that must be answered before the main pool gets a share.
const PROBES: u32 = 3;
/// Results of a step that decide on the next.
const STEP: u32 = 10;
/// Halvings of the share in the first step: a sixteenth.
const HALVINGS: u8 = 4;
const MAIN: u64 = 0;
const OUT: u64 = HALVINGS as u64 + 1;
const HOLD: Duration = Duration::from_secs(1);
const HOLD_MAX: Duration = Duration::from_secs(60);

/// Settings of a [`Gutter`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GutterSettings {
    /// Calls in flight that the gutter bears. Default 16.
    pub limit: u32,
    /// The share of failures, 0.1 to 1, at which the main pool is given up. Default 0.8, as
    /// linkerd's breaker has it.
    pub failures: f64,
    /// Calls in the window that it takes to judge, at least 1. Default 20.
    pub calls: u32,
    /// The window; 10 ns to an hour. Default 2 s.
    pub window: Duration,
    /// From a failed probe to the next, 1 ms to 500 ms. Default 500 ms.
    pub probe: Duration,
    /// Threads that will share it; 1 in a simulation. Default 1.
    pub shards: usize,
}

impl Default for GutterSettings {
    fn default() -> Self {
        Self {
            limit: 16,
            failures: 0.8,
            calls: 20,
            window: Duration::from_secs(2),
            probe: Duration::from_millis(500),
            shards: 1,
        }
    }
}

/// Which pool a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// The main pool.
    Main,
    /// The gutter: one attempt, and no retry whatever comes of it.
    Gutter,
}

/// Where a [`Gutter`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The main pool takes every call.
    Main,
    /// The gutter takes every call but for probes.
    Gutter,
    /// The main pool takes one call in so many.
    Returning(u32),
}

/// A call's way, until it is recorded.
///
/// Dropping it leaks a place in the gutter: a guard in the driver records
/// [`Outcome::Ignored`] for a call that is cancelled.
#[must_use = "a pass is recorded when its call ends, whatever the end"]
#[derive(Debug)]
pub struct Pass {
    way: Way,
    /// The state in force when it was given out.
    state: u64,
}

impl Pass {
    /// Which pool the call goes to.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }
}

/// Sends calls to the main pool while it answers, and to a small one while it does not.
///
/// While all is well, a pass costs one load and its record one atomic addition on the thread's
/// own cache line.
///
/// ```
/// use seawall_policy::fallback::{Gutter, GutterSettings, Way};
/// use seawall_policy::{Outcome, Reason, Tick};
///
/// let gutter = Gutter::new(&GutterSettings { limit: 1, ..Default::default() });
/// let now = Tick::from_millis(1);
/// for _ in 0..20 {
///     let pass = gutter.pass(now, 0).unwrap();
///     gutter.record(pass, Outcome::Failure, now);
/// }
/// let probe = gutter.pass(now, 0).unwrap();
/// assert_eq!(probe.way(), Way::Main);
/// let first = gutter.pass(now, 0).unwrap();
/// assert_eq!(first.way(), Way::Gutter);
/// assert_eq!(gutter.pass(now, 0).unwrap_err().reason, Reason::Gutter);
/// gutter.record(first, Outcome::Success, now);
/// gutter.record(probe, Outcome::Ignored, now);
/// ```
#[derive(Debug)]
pub struct Gutter {
    settings: GutterSettings,
    /// The stage in the low byte, above it a number that counts changes: a result that belongs to
    /// an earlier state decides nothing.
    state: CachePadded<AtomicU64>,
    /// Answers and failures of the main pool while it takes every call.
    results: Sharded<PairWindow>,
    in_flight: CachePadded<AtomicU32>,
    next_probe: AtomicU64,
    control: Mutex<Control>,
}

/// What is looked at only while something is wrong.
#[derive(Debug)]
struct Control {
    answered: u32,
    failed: u32,
    /// No return before this.
    hold_until: Tick,
    /// How long the next stay is, at least.
    hold: Duration,
    returned: Option<Tick>,
}

impl Gutter {
    /// Begins with the main pool.
    #[must_use]
    pub fn new(settings: &GutterSettings) -> Self {
        let hour = Duration::from_secs(3_600);
        let failures = if settings.failures.is_nan() {
            GutterSettings::default().failures
        } else {
            settings.failures.clamp(0.1, 1.0)
        };
        let window = settings.window.clamp(Duration::from_nanos(10), hour);
        let (soon, late) = (Duration::from_millis(1), Duration::from_millis(500));
        Self {
            settings: GutterSettings {
                failures,
                calls: settings.calls.max(1),
                window,
                probe: settings.probe.clamp(soon, late),
                ..*settings
            },
            state: CachePadded::new(AtomicU64::new(MAIN)),
            results: Sharded::new(settings.shards, || PairWindow::new(window, SLICES)),
            in_flight: CachePadded::new(AtomicU32::new(0)),
            next_probe: AtomicU64::new(0),
            control: Mutex::new(Control {
                answered: 0,
                failed: 0,
                hold_until: Tick::ZERO,
                hold: Duration::ZERO,
                returned: None,
            }),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match stage(self.state.load(Relaxed)) {
            MAIN => Stage::Main,
            OUT => Stage::Gutter,
            halvings => Stage::Returning(1 << halvings),
        }
    }

    /// Calls in flight in the gutter.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Which way a call goes; `random` is any 64 bits.
    ///
    /// # Errors
    ///
    /// [`Reason::Gutter`] where the main pool fails and the gutter is at its limit.
    #[inline]
    pub fn pass(&self, now: Tick, random: u64) -> Result<Pass, Rejection> {
        let state = self.state.load(Relaxed);
        let main = match stage(state) {
            MAIN => true,
            OUT => self.may_probe(now),
            // The highest bits all zero: one call in 2 to that power.
            halvings => random.leading_zeros() as u64 >= halvings,
        };
        if main {
            let way = Way::Main;
            return Ok(Pass { way, state });
        }
        self.enter_gutter(state)
    }

    /// Takes in how a call ended. A call that went to the gutter gives its place back.
    #[inline]
    pub fn record(&self, pass: Pass, outcome: Outcome, now: Tick) {
        if pass.way == Way::Gutter {
            self.in_flight.fetch_sub(1, Relaxed);
            return;
        }
        if pass.state != self.state.load(Relaxed) {
            return;
        }
        match (stage(pass.state), outcome) {
            (MAIN, Outcome::Success | Outcome::Overloaded) => {
                self.results.get(Shard::current()).add_first(now);
            }
            (MAIN, Outcome::Failure) => self.failed(pass.state, now),
            (MAIN, Outcome::Ignored) => {}
            _ => self.record_while_out(pass.state, outcome, now),
        }
    }

    /// The driver knows that the main pool is out: its breaker has opened, or it has no hosts.
    pub fn enter(&self, now: Tick) {
        let mut control = self.control.lock();
        let state = self.state.load(Relaxed);
        if stage(state) != OUT {
            self.go_out(&mut control, state, now);
        }
    }

    fn enter_gutter(&self, state: u64) -> Result<Pass, Rejection> {
        let take = |taken: u32| (taken < self.settings.limit).then(|| taken + 1);
        match self.in_flight.fetch_update(Relaxed, Relaxed, take) {
            Ok(_) => Ok(Pass {
                way: Way::Gutter,
                state,
            }),
            Err(_) => Err(Rejection {
                reason: Reason::Gutter,
                scope: Scope::Host,
                advice: Advice::After(self.settings.probe),
            }),
        }
    }

    /// One at a time; one that lasts longer than the pause between two is not waited for, so that
    /// a main pool that swallows calls does not keep the gutter from being left.
    fn may_probe(&self, now: Tick) -> bool {
        let due = self.next_probe.load(Relaxed);
        let next = (now + self.settings.probe).0;
        let claim = || {
            self.next_probe
                .compare_exchange(due, next, Relaxed, Relaxed)
        };
        now.0 >= due && claim().is_ok()
    }

    #[cold]
    fn failed(&self, state: u64, now: Tick) {
        let own = self.results.get(Shard::current());
        // Refused only where the count is full, and then it is bad enough.
        let _ = own.try_add_second(now, |_, _| true);
        let totals = self.results.iter().map(|shard| shard.total(now));
        let Pair { first, second } = totals.fold(Pair::default(), Pair::plus);
        let all = first + second;
        let bad = second as f64 >= self.settings.failures * all as f64;
        if all >= u64::from(self.settings.calls) && bad {
            let mut control = self.control.lock();
            if self.state.load(Relaxed) == state {
                self.go_out(&mut control, state, now);
            }
        }
    }

    #[cold]
    fn record_while_out(&self, state: u64, outcome: Outcome, now: Tick) {
        let mut control = self.control.lock();
        if self.state.load(Relaxed) != state {
            return;
        }
        match outcome {
            Outcome::Success | Outcome::Overloaded => control.answered += 1,
            Outcome::Failure => control.failed += 1,
            Outcome::Ignored => {}
        }
        if stage(state) == OUT {
            self.after_probe(&mut control, state, outcome, now);
        } else if control.answered + control.failed >= STEP {
            self.after_step(&mut control, state, now);
        }
    }

    fn after_probe(&self, control: &mut Control, state: u64, outcome: Outcome, now: Tick) {
        match outcome {
            Outcome::Failure => control.answered = 0,
            // Cancelled, or turned away on this side: says nothing, and the next takes its turn.
            Outcome::Ignored => {}
            _ if control.answered < PROBES => {
                self.next_probe.fetch_min(now.0, Relaxed);
            }
            _ if now >= control.hold_until => self.change(control, state, u64::from(HALVINGS)),
            _ => {}
        }
    }

    fn after_step(&self, control: &mut Control, state: u64, now: Tick) {
        let failed = f64::from(control.failed) / f64::from(control.answered + control.failed);
        if failed >= self.settings.failures {
            return self.go_out(control, state, now);
        }
        // In between it stays where it is, and looks at the next ten.
        if failed >= self.settings.failures / 2.0 {
            (control.answered, control.failed) = (0, 0);
            return;
        }
        let next = stage(state) - 1;
        if next == MAIN {
            self.results.iter().for_each(PairWindow::clear);
            control.returned = Some(now);
        }
        self.change(control, state, next);
    }

    /// To the gutter. Who was there not long ago stays longer this time.
    fn go_out(&self, control: &mut Control, state: u64, now: Tick) {
        let well = match control.returned {
            Some(returned) if stage(state) == MAIN => now.since(returned) >= HOLD_MAX,
            Some(_) => false,
            None => stage(state) == MAIN,
        };
        control.hold = if well {
            Duration::ZERO
        } else {
            (control.hold * 2).clamp(HOLD, HOLD_MAX)
        };
        control.hold_until = now + control.hold;
        self.next_probe.store(now.0, Relaxed);
        self.change(control, state, OUT);
    }

    fn change(&self, control: &mut Control, state: u64, stage: u64) {
        (control.answered, control.failed) = (0, 0);
        let number = (state >> 8).wrapping_add(1);
        self.state.store((number << 8) | stage, Relaxed);
    }
}

fn stage(state: u64) -> u64 {
    state & 0xff
}
