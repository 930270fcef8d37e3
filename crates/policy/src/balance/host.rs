//! One host: what every call of it writes, and what is known of it.
//!
//! All that a call reads and writes lies on one cache line; whatever else is touched only when
//! something fails. Only the count in flight is exact. Averages and tallies are read and stored
//! without an exchange: of two calls that end at the same moment one may go uncounted, which costs
//! nothing and saves a locked instruction each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall_sync::CachePadded;

use super::dice::mix;
use super::fleet::Fleet;
use super::flight::{Begun, FULL, Flight};
use super::outlier::{HostState, Record, State};
use super::peak_ewma::{PeakLatency, Stamped, fade};
use super::slow_start;
use crate::{Outcome, Tick};

/// A host as discovery names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostSpec {
    /// What it is known by from one list to the next: a hash of its address. Two of the same key
    /// are one host with two places in the list.
    pub key: u64,
    /// Its share against the others'; 0 takes it out of the choice, unless all have 0.
    pub weight: u32,
    /// Where it is; 0 where nothing is said.
    pub zone: u16,
}

impl HostSpec {
    /// Weight 1, no zone.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self {
            key,
            weight: 1,
            zone: 0,
        }
    }
}

/// What a host says of itself on a response or in answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Calls at the host, from all its clients.
    pub in_flight: u32,
    /// What a call that arrived now would take.
    pub latency: Duration,
}

/// The share of failures that one more moves by: 1 in 5, so that two in a row weigh 0.36.
const FAILING_STEP: f32 = 0.2;
/// Slower than this, in typical latencies, a host is asked so seldom that it has to be looked at.
const FORGOTTEN: f32 = 2.0;
/// From this share of failures on a host is in doubt: one failure, until three answers came.
const DOUBT: f32 = 0.1;
/// What a refusal weighs of a failure. It comes at once, and of those that refuse the most are often
/// the best: they serve as much as they can.
const REFUSAL: f32 = 0.25;
/// Below it a share of failures is none.
const FAILING_LEAST: f32 = 1e-3;

/// The latency that a warming host is taken for is so many typical ones at most.
const COLD_MOST: f32 = 4.0;

#[derive(Debug, Default)]
struct Hot {
    flight: Flight,
    latency: PeakLatency,
    state: State,
    /// The share of calls that failed of late.
    failing: Stamped,
    /// The share of calls that were refused of late.
    refusing: Stamped,
    /// Calls in the low half, failures in the high one, since the last judgement.
    tally: AtomicU64,
}

/// A host's state. Survives updates of the list for as long as it is named in each.
#[derive(Debug)]
pub struct Host {
    key: u64,
    hot: CachePadded<Hot>,
    record: Record,
    /// Its place in the newest list; [`GONE`] where it has none.
    seat: AtomicU32,
    fleet: Arc<Fleet>,
}

const GONE: u32 = u32::MAX;

/// What is known of a host at a moment, for metrics and explanations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostSnapshot {
    /// Its key.
    pub key: u64,
    /// Its latency: risen at once, fallen slowly.
    pub latency: Duration,
    /// Calls of ours under way.
    pub in_flight: u32,
    /// The share of its calls that failed or were refused of late, 0 to 1.
    pub failing: f64,
    /// What it is doing.
    pub state: HostState,
    /// Its share of what it would get, 0 to 1: 0 while ejected.
    pub share: f64,
    /// Ejections in its life.
    pub ejections: u64,
}

impl Host {
    /// `warm`: time to its full share.
    pub(super) fn new(key: u64, fleet: &Arc<Fleet>, warm: Duration, now: Tick) -> Self {
        let state = if warm.is_zero() {
            HostState::Serving
        } else {
            HostState::Warming
        };
        Self {
            key,
            hot: CachePadded::new(Hot {
                state: State::new(state, now),
                ..Hot::default()
            }),
            record: Record::joined(now, warm),
            seat: AtomicU32::new(GONE),
            fleet: Arc::clone(fleet),
        }
    }

