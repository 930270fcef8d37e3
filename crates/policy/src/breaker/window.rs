//! A breaker that is closed, open or half-open, by a window that slides.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use seawall_sync::CachePadded;

use super::log::Log;
use super::pacer::{Kind, Turn, Turnstile, Word};
use super::settings::{Rule, WindowSettings};
use super::tally::{Counts, Edge, History, Tally};
use super::{Breaker, Cause, Pass, PassKind, State, Transition, jittered, nanos, rejection};
use crate::{Criticality, Outcome, Rejection, Tick};

/// The end of a penalty whose jitter nobody has drawn yet.
const UNDRAWN: u64 = u64::MAX;

/// Opens on a share of failures, on consecutive failures or on a share of slow calls, whichever
/// comes first.
///
/// *Closed*, every call passes. A failure, or a slow call, is judged with the window as it then is;
/// a success cannot open anything and costs no more than a count.
///
/// *Open*, calls are turned away for the penalty, but for one probe each `probe_every`, the first
/// after half to all of that time. The penalty is what grows with every failure to recover, up to a
/// minute; the single probes within it see to it that an origin that is well again is not left out
/// for as long. One that succeeds ends the penalty; one that fails adds nothing to it.
///
/// *Half-open*, after the penalty or such a success, exactly `probes` calls pass. If all succeed, it
/// closes, with an empty window; at the first failure it opens again, for twice as long. With one
/// probe, a success within the penalty closes it at once.
///
/// A probe that was cancelled makes room for another. One that has not reported after `probe_every`
/// makes room too, and still counts if it does report while the state lasts: an origin slower
/// than that can recover. What an earlier state let through decides nothing.
///
/// Time slides by tenths and counts by sixteenths to eighths (see [`Span`](super::Span)), so that
/// one call in many moves the window. With threads at work, a call that ends in the very moment of a change
/// may be counted on either side of it.
///
/// ```
/// use seawall_policy::breaker::{Breaker, State, Window, WindowSettings};
/// use seawall_policy::{Outcome, Tick};
/// use std::time::Duration;
///
/// let breaker = Window::new(WindowSettings::default(), Tick::ZERO);
/// for _ in 0..10 {
///     let pass = breaker.ask(Tick::ZERO, 0).unwrap();
///     breaker.record(pass, Outcome::Failure, Duration::ZERO, Tick::ZERO);
/// }
/// assert_eq!(breaker.state(Tick::ZERO), State::Open);
/// assert!(breaker.ask(Tick::ZERO, 0).is_err());
///
/// let later = Tick::from_millis(500);
/// let probe = breaker.ask(later, 0).unwrap();
/// assert!(probe.is_probe() && breaker.ask(later, 0).is_err());
/// breaker.record(probe, Outcome::Success, Duration::ZERO, later);
/// assert_eq!(breaker.state(later), State::Closed);
/// ```
#[derive(Debug)]
pub struct Window {
    hot: CachePadded<Hot>,
    /// Failures since the last success: written by failures, and by the success that ends them.
    streak: CachePadded<AtomicU64>,
    tally: Tally,
    core: Mutex<Core>,
    rule: Rule,
}

/// Read by every call, written when a bucket or a state ends.
#[derive(Debug)]
struct Hot {
    turnstile: Turnstile,
    edge: Edge,
    /// When the penalty ends.
    penalty_end: AtomicU64,
    /// Changes of state so far.
    changes: AtomicU64,
}

#[derive(Debug)]
struct Core {
    history: History,
    log: Log,
    /// Doublings of the next penalty.
    doublings: u32,
    /// When it opened or closed last.
    since: u64,
    penalty: u64,
}

impl Window {
    /// A closed one.
    #[must_use]
    pub fn new(settings: WindowSettings, now: Tick) -> Self {
        let tally = Tally::new(settings.shards);
        let rule = Rule::new(&settings, tally.shards());
        let history = History::new(rule.slide, now.0);
        let every = nanos(settings.probe_every.max(Duration::from_millis(1)));
        Self {
            hot: CachePadded::new(Hot {
                turnstile: Turnstile::new(settings.probes, every),
                edge: Edge::new(&history),
                penalty_end: AtomicU64::new(0),
                changes: AtomicU64::new(0),
            }),
            streak: CachePadded::new(AtomicU64::new(0)),
            tally,
            core: Mutex::new(Core {
                history,
                log: Log::new(),
                doublings: 0,
                since: now.0,
                penalty: 0,
            }),
            rule,
        }
    }

    /// Slides a window of time, if its bucket is over: before the call is counted, which belongs to
    /// the next.
    #[inline]
    fn slide_if_due(&self, now: Tick) {
        if self.hot.edge.is_past(now.0) {
            self.slide(now);
        }
    }

