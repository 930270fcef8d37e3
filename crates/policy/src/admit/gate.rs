//! The path that every call takes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_sync::{CachePadded, Shard, Sharded};

use super::core::{Core, PATIENCE};
use super::lane::{Caps, Key, LANES, Lane, LaneSettings};
use super::level::{Level, position};
use super::places::Places;
use super::tally::{Finished, Held, KEYS, Tally};
use crate::limit::{Adaptive, AdaptiveSettings, Limit};
use crate::{Advice, Call, Outcome, Reason, Rejection, Scope, Tick};

/// A call's cost is brought into 1 ..= this, so that no sum of costs can overflow.
const MAX_COST: u32 = 1 << 12;

/// What a gate is told at its construction. The default protects without tuning.
#[derive(Debug)]
pub struct GateSettings {
    /// The algorithm that sets the limit; `Adaptive` by default.
    pub limit: Box<dyn Limit>,
    /// The longest wait in the queue; by default five times the origin's latency without
    /// queueing, at least 100 ms.
    pub max_wait: Option<Duration>,
    /// The most waiters, 1 to 1,000,000; 4,096 by default, which bounds memory.
    pub max_queued: usize,
    /// The most long-lived replies at once; 10,000 by default.
    pub max_streams: u32,
    /// What configuration says of the lanes.
    pub lanes: [LaneSettings; 16],
    /// Decide and count, but turn nobody away and make nobody wait.
    pub shadow: bool,
    /// How many copies of the statistics to keep: about one per thread; 1 in a simulation.
    pub shards: usize,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            limit: Box::new(Adaptive::new(AdaptiveSettings::default())),
            max_wait: None,
            max_queued: 4_096,
            max_streams: 10_000,
            lanes: Default::default(),
            shadow: false,
            shards: 1,
        }
    }
}

/// The right to be at the origin. Give it back with [`Gate::finish`]; losing it loses the place.
#[must_use]
#[derive(Debug)]
pub struct Ticket {
    pub(super) start: Tick,
    pub(super) epoch: u32,
    pub(super) cost: u32,
    pub(super) lane: Lane,
    pub(super) key: Key,
    pub(super) shadowed: Option<Reason>,
}

impl Ticket {
    /// Why the call would have been turned away, had the gate not been in shadow.
    #[must_use]
    pub fn shadowed(&self) -> Option<Rejection> {
        self.shadowed.map(rejection)
    }

    /// When the place was given.
    #[must_use]
    pub fn start(&self) -> Tick {
        self.start
    }

    /// The lane that the place belongs to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }
}

/// The answer to an arrival.
#[must_use]
#[derive(Debug)]
pub enum Admit {
    /// Go.
    Now(Ticket),
    /// No place is free: call [`Gate::wait`] with this lane.
    Wait(Lane),
    /// Turned away.
    Rejected(Rejection),
}

/// Whatever the driver needs to find a waiter again.
pub trait Waiter {
    /// The caller left; do not give it a place.
    fn is_gone(&self) -> bool;
}

impl Waiter for u64 {
    fn is_gone(&self) -> bool {
        false
    }
}

/// Waiters whose wait is over, to be woken by the driver after the call returns.
pub type Wakes<W> = Vec<(W, Result<Ticket, Rejection>)>;

/// What every arrival reads and only a control step writes: one cache line, seldom invalidated.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) backlog: AtomicU32,
    pub(super) epoch: AtomicU32,
    /// By lane, a bit each: arrivals are counted by cell, and the level applies.
    pub(super) hot: AtomicU32,
    /// By lane: work under way takes up its whole share; more of it queues like new work.
    pub(super) under_way_full: AtomicU32,
    /// Some lane has a cap.
    pub(super) capped: AtomicBool,
    pub(super) next_roll: AtomicU64,
    /// Nanoseconds at the origin after which a caller that leaves gave up.
    pub(super) patience: AtomicU64,
    /// Nanoseconds for which a thread may let events gather while some lane is hot.
    pub(super) coalesce: AtomicU64,
    pub(super) rotation: AtomicU64,
    pub(super) max_streams: AtomicU32,
    pub(super) shadow: AtomicBool,
}

/// The part of a gate that needs no lock.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) control: CachePadded<Control>,
    pub(super) places: Places,
    pub(super) tallies: Sharded<Tally>,
    pub(super) levels: [AtomicU64; LANES],
    pub(super) caps: [AtomicU32; LANES],
    pub(super) slow: [AtomicBool; KEYS],
    pub(super) streams: AtomicU32,
    /// CPU use as `f64` bits; NaN where unknown.
    pub(super) cpu: AtomicU64,
}

impl Shared {
    pub(super) fn lane_inflight(&self, lane: Lane) -> u32 {
        let sum: i32 = self.tallies.iter().map(|t| t.lane_inflight(lane)).sum();
        u32::try_from(sum).unwrap_or(0)
    }

