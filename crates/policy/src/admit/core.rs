//! The part of a gate behind its lock: who is served next, and the control steps.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use seawall_sync::Shard;

use super::change::GateChange;
use super::gate::{GateSettings, Shared, Waiter, Wakes, rejection};
use super::lane::{Key, LANES, Lane, Lanes};
use super::level::Level;
use super::queue::{Entry, Queue};
use super::shed::{Reading, Shed};
use super::tally::{CELLS, Harvest};
use crate::limit::{Limit, Step, Window};
use crate::{Call, Criticality, Reason, Tick};

/// A standing queue above this starts the shedding: a tenth of the deadline that is assumed
/// where none is stated, max(250 ms, 12.5 × latency).
const TARGET_MIN: f64 = 0.025;
const TARGET_LATENCIES: f64 = 1.25;
/// The longest wait in targets, in order and while backed up (CoDel's 2 ×).
const WAIT_TARGETS: f64 = 4.0;
const BACKED_UP_TARGETS: f64 = 2.0;
/// A caller that leaves after this many seconds at the origin, or this many latencies, gave up.
pub(super) const PATIENCE: f64 = 0.05;
const PATIENCE_LATENCIES: f64 = 2.0;
/// While hot, a thread may let events gather for this part of a latency, and not longer than this
/// many seconds.
const COALESCE_LATENCIES: f64 = 1.0 / 20.0;
const COALESCE_MAX: f64 = 0.001;
/// How often routes and lanes are looked at.
const REVIEW: Duration = Duration::from_millis(250);
/// How often users' cohorts are drawn anew.
const ROTATION: u64 = 3_600_000_000_000;

#[derive(Debug)]
pub(super) struct Core<W> {
    limit: Box<dyn Limit>,
    queues: [Queue<W>; LANES],
    queued: usize,
    max_queued: usize,
    fixed_wait: Option<Duration>,
    // The limit's window.
    window_start: Tick,
    window_inflight: u32,
    bound: bool,
    harvest: Harvest,
    shed: [Shed; LANES],
    /// Latency without queueing in seconds, as far as it is known.
    base: f64,
    lanes: Lanes,
    review_start: Tick,
}

impl<W: Waiter> Core<W> {
    pub(super) fn new(settings: GateSettings, shared: &Shared, now: Tick) -> Self {
        let lanes = Lanes::new(settings.lanes);
        let limit = settings.limit.start().limit;
        shared.store_caps(&lanes.caps(limit, limit));
        Self {
            limit: settings.limit,
            queues: std::array::from_fn(|_| Queue::new()),
            queued: 0,
            max_queued: settings.max_queued.max(1),
            fixed_wait: settings.max_wait,
            window_start: now,
            window_inflight: 0,
            bound: false,
            harvest: Harvest::new(),
            shed: std::array::from_fn(|_| Shed::new()),
            base: 0.0,
            lanes,
            review_start: now,
        }
    }

    pub(super) fn change(&mut self, shared: &Shared, change: GateChange, now: Tick) {
        self.max_queued = change.max_queued.max(1);
        self.fixed_wait = change.max_wait;
        self.lanes.set(change.lanes);
        if let Some(limit) = change.limit {
            // The new one is not judged by what happened under the old.
            self.collect(shared);
            let first = limit.start();
            self.limit = limit;
            self.begin_window(shared, first, shared.inflight(), now);
        }
        let limit = shared.places.limit();
        let knee = self.knee().unwrap_or(limit).min(limit);
        shared.store_caps(&self.lanes.caps(limit, knee));
    }