    #[cold]
    fn slide(&self, now: Tick) {
        if let Some(mut core) = self.core.try_lock() {
            self.slide_held(&mut core, now);
        }
    }

    fn slide_held(&self, core: &mut Core, now: Tick) -> Counts {
        let total = self.tally.total();
        core.history.slide(total, now.0);
        self.hot.edge.set(&core.history);
        core.history.window(total)
    }

    /// Judges the window after a failure or a slow call.
    #[cold]
    fn judge(&self, generation: u32, streak: u64, now: Tick) {
        let mut core = self.core.lock();
        let word = self.hot.turnstile.word();
        if word.generation() != generation || word.kind() != Kind::Closed {
            return;
        }
        let window = self.slide_held(&mut core, now);
        let enough = window.calls() >= self.rule.min_calls;
        let over = |part: u64, ratio: Option<f64>| {
            enough && part > 0 && ratio.is_some_and(|r| part as f64 >= r * window.calls() as f64)
        };
        let cause = if streak >= self.rule.consecutive {
            Cause::Consecutive
        } else if over(window.failure, self.rule.failure_ratio) {
            Cause::FailureRatio
        } else if over(window.slow, self.rule.slow_ratio) {
            Cause::SlowRatio
        } else {
            return;
        };
        let closed_for = now.0.saturating_sub(core.since);
        let forgiven = u32::try_from(closed_for / self.rule.forgive).unwrap_or(u32::MAX);
        core.doublings = core.doublings.saturating_sub(forgiven);
        self.open(&mut core, cause, now.0);
    }

    fn open(&self, core: &mut Core, cause: Cause, now: u64) {
        let factor = 1u64.checked_shl(core.doublings).unwrap_or(u64::MAX);
        core.penalty = self
            .rule
            .penalty
            .saturating_mul(factor)
            .min(self.rule.max_penalty);
        core.doublings = core.doublings.saturating_add(1).min(64);
        core.since = now;
        self.hot.penalty_end.store(UNDRAWN, Relaxed);
        self.turn(core, Kind::Open, 0, 0, cause, now);
    }

    /// Closes it, or has it ask for more probes after `good` successes within the penalty.
    fn recover(&self, core: &mut Core, good: u64, now: u64) {
        if good < self.hot.turnstile.probes() {
            self.turn(core, Kind::HalfOpen, 0, good, Cause::Probing, now);
            return;
        }
        core.since = now;
        core.history.clear(self.tally.total(), now);
        self.hot.edge.set(&core.history);
        self.streak.store(0, Relaxed);
        self.turn(core, Kind::Closed, 0, 0, Cause::Recovered, now);
    }

    fn turn(
        &self,
        core: &mut Core,
        kind: Kind,
        out: u64,
        good: u64,
        cause: Cause,
        now: u64,
    ) -> Word {
        let word = self.hot.turnstile.turn(kind, out, good);
        let number = core.log.note(state_of(kind), cause, now);
        self.hot.changes.store(number, Relaxed);
        word
    }