    pub(super) fn lane_has_room(&self, lane: Lane, cost: u32) -> bool {
        if !self.control.capped.load(Relaxed) {
            return true;
        }
        let cap = self.caps[lane.index()].load(Relaxed);
        cap == u32::MAX || {
            let held = self.lane_inflight(lane);
            held == 0 || held.saturating_add(cost) <= cap
        }
    }

    pub(super) fn store_caps(&self, caps: &Caps) {
        for (cell, &cap) in self.caps.iter().zip(caps) {
            cell.store(cap, Relaxed);
        }
        self.control
            .capped
            .store(caps.iter().any(|&c| c != u32::MAX), Relaxed);
    }

    /// Lets a lane's control step take effect.
    pub(super) fn apply(&self, lane: Lane, step: &super::shed::Control) {
        let set = |word: &AtomicU32, on: bool| {
            let bit = 1 << lane.index();
            let _ = if on {
                word.fetch_or(bit, Relaxed)
            } else {
                word.fetch_and(!bit, Relaxed)
            };
        };
        self.levels[lane.index()].store(step.level.0, Relaxed);
        set(&self.control.under_way_full, step.under_way_full);
        set(&self.control.hot, step.hot);
    }

    pub(super) fn inflight(&self) -> u32 {
        self.places.inflight(&self.tallies)
    }

    #[inline]
    pub(super) fn ticket(
        &self,
        tally: &mut Held<'_>,
        call: &Call,
        lane: Lane,
        key: Key,
        now: Tick,
    ) -> Ticket {
        tally.started(lane, call.criticality, call.cost, now);
        let epoch = self.control.epoch.load(Relaxed);
        Ticket {
            start: now,
            epoch,
            cost: call.cost,
            lane,
            key,
            shadowed: None,
        }
    }
}

/// Decides who may go to one origin. See the [module](super) for how.
///
/// Shared by all threads. [`admit`](Gate::admit) and [`finish`](Gate::finish) take no lock while
/// nobody waits; `W` is what the driver wakes a waiter by.
///
/// ```
/// use seawall_policy::admit::{Admit, Gate, GateSettings, Key};
/// use seawall_policy::{Call, Outcome, Tick, limit::Fixed};
/// use seawall_sync::Shard;
/// use std::time::Duration;
///
/// let settings = GateSettings { limit: Box::new(Fixed::new(1)), ..Default::default() };
/// let gate: Gate<u64> = Gate::new(settings, Tick::ZERO);
/// let (shard, call, mut wakes) = (Shard(0), Call::default(), Vec::new());
///
/// let Admit::Now(ticket) = gate.admit(&call, Key(0), None, shard, Tick::ZERO) else { panic!() };
/// let Admit::Wait(lane) = gate.admit(&call, Key(0), None, shard, Tick::ZERO) else { panic!() };
/// gate.wait(&call, Key(0), lane, 7, shard, Tick::ZERO, &mut wakes);
/// assert!(wakes.is_empty());
///
/// gate.finish(ticket, Outcome::Success, Duration::ZERO, shard, Tick::from_millis(5), &mut wakes);
/// assert_eq!(wakes.len(), 1); // waiter 7 goes next
/// ```
pub struct Gate<W> {
    pub(super) shared: Shared,
    pub(super) core: Mutex<Core<W>>,
}

impl<W> fmt::Debug for Gate<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("control", &self.shared.control)
            .finish_non_exhaustive()
    }
}

impl<W: Waiter> Gate<W> {
    /// A gate with all its places free.
    #[must_use]
    pub fn new(settings: GateSettings, now: Tick) -> Self {
        let first = settings.limit.start();
        let control = Control {
            backlog: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            hot: AtomicU32::new(0),
            under_way_full: AtomicU32::new(0),
            capped: AtomicBool::new(false),
            next_roll: AtomicU64::new((now + first.after).0),
            rotation: AtomicU64::new(0),
            patience: AtomicU64::new((PATIENCE * 1e9) as u64),
            coalesce: AtomicU64::new(0),
            max_streams: AtomicU32::new(settings.max_streams),
            shadow: AtomicBool::new(settings.shadow),
        };
        let shared = Shared {
            control: CachePadded::new(control),
            places: Places::new(first.limit, settings.shards),
            tallies: Sharded::new(settings.shards, Tally::new),
            levels: std::array::from_fn(|_| AtomicU64::new(Level::OPEN.0)),
            caps: std::array::from_fn(|_| AtomicU32::new(u32::MAX)),
            slow: std::array::from_fn(|_| AtomicBool::new(false)),
            streams: AtomicU32::new(0),
            cpu: AtomicU64::new(f64::NAN.to_bits()),
        };
        Self {
            core: Mutex::new(Core::new(settings, &shared, now)),
            shared,
        }
    }

