//! Client-side throttling: turns away the share of calls that would fail anyway.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_sync::CachePadded;

use super::log::Log;
use super::mix::Mix;
use super::pacer::Pacer;
use super::tally::{Counts, Edge, History, Slide, Tally};
use super::{Breaker, Cause, Pass, PassKind, State, Transition, mix, nanos, rejection, sound};
use crate::{Criticality, Outcome, Rejection, Scope, Tick};

/// Buckets of a window; the share is reckoned anew at the end of each.
const BUCKETS: u64 = 20;
/// So many failures, the newest there are, without a success among them, are an outage whatever
/// was before: by chance one in a million at a failure ratio of a half.
const RUN: u64 = 20;
/// How long a rejecting throttle believes its last result while no other comes.
const SILENCE: Duration = Duration::from_secs(10);

/// Settings of [`Throttle`]. A value out of range counts as the nearest one in range, and one that
/// is no number as the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThrottleSettings {
    /// `K`: how many calls may be sent for each that is answered, 1 to 1,000. Nothing is turned
    /// away until less than `1/K` of the calls succeed. Default 2, as in the SRE book; kratos has
    /// 1.67. A smaller one spares a failing origin more and rejects more that would have succeeded.
    pub multiplier: f64,
    /// The window, 20 ms to an hour. Default 1 s. kratos has 3 s, Envoy 30 s; but what failed in an
    /// outage stays in the window for as long after it.
    pub window: Duration,
    /// Calls per second under which nothing is turned away, rejected ones included. Default 5: of
    /// so few, no ratio says much, and an origin that is down can bear them.
    pub floor: f64,
    /// The largest share that is turned away, 0 to 0.999. Default 0.99. Envoy has 0.8. What is
    /// left is what recovery is seen by, in proportion to the load.
    pub max_rejection: f64,
    /// While calls are turned away, at least one in this time goes to the origin, at least 1 ms.
    /// Default 500 ms. What is left of `max_rejection` does the same at more than 200 calls/s.
    pub probe_every: Duration,
    /// A call that was given up after this time is a failure, not nothing. Default 5 s;
    /// [`Duration::MAX`] for never.
    pub patience: Duration,
    /// What a rejection speaks for. Default [`Scope::Route`].
    pub scope: Scope,
    /// Copies of what every call writes: the threads that call. Default 1.
    pub shards: usize,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self {
            multiplier: 2.0,
            window: Duration::from_secs(1),
            floor: 5.0,
            max_rejection: 0.99,
            probe_every: Duration::from_millis(500),
            patience: Duration::from_secs(5),
            scope: Scope::Route,
            shards: 1,
        }
    }
}

/// Turns away a share `p` of the calls, from what became of those that were sent in the last second.
///
/// Source: client-side throttling of Google's SRE book (ch. 21),
/// `p = max(0, (requests − K·accepts)/(requests + 1))`. Two readings of `requests` are about, and
/// either hurts: with the calls that were turned away among them, the throttle holds itself shut
/// (after an outage of 10 s, 10 to 38 s pass); without them, the `+ 1` weighs more the fewer are
/// sent, so that a dead origin gets about `√(rate · window)` calls in each window: of 1 s, 3 % of 1,000/s
/// and 27 % of 10/s. Here the *ratio* is that of the calls that were sent, and the *weight* that of all that
/// came:
///
/// ```text
/// p = max(0, 1 − K·accepts/sent) · arrivals/(arrivals + 1),    at most max_rejection
/// ```
///
/// Then nothing but the origin's answers moves `p`. Since those that are let through grow with the
/// answers, recovery is exponential: with 12 failures in the window and 1,000 calls/s, the second
/// success lets more than a quarter through, and a few buckets later everything goes.
///
/// Two things besides. Twenty failures that are the newest results, none of them answered, are an
/// outage at once, without waiting for the successes before to leave the window. And a window in
/// which calls came but no result did leaves `p` as it is, for up to 10 s.
///
/// What a call into an outage comes to when the outage is over says nothing of the origin any more:
/// failures of calls that began before the one whose success ended it are not counted.
///
/// An origin that can serve `C` and refuses the rest is sent `√(K·C·rate)` of a `rate` above
/// `K·C`: more than the `K·C` of the first reading. That is what its own limit is for.
///
/// A refusal for overload is a failure here: it is what the throttle was invented for. So the share
/// is taken from the lowest [`Criticality`] up, by what came of each in the last window: an origin
/// that refuses half of the calls refuses those that matter least, and what it would have served
/// must not fail here. In all the share is the same, and so is what is said of recovery.
///
/// ```
/// use seawall_policy::breaker::{Breaker, State, Throttle, ThrottleSettings};
/// use seawall_policy::{Outcome, Tick};
/// use std::time::Duration;
///
/// let throttle = Throttle::new(ThrottleSettings::default(), Tick::ZERO);
/// for ms in 0..200 {
///     let now = Tick::from_millis(ms);
///     if let Ok(pass) = throttle.ask(now, u64::MAX / 2) {
///         throttle.record(pass, Outcome::Failure, Duration::ZERO, now);
///     }
/// }
/// let now = Tick::from_millis(200);
/// assert_eq!(throttle.state(now), State::Open);
/// assert!(throttle.ask(now, u64::MAX / 2).is_err());
/// ```
#[derive(Debug)]
pub struct Throttle {
    hot: CachePadded<Hot>,
    pacer: CachePadded<Pacer>,
    /// What came while calls are turned away.
    mix: CachePadded<Mix>,
    tally: Tally,
    core: Mutex<Core>,
    rule: Rule,
    patience: Duration,
    scope: Scope,
}