    /// The lock, if the state that `word` belongs to lasts.
    fn lock_in(&self, word: Word) -> Option<MutexGuard<'_, Core>> {
        let core = self.core.lock();
        (self.hot.turnstile.word().generation() == word.generation()).then_some(core)
    }

    /// Draws the penalty's jitter, with the first random number that comes along after opening.
    #[cold]
    fn draw(&self, word: Word, random: u64) {
        let Some(core) = self.lock_in(word) else {
            return;
        };
        if self.hot.penalty_end.load(Relaxed) != UNDRAWN {
            return;
        }
        let end = core.since.saturating_add(jittered(core.penalty, random));
        let pacer = &self.hot.turnstile.pacer;
        let first = core.since.saturating_add(jittered(pacer.every(), random));
        pacer.set(first.min(end));
        self.hot.penalty_end.store(end.min(UNDRAWN - 1), Relaxed);
    }

    /// What becomes of a call while it is not closed; `None` if the state has changed meanwhile.
    fn ask_unless_closed(
        &self,
        word: Word,
        now: Tick,
        random: u64,
    ) -> Option<Result<Pass, Rejection>> {
        let turnstile = &self.hot.turnstile;
        let pass = |generation, kind| Some(Ok(Pass { generation, kind }));
        if word.kind() == Kind::HalfOpen {
            return match turnstile.enter(word, now.0) {
                Turn::Probe(round) => {
                    self.tally.probe();
                    pass(word.generation(), PassKind::Round(round))
                }
                Turn::Full => Some(self.refuse(now)),
                Turn::Moved => None,
            };
        }
        if self.hot.penalty_end.load(Relaxed) == UNDRAWN {
            self.draw(word, random);
        }
        let Some(slot) = turnstile.pacer.take(now.0) else {
            return Some(self.refuse(now));
        };
        let penalty_over = now.0 >= self.hot.penalty_end.load(Relaxed);
        if !penalty_over && turnstile.word().generation() == word.generation() {
            self.tally.probe();
            return pass(word.generation(), PassKind::Paced(slot));
        }
        let Some(mut core) = self.lock_in(word) else {
            turnstile.pacer.give_back(slot, now.0);
            return None;
        };
        let word = self.turn(&mut core, Kind::HalfOpen, 1, 0, Cause::Probing, now.0);
        self.tally.probe();
        pass(word.generation(), PassKind::Round(0))
    }

    fn refuse(&self, now: Tick) -> Result<Pass, Rejection> {
        self.tally.rejected();
        let left = self.hot.turnstile.pacer.left(now.0);
        Err(rejection(self.rule.scope, left))
    }

    /// What an outcome says of the origin: failed or not; `None` for nothing.
    #[inline]
    fn failed(&self, outcome: Outcome, latency: Duration) -> Option<bool> {
        match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure => Some(true),
            Outcome::Overloaded => Some(self.rule.overload_fails),
            Outcome::Ignored => (latency >= self.rule.patience).then_some(true),
        }
    }

    #[cold]
    fn record_probe(&self, pass: &Pass, failed: Option<bool>, now: Tick) {
        let turnstile = &self.hot.turnstile;
        let word = turnstile.word();
        if word.generation() != pass.generation {
            return;
        }
        match (pass.kind, failed) {
            (PassKind::Call, _) => {}
            (PassKind::Paced(slot), None) => turnstile.pacer.give_back(slot, now.0),
            (PassKind::Round(round), None) => turnstile.give_back(pass.generation, round),
            (PassKind::Paced(_), Some(true)) => {}
            (PassKind::Paced(_), Some(false)) => {
                if let Some(mut core) = self.lock_in(word) {
                    self.recover(&mut core, 1, now.0);
                }
            }
            (PassKind::Round(_), Some(true)) => {
                if let Some(mut core) = self.lock_in(word) {
                    self.open(&mut core, Cause::ProbeFailed, now.0);
                }
            }
            (PassKind::Round(round), Some(false)) => {
                if turnstile.succeed(pass.generation, round)
                    && let Some(mut core) = self.lock_in(word)
                {
                    self.recover(&mut core, turnstile.probes(), now.0);
                }
            }
        }
    }

    /// A closed breaker's call that failed, was slow, or was both.
    #[cold]
    fn record_bad(&self, generation: u32, failed: bool, slow: bool, now: Tick) {
        if slow {
            self.tally.slow();
        }
        let streak = if failed {
            self.tally.failure();
            self.streak.fetch_add(1, Relaxed).saturating_add(1)
        } else {
            self.tally.success();
            self.streak.store(0, Relaxed);
            0
        };
        self.judge(generation, streak, now);
    }
}

impl Breaker for Window {
    #[inline]
    fn ask_as(&self, _: Criticality, now: Tick, random: u64) -> Result<Pass, Rejection> {
        loop {
            let word = self.hot.turnstile.word();
            if word.kind() == Kind::Closed {
                return Ok(Pass {
                    generation: word.generation(),
                    kind: PassKind::Call,
                });
            }
            if let Some(answer) = self.ask_unless_closed(word, now, random) {
                return answer;
            }
        }
    }

    #[inline]
    fn record(&self, pass: Pass, outcome: Outcome, latency: Duration, now: Tick) {
        let failed = self.failed(outcome, latency);
        let slow = latency >= self.rule.slow_after;
        if pass.is_probe() {
            return self.record_probe(&pass, failed.map(|f| f || slow), now);
        }
        let word = self.hot.turnstile.word();
        if word.generation() != pass.generation {
            return;
        }
        self.slide_if_due(now);
        match failed {
            Some(false) if !slow => {
                let calls = self.tally.success();
                if self.streak.load(Relaxed) != 0 {
                    self.streak.store(0, Relaxed);
                }
                if calls & self.rule.mask == 0 {
                    self.slide(now); // a window of calls
                }
            }
            Some(failed) => self.record_bad(pass.generation, failed, slow, now),
            None => {}
        }
    }

    fn state(&self, _now: Tick) -> State {
        state_of(self.hot.turnstile.word().kind())
    }

    fn counts(&self) -> Counts {
        self.tally.total()
    }

    fn transitions(&self, seen: u64, each: &mut dyn FnMut(Transition)) -> u64 {
        if self.hot.changes.load(Relaxed) == seen {
            return seen;
        }
        self.core.lock().log.since(seen, each)
    }
}

fn state_of(kind: Kind) -> State {
    match kind {
        Kind::Closed => State::Closed,
        Kind::Open => State::Open,
        Kind::HalfOpen => State::HalfOpen,
    }
}