    pub(super) fn algorithm(&self) -> &'static str {
        self.limit.name()
    }

    pub(super) fn knee(&self) -> Option<u32> {
        self.limit.knee()
    }

    pub(super) fn backed_up(&self, lane: Lane) -> bool {
        self.shed[lane.index()].shedding()
    }

    pub(super) fn lane_is_empty(&self, lane: Lane) -> bool {
        self.queues[lane.index()].len() == 0
    }

    pub(super) fn lane_len(&self, lane: Lane) -> u32 {
        self.queues[lane.index()].len() as u32
    }

    pub(super) fn limit_binds(&mut self) {
        self.bound = true;
    }

    /// A standing queue longer than this (in time) is too long.
    fn target(&self) -> Duration {
        Duration::from_secs_f64(TARGET_MIN.max(TARGET_LATENCIES * self.base))
    }

    /// By criticality, whether some are turned away; those let in whole are merely held up.
    fn cut(&self, shared: &Shared, lane: Lane) -> [bool; 4] {
        let level = Level(shared.levels[lane.index()].load(Relaxed));
        let backed_up = self.backed_up(lane);
        Criticality::ALL.map(|criticality| backed_up && level.cuts(criticality))
    }

    /// The longest that a call may wait at present, while some of its criticality are turned away
    /// if any are.
    pub(super) fn max_wait(&self, lane: Lane) -> Duration {
        self.longest(self.backed_up(lane))
    }

    fn longest(&self, cut: bool) -> Duration {
        let targets = if cut { BACKED_UP_TARGETS } else { WAIT_TARGETS };
        let wait = self.target().mul_f64(targets);
        self.fixed_wait
            .map_or(wait, |fixed| fixed.min(wait.max(fixed / 2)))
    }

    /// Whether the deadline leaves time for the origin's latency.
    pub(super) fn can_meet(&self, call: &Call, now: Tick) -> bool {
        call.deadline == Tick::MAX || now + self.latency() < call.deadline
    }

    fn latency(&self) -> Duration {
        Duration::from_secs_f64(self.base)
    }

    /// For shadow mode: whether those beyond the limit would have had to wait too long.
    pub(super) fn would_reject(&self, shared: &Shared, lane: Lane) -> bool {
        let over = shared.inflight().saturating_sub(shared.places.limit());
        f64::from(over) > self.shed[lane.index()].rate() * self.max_wait(lane).as_secs_f64()
    }

    // === the queue ===

    #[allow(clippy::too_many_arguments)]
    pub(super) fn wait(
        &mut self,
        shared: &Shared,
        call: Call,
        key: Key,
        lane: Lane,
        waiter: W,
        shard: Shard,
        now: Tick,
        wakes: &mut Wakes<W>,
    ) {
        let waiting = self.queues[lane.index()].len();
        if waiting == 0 && !self.backed_up(lane) {
            self.collect(shared);
            self.shed[lane.index()].watch(now);
            shared.control.hot.fetch_or(1 << lane.index(), Relaxed);
        }
        if self.queued >= self.max_queued && !self.make_room(shared, &call, lane, shard, wakes) {
            shared
                .tallies
                .get(shard)
                .lock()
                .rejected(Reason::QueueFull, call.criticality);
            wakes.push((waiter, Err(rejection(Reason::QueueFull))));
            return;
        }
        let last_start = if call.deadline == Tick::MAX {
            Tick::MAX
        } else {
            call.deadline - self.latency()
        };
        self.queues[lane.index()].push(Entry {
            call,
            lane,
            key,
            since: now,
            last_start,
            waiter,
        });
        self.queued += 1;
        self.turn(shared, shard, now, wakes);
    }

    fn make_room(
        &mut self,
        shared: &Shared,
        call: &Call,
        lane: Lane,
        shard: Shard,
        wakes: &mut Wakes<W>,
    ) -> bool {
        let Some(entry) = self.queues[lane.index()].evict_for(call) else {
            return false;
        };
        self.queued -= 1;
        shared
            .tallies
            .get(shard)
            .lock()
            .rejected(Reason::QueueFull, entry.call.criticality);
        wakes.push((entry.waiter, Err(rejection(Reason::QueueFull))));
        true
    }

    /// Ends the waits whose time is up.
    pub(super) fn expire(
        &mut self,
        shared: &Shared,
        shard: Shard,
        now: Tick,
        wakes: &mut Wakes<W>,
    ) {
        if self.queued == 0 {
            return;
        }
        let max_wait: [[Duration; 4]; LANES] =
            std::array::from_fn(|l| self.cut(shared, Lane(l as u8)).map(|cut| self.longest(cut)));
        let mut tally = shared.tallies.get(shard).lock();
        let full = shared.inflight() >= shared.places.limit();
        let mut out = 0;
        for (queue, max_wait) in self.queues.iter_mut().zip(max_wait) {
            queue.expire(now, max_wait, |entry| {
                out += 1;
                if entry.waiter.is_gone() {
                    return;
                }
                let reason = if now > entry.last_start {
                    Reason::Deadline
                } else if full || shared.lane_has_room(entry.lane, entry.call.cost) {
                    Reason::QueueTimeout
                } else {
                    Reason::Lane
                };
                tally.rejected(reason, entry.call.criticality);
                wakes.push((entry.waiter, Err(rejection(reason))));
            });
        }
        self.queued -= out;
        self.note_queued(shared);
    }

    /// Hands out free places, and takes the control steps that are due.
    pub(super) fn turn(&mut self, shared: &Shared, shard: Shard, now: Tick, wakes: &mut Wakes<W>) {
        self.note_queued(shared);
        self.grant(shared, shard, now, wakes);
        let stepped = self.control(shared, now) | self.roll(shared, now) | self.review(shared, now);
        if stepped {
            self.grant(shared, shard, now, wakes);
        }
    }

    fn grant(&mut self, shared: &Shared, shard: Shard, now: Tick, wakes: &mut Wakes<W>) {
        while let Some(lane) = self.next_lane(shared) {
            if shared.inflight() >= shared.places.limit() {
                self.bound = true;
                break;
            }
            let newest_first = self.cut(shared, Lane(lane as u8));
            let Some(entry) = self.queues[lane].pop(newest_first) else {
                break;
            };
            if entry.waiter.is_gone() {
                self.queued -= 1;
                continue;
            }
            if now > entry.last_start {
                self.queued -= 1;
                shared
                    .tallies
                    .get(shard)
                    .lock()
                    .rejected(Reason::Deadline, entry.call.criticality);
                wakes.push((entry.waiter, Err(rejection(Reason::Deadline))));
                continue;
            }
            if !shared.places.take_slowly(entry.call.cost, &shared.tallies) {
                self.bound = true;
                self.queues[lane].push_back(entry);
                break;
            }
            self.queued -= 1;
            let ticket = shared.ticket(
                &mut shared.tallies.get(shard).lock(),
                &entry.call,
                entry.lane,
                entry.key,
                now,
            );
            wakes.push((entry.waiter, Ok(ticket)));
        }
        self.note_queued(shared);
    }

    /// Of the lanes that wait and have room, the one that holds least: max-min sharing.
    fn next_lane(&self, shared: &Shared) -> Option<usize> {
        if self.queued == 0 {
            return None;
        }
        let waiting = (0..LANES).filter(|&l| self.queues[l].len() > 0);
        waiting
            .map(|l| (l, Lane(l as u8)))
            .filter(|&(_, lane)| shared.lane_has_room(lane, 1))
            .min_by_key(|&(_, lane)| shared.lane_inflight(lane))
            .map(|(l, _)| l)
    }

    fn note_queued(&mut self, shared: &Shared) {
        for (shed, queue) in self.shed.iter_mut().zip(&self.queues) {
            shed.note(queue.len());
        }
        shared.control.backlog.store(self.queued as u32, SeqCst);
    }

    // === control steps ===

    fn collect(&mut self, shared: &Shared) {
        shared
            .tallies
            .iter()
            .for_each(|t| t.lock().harvest(&mut self.harvest));
        for (shed, done) in self.shed.iter_mut().zip(&mut self.harvest.done) {
            shed.completed(std::mem::take(done));
        }
    }

    /// Takes the lanes' control steps that are due.
    fn control(&mut self, shared: &Shared, now: Tick) -> bool {
        if !self.shed.iter().any(|s| s.is_due(now)) {
            return false;
        }
        self.collect(shared);
        let target = self.target().as_secs_f64();
        let (limit, idle) = (
            shared.places.limit(),
            shared.inflight() < shared.places.limit() / 2,
        );
        for lane in (0..LANES as u8).map(Lane) {
            let index = lane.index();
            if !self.shed[index].is_due(now) {
                continue;
            }
            let (mut cells, mut under_way) = ([0; CELLS], 0);
            shared
                .tallies
                .iter()
                .for_each(|t| t.lock().arrivals(lane, &mut cells, &mut under_way));
            let queued = self.queues[index].len();
            let reading = Reading {
                now,
                queued,
                base: self.base,
                target,
                idle,
                limit,
                cells: &cells,
                under_way,
            };
            match self.shed[index].step(&reading) {
                Some(control) => shared.apply(lane, &control),
                // Not over yet: what arrived still counts.
                None => shared
                    .tallies
                    .get(Shard(0))
                    .lock()
                    .put_back(lane, &cells, under_way),
            }
        }
        shared.control.rotation.store(now.0 / ROTATION, Relaxed);
        true
    }

    /// Gives the limit its window.
    fn roll(&mut self, shared: &Shared, now: Tick) -> bool {
        if now.0 < shared.control.next_roll.load(Relaxed) || now <= self.window_start {
            return false;
        }
        self.collect(shared);
        let window = self.window(shared, now);
        let step = self.limit.update(&window);
        self.learn_base(shared, &window);
        self.begin_window(shared, step, window.inflight, now);
        true
    }

    fn begin_window(&mut self, shared: &Shared, step: Step, inflight: u32, now: Tick) {
        if step.limit != shared.places.limit() {
            shared.places.set_limit(step.limit, shared.tallies.count());
            shared.control.epoch.fetch_add(1, Relaxed);
        }
        let next = (now + step.after).0;
        shared.control.next_roll.store(next, Relaxed);
        self.harvest.next_window();
        self.window_start = now;
        self.window_inflight = inflight;
        self.bound = false;
    }

    fn window(&self, shared: &Shared, now: Tick) -> Window {
        let inflight = shared.inflight();
        // N(b)·b − N(a)·a + Σ finishes − Σ starts, modulo 2^64.
        let area = (now.0.wrapping_mul(u64::from(inflight)))
            .wrapping_sub(
                self.window_start
                    .0
                    .wrapping_mul(u64::from(self.window_inflight)),
            )
            .wrapping_add(self.harvest.area);
        let length = now.since(self.window_start).as_nanos() as f64;
        let cpu = f64::from_bits(shared.cpu.load(Relaxed));
        Window {
            start: self.window_start,
            end: now,
            limit: shared.places.limit(),
            inflight,
            // A call in between counting and taking its place can make the area slightly negative.
            mean_inflight: (area as i64).max(0) as f64 / length,
            succeeded: self.harvest.succeeded.0,
            failed: self.harvest.failed,
            overloaded: self.harvest.overloaded,
            ignored: self.harvest.ignored,
            gave_up: self.harvest.gave_up,
            latency_sum: self.harvest.succeeded.1,
            latency_min: self
                .harvest
                .least
                .map_or(f64::INFINITY, |l| l.as_secs_f64()),
            fresh: self.harvest.fresh.0,
            fresh_latency_sum: self.harvest.fresh.1,
            bound: self.bound || self.queued > 0 && inflight >= shared.places.limit(),
            cpu: (!cpu.is_nan()).then_some(cpu),
        }
    }

    /// Where the limit knows no latency without queueing: the least mean, forgotten slowly.
    fn learn_base(&mut self, shared: &Shared, window: &Window) {
        if let Some(base) = self.limit.base_latency() {
            self.base = base;
        } else if let Some(mean) = window.mean_latency() {
            self.base = if self.base == 0.0 || mean < self.base {
                mean
            } else {
                self.base + (mean - self.base) * 0.01
            };
        }
        // Hours: an absurd sample must not overflow a duration.
        self.base = self.base.clamp(0.0, 3_600.0);
        let patience = PATIENCE.max(PATIENCE_LATENCIES * self.base);
        let coalesce = COALESCE_MAX.min(COALESCE_LATENCIES * self.base);
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        shared.control.patience.store(nanos(patience), Relaxed);
        shared.control.coalesce.store(nanos(coalesce), Relaxed);
    }

    /// Seconds that a call waits inside the origin, by Little's law: what is there beyond the knee,
    /// as a part of the mean latency since the last review (`all` seconds by all its calls).
    fn queueing(&self, shared: &Shared, all: f64) -> f64 {
        let calls: f64 = self.harvest.routes.iter().map(|route| route.0).sum();
        let (Some(knee), inflight) = (self.limit.knee(), f64::from(shared.inflight())) else {
            return 0.0;
        };
        if calls < 1.0 || inflight <= f64::from(knee) {
            return 0.0;
        }
        all / calls * (1.0 - f64::from(knee) / inflight)
    }

    /// Looks at routes and lanes.
    fn review(&mut self, shared: &Shared, now: Tick) -> bool {
        let elapsed = now.since(self.review_start);
        if elapsed < REVIEW {
            return false;
        }
        self.review_start = now;
        self.collect(shared);
        let mut lanes = [0.0; LANES];
        shared
            .tallies
            .iter()
            .for_each(|t| t.lock().busy(&mut lanes));
        let all: f64 = self.harvest.routes.iter().map(|route| route.1).sum();
        lanes[Lane::DEFAULT.index()] = (all - lanes.iter().sum::<f64>()).max(0.0);
        let queueing = self.queueing(shared, all);
        let seconds = elapsed.as_secs_f64();
        let held = std::array::from_fn(|lane| shared.lane_inflight(Lane(lane as u8)));
        let changed = self
            .lanes
            .review(seconds, &self.harvest.routes[..], &lanes, &held, queueing);
        self.harvest.routes.fill((0.0, 0.0));
        if changed {
            for (key, slow) in shared.slow.iter().enumerate() {
                slow.store(self.lanes.is_slow(key), Relaxed);
            }
        }
        let held_up = (1..LANES).any(|l| self.queues[l].len() > 0);
        self.lanes.tune(held_up);
        let limit = shared.places.limit();
        let knee = self.limit.knee().unwrap_or(limit).min(limit);
        shared.store_caps(&self.lanes.caps(limit, knee));
        true
    }
}