/// Read by every call, written once a bucket.
#[derive(Debug)]
struct Hot {
    /// The share of all calls that is turned away, of 2^64. Zero for none.
    rejecting: AtomicU64,
    /// By criticality: calls whose random number is below are turned away.
    reject_below: [AtomicU64; 4],
    edge: Edge,
    /// Changes of state so far, and the state.
    changes: AtomicU64,
    /// When the call began whose success ended the last outage.
    revived: AtomicU64,
}

#[derive(Debug)]
struct Core {
    history: History,
    log: Log,
    /// Calls by criticality, those of a window ago counted by a third.
    came: [f64; 4],
    /// When the last result came.
    heard: u64,
}

#[derive(Debug)]
struct Rule {
    multiplier: f64,
    floor_calls: f64,
    max_rejection: f64,
}

enum Verdict {
    /// Turns this share away. Whether any call succeeded of late.
    Reject(f64, bool),
    Pass(Cause),
    /// No result to judge by.
    Hold,
}

impl Rule {
    fn judge(&self, history: &History) -> Verdict {
        let (mut sum, mut dead) = (Counts::default(), false);
        for bucket in history.newest_first() {
            sum = sum.plus(*bucket);
            dead |= sum.success == 0 && sum.failure >= RUN;
        }
        let arrivals = sum.calls().saturating_add(sum.rejected) as f64;
        if arrivals < self.floor_calls || arrivals == 0.0 {
            return Verdict::Pass(Cause::NoEvidence);
        }
        if sum.calls() == 0 {
            return Verdict::Hold;
        }
        let accepts = if dead { 0 } else { sum.success };
        let excess = 1.0 - self.multiplier * accepts as f64 / sum.calls() as f64;
        if excess <= 0.0 {
            return Verdict::Pass(Cause::Recovered);
        }
        let share = (excess * arrivals / (arrivals + 1.0)).min(self.max_rejection);
        Verdict::Reject(share, accepts > 0)
    }
}

impl Throttle {
    /// A throttle that turns nothing away.
    #[must_use]
    pub fn new(settings: ThrottleSettings, now: Tick) -> Self {
        let default = ThrottleSettings::default();
        let window = settings
            .window
            .clamp(Duration::from_millis(20), Duration::from_secs(3_600));
        let width = nanos(window) / BUCKETS;
        let keep = BUCKETS + 1; // the present one is empty whenever the share is reckoned
        let history = History::new(Slide::Time { width, keep }, now.0);
        let probe_every = nanos(settings.probe_every.max(Duration::from_millis(1)));
        let floor = sound(settings.floor, 0.0, 1e12, default.floor);
        Self {
            hot: CachePadded::new(Hot {
                rejecting: AtomicU64::new(0),
                reject_below: Default::default(),
                edge: Edge::new(&history),
                changes: AtomicU64::new(0),
                revived: AtomicU64::new(0),
            }),
            pacer: CachePadded::new(Pacer::new(0, probe_every)),
            mix: CachePadded::default(),
            tally: Tally::new(settings.shards),
            core: Mutex::new(Core {
                history,
                log: Log::new(),
                came: [0.0; 4],
                heard: now.0,
            }),
            rule: Rule {
                multiplier: sound(settings.multiplier, 1.0, 1e3, default.multiplier),
                floor_calls: floor * window.as_secs_f64(),
                max_rejection: sound(settings.max_rejection, 0.0, 0.999, default.max_rejection),
            },
            patience: settings.patience,
            scope: settings.scope,
        }
    }

    /// The share of calls that is turned away at present, 0 to `max_rejection`. One relaxed load.
    #[must_use]
    pub fn rejecting(&self) -> f64 {
        self.hot.rejecting.load(Relaxed) as f64 / 2f64.powi(64)
    }

    #[inline]
    fn turn_if_due(&self, now: Tick) {
        if self.hot.edge.is_past(now.0) {
            self.turn(now.0);
        }
    }