    /// What it is known by.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Calls of ours under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.hot.flight.read().count()
    }

    /// What is known of it.
    #[must_use]
    pub fn snapshot(&self, now: Tick) -> HostSnapshot {
        HostSnapshot {
            key: self.key,
            latency: Duration::from_nanos(self.latency(now) as u64),
            in_flight: self.in_flight(),
            failing: f64::from(self.failing(now)),
            state: self.state().0,
            share: self.share(now),
            ejections: self.record.ejections.load(Relaxed),
        }
    }

    /// Its place in the newest list, if it has one.
    pub(super) fn seat(&self) -> Option<usize> {
        let seat = self.seat.load(Relaxed);
        (seat != GONE).then_some(seat as usize)
    }

    pub(super) fn set_seat(&self, seat: Option<usize>) {
        let seat = seat.and_then(|seat| u32::try_from(seat).ok());
        self.seat.store(seat.unwrap_or(GONE), Relaxed);
    }

    pub(super) fn state(&self) -> (HostState, Tick) {
        self.hot.state.read()
    }

    #[inline]
    pub(super) fn is_serving(&self) -> bool {
        self.hot.state.is_serving()
    }

    /// The share that it is to be drawn with: 0 while ejected, 1 while serving.
    pub(super) fn share(&self, now: Tick) -> f64 {
        match self.state() {
            (HostState::Serving, _) => 1.0,
            (HostState::Warming, from) => {
                let floor = self.fleet.settings.slow_start_floor;
                slow_start::share(from, self.record.warm(), floor, now)
            }
            _ => 0.0,
        }
    }

    /// It failed of late, or was taken back just now.
    pub(super) fn is_in_doubt(&self, now: Tick) -> bool {
        let back = !self.is_serving() && !self.record.is_new();
        back || self.shares(now).0 > DOUBT
    }

    pub(super) fn is_full(&self) -> bool {
        self.in_flight() >= FULL
    }

    /// That of its fleet.
    pub(super) fn typical_latency(&self) -> Duration {
        self.fleet.typical_latency()
    }

    #[inline]
    pub(super) fn latency(&self, now: Tick) -> f32 {
        let fleet = &self.fleet;
        self.hot.latency.at(now, fleet.rate, fleet.latency())
    }

    /// The share of calls that failed or were refused of late.
    #[inline]
    pub(super) fn failing(&self, now: Tick) -> f32 {
        let (failed, refused) = self.shares(now);
        failed + refused
    }

    /// The shares of calls that failed, and that were refused, of late.
    #[inline]
    fn shares(&self, now: Tick) -> (f32, f32) {
        let share = |stamped: &Stamped| {
            let last = stamped.read(now, self.fleet.rate);
            if last.value == 0.0 {
                return 0.0;
            }
            last.value * fade(last.age)
        };
        (share(&self.hot.failing), share(&self.hot.refusing))
    }

    /// One call more: each share moves by a step, towards 1 where the call adds to it, else to 0.
    fn move_shares(&self, failed: bool, refused: bool, now: Tick) {
        let (failing, refusing) = self.shares(now);
        let moved = |share: f32, more: bool| {
            let towards = if more { 1.0 } else { 0.0 };
            let share = share + (towards - share) * FAILING_STEP;
            if share < FAILING_LEAST { 0.0 } else { share }
        };
        self.hot.failing.write(moved(failing, failed), now);
        self.hot.refusing.write(moved(refusing, refused), now);
    }

    /// Its load without the weight of failures; `inverse` is 1 / weight.
    ///
    /// (in flight / weight + 1), so that an idle fleet is drawn by weight alone, and a busy one has
    /// calls under way by weight. What is under way for longer than the latency raises it.
    #[inline]
    pub(super) fn work(&self, by_latency: bool, inverse: f32, now: Tick) -> f32 {
        let under_way = self.hot.flight.read();
        let queue = under_way.count() as f32 * inverse + 1.0;
        if !by_latency {
            return queue;
        }
        let latency = self.latency(now).max(under_way.latency(now));
        if self.is_serving() {
            return queue * latency;
        }
        // Cold, it is slow, and only calls will warm it: about one at a time.
        queue * latency.min(COLD_MOST * self.fleet.latency())
    }

    /// What hosts are compared by; the least is best. Never NaN.
    #[inline]
    pub(super) fn load(&self, by_latency: bool, inverse: f32, now: Tick) -> f32 {
        let work = self.work(by_latency, inverse, now);
        let (failed, refused) = self.shares(now);
        let failing = failed + REFUSAL * refused;
        if failing == 0.0 {
            return work;
        }
        work + failing * self.fleet.failure_weight * self.fleet.load()
    }

    /// The latency as it was last written, where anything was.
    pub(super) fn known_latency(&self, now: Tick) -> Option<f32> {
        self.hot.latency.last(now, self.fleet.rate)
    }

    #[inline]
    pub(super) fn begin(&self, now: Tick) -> Begun {
        self.fleet.count_begin();
        self.hot.flight.begin(now)
    }

    pub(super) fn take_probe(&self, now: Tick, patience: Duration) -> bool {
        self.hot.state.take_probe(now, patience)
    }

    /// A call was lost without a word: neither sample nor leak.
    #[cold]
    pub(super) fn lost(&self, begun: Begun, probe: bool) {
        self.fleet.count_end();
        self.hot.flight.end(begun);
        if probe {
            let state = &self.hot.state;
            self.record.next_probe(state, &self.fleet, Tick::ZERO);
        }
    }

    #[inline]
    pub(super) fn end(
        &self,
        begun: Begun,
        probe: bool,
        outcome: Outcome,
        latency: Duration,
        load: Option<Load>,
        now: Tick,
    ) {
        self.fleet.count_end();
        self.hot.flight.end(begun);
        // At most an hour, so that no product of them is infinite; never nothing, which any number of
        // times is nothing.
        let latency = latency.as_nanos().clamp(1, 3_600_000_000_000) as f32;
        if probe {
            return self.end_probe(outcome, latency, now);
        }
        if let (Some(load), Some(pool)) = (load, &self.fleet.pool)
            && let Some(seat) = self.seat()
        {
            pool.insert(seat, load, now);
        }
        if outcome == Outcome::Success {
            let fleet = &*self.fleet;
            let old = (fleet.silence(), FORGOTTEN * fleet.latency());
            self.hot.latency.record(latency, now, fleet.rate, old);
            self.record_success(now);
        } else {
            self.end_badly(begun, outcome, latency, now);
        }
    }

    #[inline]
    fn record_success(&self, now: Tick) {
        self.tally(0);
        if self.failing(now) > 0.0 {
            self.move_shares(false, false, now);
            self.record.succeeded();
        }
    }

    #[cold]
    fn end_badly(&self, begun: Begun, outcome: Outcome, latency: f32, now: Tick) {
        if !self.record.counts(begun.at()) {
            return;
        }
        if outcome == Outcome::Ignored {
            return self.given_up(latency, now);
        }
        let refused = outcome == Outcome::Overloaded;
        self.move_shares(!refused, refused, now);
        let fleet = &*self.fleet;
        let typical = fleet.latency();
        self.hot.latency.raise(latency, now, fleet.rate, typical);
        if outcome == Outcome::Failure {
            self.tally(1);
            if self.record.failed(&fleet.settings.outlier) {
                self.eject(now);
            }
        }
    }

    /// Its caller gave a call up, for its own reasons or because a second copy was quicker: where
    /// that was later than most calls are answered, it says that this host did not.
    fn given_up(&self, latency: f32, now: Tick) {
        let fleet = &*self.fleet;
        let typical = fleet.latency();
        if latency >= typical {
            self.hot.latency.add(latency, now, fleet.rate, typical);
        }
    }

    pub(super) fn eject(&self, now: Tick) {
        let salt = mix(self.key);
        self.record.eject(&self.hot.state, &self.fleet, salt, now);
    }

    #[cold]
    fn end_probe(&self, outcome: Outcome, latency: f32, now: Tick) {
        let (state, fleet) = (&self.hot.state, &*self.fleet);
        match outcome {
            Outcome::Success => {
                if self.record.probe_passed(state, fleet, now) {
                    // What was known is of another time.
                    self.hot.latency.restart(latency, now);
                    self.hot.failing.write(0.0, now);
                    self.hot.refusing.write(0.0, now);
                    self.clear_tally();
                }
            }
            Outcome::Failure => {
                self.record.probe_failed(state, fleet, mix(self.key), now);
            }
            Outcome::Overloaded => {
                let due = now + fleet.settings.outlier.probe_every;
                self.record.next_probe(state, fleet, due);
            }
            Outcome::Ignored => self.record.next_probe(state, fleet, now),
        }
    }

    #[inline]
    fn tally(&self, failures: u64) {
        let tally = &self.hot.tally;
        let more = (failures << 32) + 1;
        tally.store(tally.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// It fails too much to be chosen and too seldom to be ejected, so nothing would tell that it
    /// is well again: probes shall.
    /// Where a typical host fails as much, the fault is not this one's.
    pub(super) fn is_starved(&self, typical: f32, now: Tick) -> bool {
        let last = self.hot.failing.read(now, self.fleet.rate);
        let idle = self.fleet.rate.time(last.age) >= self.fleet.settings.outlier.probe_every;
        idle && self.failing(now) > typical + FAILING_STEP && self.in_flight() == 0
    }

    /// It answers, but is kept from its share by a latency that may be of before: half of that goes,
    /// by ratio. If it is no mistake, the next answer says so.
    pub(super) fn doubt_latency(&self, now: Tick) {
        let typical = self.fleet.latency();
        if self.latency(now) > FORGOTTEN * typical {
            self.hot.latency.doubt(now, self.fleet.rate, typical);
        }
    }

    /// It is so slow by what is known of it that it is hardly asked, and what is known is old.
    pub(super) fn is_forgotten(&self, now: Tick) -> bool {
        let fleet = &*self.fleet;
        self.hot.latency.is_silent(now, fleet.rate, fleet.silence())
            && self.in_flight() == 0
            && self.latency(now) > FORGOTTEN * fleet.latency()
    }

    /// Calls and failures since the last judgement.
    pub(super) fn tallied(&self) -> (u32, u32) {
        let tally = self.hot.tally.load(Relaxed);
        (tally as u32, (tally >> 32) as u32)
    }

    pub(super) fn clear_tally(&self) {
        self.hot.tally.store(0, Relaxed);
    }

    /// A host that has warmed up serves, and one that is new is as good as any: how slow it was while
    /// it was cold would keep calls away for long. One that was taken back may be slow for good, and
    /// is not sent its whole share to find out.
    pub(super) fn settle(&self, now: Tick) {
        if let (HostState::Warming, from) = self.state()
            && self.share(now) >= 1.0
        {
            self.hot.state.warmed(from);
            if self.record.is_new() {
                self.hot.latency.forget();
            }
        }
    }
}