    fn in_shadow(&self) -> bool {
        self.shared.control.shadow.load(Relaxed)
    }

    /// Decides on an arrival. `lane` where the transport knows it; else by the route `key`.
    #[inline]
    pub fn admit(
        &self,
        call: &Call,
        key: Key,
        lane: Option<Lane>,
        shard: Shard,
        now: Tick,
    ) -> Admit {
        let shared = &self.shared;
        let call = &Call {
            cost: call.cost.clamp(1, MAX_COST),
            ..*call
        };
        if now >= call.deadline {
            return self.reject(call, Reason::Deadline, shard);
        }
        let lane = lane.unwrap_or_else(|| {
            if shared.slow[usize::from(key.0)].load(Relaxed) {
                Lane::SLOW
            } else {
                Lane::DEFAULT
            }
        });
        let hot = shared.control.hot.load(Relaxed);
        if hot & (1 << lane.index()) != 0 && !self.above_level(call, lane, shard) {
            if !self.in_shadow() {
                return self.reject(call, Reason::Admission, shard);
            }
            shared.tallies.get(shard).lock().shadowed(Reason::Admission);
        }
        if shared.control.backlog.load(SeqCst) == 0 && shared.lane_has_room(lane, call.cost) {
            let mut tally = shared.tallies.get(shard).lock();
            if shared.places.take(call.cost, &mut tally) {
                return Admit::Now(shared.ticket(&mut tally, call, lane, key, now));
            }
        }
        self.admit_when_full(call, key, lane, shard, now)
    }

    #[inline]
    fn above_level(&self, call: &Call, lane: Lane, shard: Shard) -> bool {
        let control = &self.shared.control;
        let mut tally = self.shared.tallies.get(shard).lock();
        let crowded = control.under_way_full.load(Relaxed) & (1 << lane.index()) != 0;
        if call.under_way && !crowded {
            tally.arrived_under_way(lane);
            return true;
        }
        let rotation = control.rotation.load(Relaxed);
        let (position, cell) = position(call.criticality, call.tenant, rotation, tally.spread());
        tally.arrived(lane, cell);
        Level(self.shared.levels[lane.index()].load(Relaxed)).admits(call.criticality, position)
    }

    /// Off the fast path: somebody waits, or no place is free in the lane or at all.
    #[cold]
    fn admit_when_full(&self, call: &Call, key: Key, lane: Lane, shard: Shard, now: Tick) -> Admit {
        let shared = &self.shared;
        let mut core = self.core.lock();
        if core.lane_is_empty(lane) && shared.lane_has_room(lane, call.cost) {
            if shared.places.take_slowly(call.cost, &shared.tallies) {
                return Admit::Now(shared.ticket(
                    &mut shared.tallies.get(shard).lock(),
                    call,
                    lane,
                    key,
                    now,
                ));
            }
            core.limit_binds();
        }
        if self.in_shadow() {
            return Admit::Now(self.admit_in_shadow(&core, call, key, lane, shard, now));
        }
        if !core.can_meet(call, now) {
            return self.reject(call, Reason::Deadline, shard);
        }
        Admit::Wait(lane)
    }

    /// Lets a call in that finds no place, and says what would have become of it: those beyond
    /// the limit stand for the queue that enforcing would have made.
    fn admit_in_shadow(
        &self,
        core: &Core<W>,
        call: &Call,
        key: Key,
        lane: Lane,
        shard: Shard,
        now: Tick,
    ) -> Ticket {
        let shared = &self.shared;
        let shadowed = if !core.can_meet(call, now) {
            Some(Reason::Deadline)
        } else if core.would_reject(shared, lane) {
            Some(Reason::QueueTimeout)
        } else {
            None
        };
        let mut tally = shared.tallies.get(shard).lock();
        if let Some(reason) = shadowed {
            tally.shadowed(reason);
        }
        shared.places.take_anyway(call.cost);
        Ticket {
            shadowed,
            ..shared.ticket(&mut tally, call, lane, key, now)
        }
    }

    #[cold]
    fn reject(&self, call: &Call, reason: Reason, shard: Shard) -> Admit {
        self.shared
            .tallies
            .get(shard)
            .lock()
            .rejected(reason, call.criticality);
        Admit::Rejected(rejection(reason))
    }

    /// Waits for a place after [`Admit::Wait`]. The waiter, or one that has to give way to it, may
    /// be among the `wakes` at once.
    #[allow(clippy::too_many_arguments)]
    pub fn wait(
        &self,
        call: &Call,
        key: Key,
        lane: Lane,
        waiter: W,
        shard: Shard,
        now: Tick,
        wakes: &mut Wakes<W>,
    ) {
        let call = Call {
            cost: call.cost.clamp(1, MAX_COST),
            ..*call
        };
        self.core
            .lock()
            .wait(&self.shared, call, key, lane, waiter, shard, now, wakes);
    }