    /// Begins a new bucket, and reckons the share.
    #[cold]
    fn turn(&self, now: u64) {
        let Some(mut core) = self.core.try_lock() else {
            return; // another thread is at it
        };
        let Core { history, heard, .. } = &mut *core;
        let before = history.began();
        history.slide(self.tally.total(), now);
        if history.began() == before {
            return;
        }
        self.hot.edge.set(history);
        if history.newest_first().next().is_some_and(|b| b.calls() > 0) {
            *heard = now;
        }
        let (share, state, cause) = match self.rule.judge(history) {
            Verdict::Hold if now.saturating_sub(*heard) <= nanos(SILENCE) => return,
            Verdict::Hold => (0.0, State::Closed, Cause::NoEvidence),
            Verdict::Pass(cause) => (0.0, State::Closed, cause),
            Verdict::Reject(share, true) => (share, State::HalfOpen, Cause::FailureRatio),
            Verdict::Reject(share, false) => (share, State::Open, Cause::FailureRatio),
        };
        self.enter(&mut core.log, state, cause, now);
        self.set(share, &mut core.came);
    }

    /// Turns this share away from now on, the lowest first.
    fn set(&self, share: f64, came: &mut [f64; 4]) {
        self.mix.collect(came, 1.0 - 1.0 / BUCKETS as f64);
        if share == 0.0 {
            *came = [0.0; 4];
        }
        let of_2_64 = |share: f64| (share * 2f64.powi(64)) as u64;
        let shares = mix::lowest_first(share, self.rule.max_rejection, came);
        for (below, share) in self.hot.reject_below.iter().zip(shares) {
            below.store(of_2_64(share), Relaxed);
        }
        self.hot.rejecting.store(of_2_64(share), Relaxed);
    }

    fn enter(&self, log: &mut Log, to: State, cause: Cause, now: u64) {
        let from = log.state();
        if from == to {
            return;
        }
        let cause = match (from, to) {
            (State::Open, State::HalfOpen) => Cause::Probing,
            _ => cause,
        };
        if from == State::Closed {
            self.pacer.set(now.saturating_add(self.pacer.every()));
        }
        let number = log.note(to, cause, now);
        self.hot.changes.store((number << 2) | to as u64, Relaxed);
    }

    /// Notes a success in an outage.
    #[cold]
    fn revive(&self, began: Tick) {
        if self.hot.changes.load(Relaxed) & 3 == State::Open as u64 {
            self.hot.revived.fetch_max(began.0, Relaxed);
        }
    }

    /// Whether a failure is of a call that began in an outage which has ended since.
    fn is_stale(&self, began: Tick, now: Tick) -> bool {
        let revived = self.hot.revived.load(Relaxed);
        began.0 < revived && revived <= now.0
    }

    #[cold]
    fn refuse(&self, now: Tick) -> Result<Pass, Rejection> {
        if let Some(slot) = self.pacer.take(now.0) {
            self.tally.probe();
            return Ok(Pass {
                generation: 0,
                kind: PassKind::Paced(slot),
            });
        }
        self.tally.rejected();
        Err(rejection(self.scope, self.pacer.left(now.0)))
    }
}

impl Breaker for Throttle {
    #[inline]
    fn ask_as(&self, criticality: Criticality, now: Tick, random: u64) -> Result<Pass, Rejection> {
        self.turn_if_due(now);
        if self.hot.rejecting.load(Relaxed) != 0 {
            self.mix.count(criticality);
            if random < self.hot.reject_below[criticality as usize].load(Relaxed) {
                return self.refuse(now);
            }
        }
        Ok(Pass {
            generation: 0,
            kind: PassKind::Call,
        })
    }

    #[inline]
    fn record(&self, pass: Pass, outcome: Outcome, latency: Duration, now: Tick) {
        self.turn_if_due(now); // before it is counted: it belongs to the next bucket
        match outcome {
            Outcome::Success => {
                if self.hot.rejecting.load(Relaxed) != 0 {
                    self.revive(now - latency);
                }
                self.tally.success();
            }
            Outcome::Ignored if latency < self.patience => {
                if let PassKind::Paced(slot) = pass.kind {
                    self.pacer.give_back(slot, now.0);
                }
            }
            _ if self.is_stale(now - latency, now) => {}
            _ => self.tally.failure(),
        }
    }

    fn state(&self, _now: Tick) -> State {
        State::from_u8((self.hot.changes.load(Relaxed) & 3) as u8)
    }

    fn counts(&self) -> Counts {
        self.tally.total()
    }

    fn transitions(&self, seen: u64, each: &mut dyn FnMut(Transition)) -> u64 {
        let number = self.hot.changes.load(Relaxed) >> 2;
        if number == seen {
            return seen;
        }
        self.core.lock().log.since(seen, each)
    }
}