    /// Gives a place back. `blocked` is the part of the time that the origin did not cause (a
    /// slow client), and is taken off the sample.
    #[inline]
    pub fn finish(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        blocked: Duration,
        shard: Shard,
        now: Tick,
        wakes: &mut Wakes<W>,
    ) {
        let shared = &self.shared;
        let nanos = now
            .0
            .saturating_sub(ticket.start.0)
            .saturating_sub(blocked.as_nanos() as u64);
        let finished = Finished {
            nanos,
            outcome,
            lane: ticket.lane,
            key: usize::from(ticket.key.0),
            cost: ticket.cost,
            fresh: ticket.epoch == shared.control.epoch.load(Relaxed),
            gave_up: nanos >= shared.control.patience.load(Relaxed),
        };
        {
            let mut tally = shared.tallies.get(shard).lock();
            tally.finished(&finished, now);
            shared.places.give(ticket.cost, &mut tally);
        }
        if shared.control.backlog.load(SeqCst) > 0 {
            self.core.lock().turn(shared, shard, now, wakes);
        } else if now.0 >= shared.control.next_roll.load(Relaxed)
            && let Some(mut core) = self.core.try_lock()
        {
            core.turn(shared, shard, now, wakes);
        }
    }

    /// Ends waits whose time is up and takes the control steps that are due. Call it after
    /// [`Gate::next_tick`]; needless calls do no harm.
    pub fn tick(&self, shard: Shard, now: Tick, wakes: &mut Wakes<W>) {
        let mut core = self.core.lock();
        core.expire(&self.shared, shard, now, wakes);
        core.turn(&self.shared, shard, now, wakes);
    }

    /// When [`Gate::tick`] is wanted next; `None` while nobody waits and nothing is shed.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        if self.shared.control.backlog.load(SeqCst) > 0 {
            return Some(Duration::from_millis(5));
        }
        (self.shared.control.hot.load(Relaxed) != 0).then_some(Duration::from_millis(50))
    }

    /// Turns a place into a long-lived stream, which is capped in number instead. The time to
    /// here counts as the call's latency.
    ///
    /// # Errors
    /// When there are too many streams; the place is given back in either case.
    pub fn open_stream(
        &self,
        ticket: Ticket,
        shard: Shard,
        now: Tick,
        wakes: &mut Wakes<W>,
    ) -> Result<(), Rejection> {
        self.finish(ticket, Outcome::Success, Duration::ZERO, shard, now, wakes);
        let before = self.shared.streams.fetch_add(1, Relaxed);
        if before < self.shared.control.max_streams.load(Relaxed) || self.in_shadow() {
            return Ok(());
        }
        self.shared.streams.fetch_sub(1, Relaxed);
        Err(rejection(Reason::Lane))
    }

    /// Ends a stream that [`Gate::open_stream`] began.
    pub fn close_stream(&self) {
        self.shared.streams.fetch_sub(1, Relaxed);
    }

    /// Takes in a CPU reading, 0 to 1, for the limits that look at it.
    pub fn set_cpu(&self, used: f64) {
        self.shared.cpu.store(used.to_bits(), Relaxed);
    }

    /// Whether some lane is, or was a moment ago, too full for what arrives: calls queue or are
    /// turned away. While false, no level is applied. One relaxed load.
    #[inline]
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.shared.control.hot.load(Relaxed) != 0
    }

    /// How long a thread that has nothing to do may let events gather before it looks at them;
    /// zero unless [`is_hot`](Gate::is_hot).
    ///
    /// Most of what a rejection costs is waking up for it. While most of what comes is rejected, a
    /// thread that looks at what has come every millisecond instead of at each arrival saves a fifth
    /// of the CPU, which is the service's where both share a machine. At most 1 ms and a
    /// twentieth of the origin's latency without queueing: places lie idle for no more than the
    /// limit's margin covers. Two relaxed loads.
    #[inline]
    #[must_use]
    pub fn coalesce(&self) -> Duration {
        if !self.is_hot() {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.shared.control.coalesce.load(Relaxed))
    }
}

/// The rejection that goes with a reason of the gate.
pub(super) fn rejection(reason: Reason) -> Rejection {
    let (scope, advice) = match reason {
        Reason::Deadline => (Scope::Host, Advice::No),
        Reason::Lane => (Scope::Route, Advice::After(Duration::from_secs(1))),
        _ => (Scope::Host, Advice::After(Duration::from_secs(1))),
    };
    Rejection {
        reason,
        scope,
        advice,
    }
}
