//! The event loop.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::front::{Front, Verdict, Wake};
use super::origin::{CallId, Origin};
use super::report::{Bucket, Latencies, Report};
use super::rng::Rng;
use super::scenario::Scenario;
use crate::{Call, Outcome, Tick};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Reaches,
    Served,
    Answered,
    Capacity,
}

/// Ordered by time, then by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: u64,
    serial: u64,
    kind: Kind,
    id: CallId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Waiting,
    Travelling,
    Queued,
    Served,
    Returning,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    generation: u32,
    state: State,
    route: u8,
    arrived: u64,
    service: f32,
}

pub(super) struct Run<'a> {
    scenario: &'a Scenario,
    front: &'a mut dyn Front,
    rng: Rng,
    now: u64,
    serial: u64,
    events: BinaryHeap<Reverse<Event>>,
    /// All clients wait equally long, so they leave in the order of their arrival.
    leaving: VecDeque<(u64, CallId)>,
    clients: Vec<Client>,
    free: Vec<u32>,
    origin: Origin,
    /// Open connections to the origin, and those that carry a call.
    connections: u32,
    used: u32,
    wakes: Vec<Wake>,
    rate: usize,
    next_arrival: u64,
    throughput: f64,
    slots: f64,
    /// Up to when capacity is entered in the bucket.
    counted: u64,
    bucket_end: u64,
    bucket: Bucket,
    report: Report,
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

fn key((slot, generation): CallId) -> u64 {
    u64::from(generation) << 32 | u64::from(slot)
}

impl<'a> Run<'a> {
    pub(super) fn new(scenario: &'a Scenario, front: &'a mut dyn Front) -> Self {
        let mut run = Self {
            scenario,
            front,
            rng: Rng::new(scenario.seed),
            now: 0,
            serial: 0,
            events: BinaryHeap::new(),
            leaving: VecDeque::new(),
            clients: Vec::new(),
            free: Vec::new(),
            origin: Origin::new(scenario.fills),
            connections: 0,
            used: 0,
            wakes: Vec::new(),
            rate: 0,
            next_arrival: 0,
            throughput: 0.0,
            slots: 0.0,
            counted: 0,
            bucket_end: scenario.bucket.as_nanos() as u64,
            bucket: Bucket::default(),
            report: Report {
                bucket: scenario.bucket,
                latencies: vec![Latencies::default(); scenario.routes.len()],
                ..Report::default()
            },
        };
        for (i, change) in scenario.capacity.iter().enumerate() {
            run.schedule(change.from.as_nanos() as u64, Kind::Capacity, (i as u32, 0));
        }
        run.draw_arrival();
        run
    }

    pub(super) fn run(mut self) -> Report {
        let end = self.scenario.length.as_nanos() as u64;
        loop {
            let event = self.events.peek().map_or(u64::MAX, |e| e.0.at);
            let leave = self.leaving.front().map_or(u64::MAX, |l| l.0);
            let tick = self.front.next_tick().0;
            let next = event.min(leave).min(tick).min(self.next_arrival);
            while self.bucket_end <= next.min(end) {
                self.close_bucket();
            }
            if next >= end {
                break;
            }
            self.now = self.now.max(next);
            self.report.events += 1;
            if next == self.next_arrival {
                self.arrive();
            } else if next == event {
                self.happen();
            } else if next == leave {
                self.leave();
            } else {
                self.front.tick(Tick(self.now), &mut self.wakes);
            }
            self.wake();
        }
        self.report.wasted = self.origin.wasted / self.origin.worked.max(1e-9);
        self.report
    }

    fn schedule(&mut self, at: u64, kind: Kind, id: CallId) {
        self.serial += 1;
        self.events.push(Reverse(Event {
            at,
            serial: self.serial,
            kind,
            id,
        }));
    }

    fn draw_arrival(&mut self) {
        let rates = &self.scenario.rates;
        let mut from = self.now;
        loop {
            let Some(&(_, rate)) = rates.get(self.rate) else {
                self.next_arrival = u64::MAX;
                return;
            };
            let until = rates
                .get(self.rate + 1)
                .map_or(u64::MAX, |r| r.0.as_nanos() as u64);
            if rate > 0.0 {
                let at = from.saturating_add(nanos(self.rng.exponential() / rate));
                if at < until {
                    self.next_arrival = at;
                    return;
                }
            }
            from = until;
            self.rate += 1;
        }
    }

    fn arrive(&mut self) {
        self.draw_arrival();
        self.bucket.offered += 1;
        let route = self.draw_route();
        let slot = self.free.pop().unwrap_or_else(|| {
            let client = Client {
                generation: 0,
                state: State::Free,
                route: 0,
                arrived: 0,
                service: 0.0,
            };
            self.clients.push(client);
            (self.clients.len() - 1) as u32
        });
        let client = &mut self.clients[slot as usize];
        client.generation = client.generation.wrapping_add(1);
        (client.route, client.arrived, client.state) = (route, self.now, State::Waiting);
        let id = (slot, client.generation);
        let deadline = self.now + self.scenario.timeout.as_nanos() as u64;
        let call = Call {
            deadline: Tick(deadline),
            ..Call::default()
        };
        match self
            .front
            .arrive(key(id), &call, route, Tick(self.now), &mut self.wakes)
        {
            Verdict::Go => self.send(id),
            Verdict::Wait => {}
            Verdict::Reject => return self.reject(id),
        }
        self.leaving.push_back((deadline, id));
    }

    fn draw_route(&mut self) -> u8 {
        let routes = &self.scenario.routes;
        if routes.len() == 1 {
            return 0;
        }
        let mut at = self.rng.unit() * routes.iter().map(|r| r.share).sum::<f64>();
        for (i, route) in routes.iter().enumerate() {
            at -= route.share;
            if at < 0.0 {
                return i as u8;
            }
        }
        0
    }

    fn hop(&mut self) -> u64 {
        let jitter = self.scenario.jitter.as_nanos() as u64;
        let extra = if jitter > 0 {
            self.rng.bits() % jitter
        } else {
            0
        };
        self.scenario.network.as_nanos() as u64 + extra
    }

    /// Takes a connection for a call; how long that takes.
    fn connect(&mut self) -> u64 {
        self.used += 1;
        if self.used <= self.connections {
            return 0;
        }
        self.connections += 1;
        self.scenario.connect.as_nanos() as u64
    }

    fn send(&mut self, id: CallId) {
        self.clients[id.0 as usize].state = State::Travelling;
        match self.hop() + self.connect() {
            0 => self.reach(id),
            hop => self.schedule(self.now + hop, Kind::Reaches, id),
        }
    }

    fn reach(&mut self, id: CallId) {
        let client = &mut self.clients[id.0 as usize];
        client.state = State::Queued;
        self.origin.push(id, client.route);
        self.start();
    }

    fn start(&mut self) {
        loop {
            let clients = &self.clients;
            let heedless = self.scenario.heedless;
            let alive =
                |(slot, generation): CallId| clients[slot as usize].generation == generation;
            let Some((id, time)) = self
                .origin
                .start(&self.scenario.routes, &mut self.rng, |id| {
                    heedless || alive(id)
                })
            else {
                return;
            };
            if alive(id) {
                let client = &mut self.clients[id.0 as usize];
                (client.state, client.service) = (State::Served, time as f32);
            } else {
                self.origin.wasted += time;
            }
            self.schedule(self.now + nanos(time), Kind::Served, id);
        }
    }

    fn happen(&mut self) {
        let Some(Reverse(event)) = self.events.pop() else {
            return;
        };
        let id = event.id;
        if event.kind == Kind::Capacity {
            let capacity = &self.scenario.capacity[id.0 as usize];
            self.count_capacity(self.now);
            self.throughput = self.scenario.throughput(capacity);
            self.slots = f64::from(capacity.slots);
            self.origin.set(capacity);
            return self.start();
        }
        let alive = self.clients[id.0 as usize].generation == id.1;
        match event.kind {
            Kind::Reaches if alive => self.reach(id),
            Kind::Served => {
                self.origin.done();
                if alive {
                    self.clients[id.0 as usize].state = State::Returning;
                    match self.hop() {
                        0 => self.answer(id),
                        hop => self.schedule(self.now + hop, Kind::Answered, id),
                    }
                }
                self.start();
            }
            Kind::Answered if alive => self.answer(id),
            _ => {}
        }
    }

    fn answer(&mut self, id: CallId) {
        let client = self.clients[id.0 as usize];
        self.release(id);
        self.used -= 1;
        self.bucket.ok += 1;
        self.bucket.useful += f64::from(client.service);
        let latency = (self.now - client.arrived) as f64 / 1e9;
        self.report.latencies[usize::from(client.route)].add(latency);
        self.front
            .finish(key(id), Outcome::Success, Tick(self.now), &mut self.wakes);
    }

    fn leave(&mut self) {
        let Some((_, id)) = self.leaving.pop_front() else {
            return;
        };
        let client = self.clients[id.0 as usize];
        if client.generation != id.1 {
            return;
        }
        self.bucket.timed_out += 1;
        self.release(id);
        let now = Tick(self.now);
        match client.state {
            State::Waiting => return self.front.leave(key(id), now, &mut self.wakes),
            State::Queued if self.scenario.heedless => {}
            State::Queued => self.origin.forget_waiting(),
            State::Served | State::Returning => self.origin.wasted += f64::from(client.service),
            State::Travelling | State::Free => {}
        }
        self.used -= 1;
        self.connections -= 1;
        self.front
            .finish(key(id), Outcome::Ignored, now, &mut self.wakes);
    }

    fn reject(&mut self, id: CallId) {
        self.bucket.rejected += 1;
        self.release(id);
    }

    fn release(&mut self, (slot, _): CallId) {
        let client = &mut self.clients[slot as usize];
        client.generation = client.generation.wrapping_add(1);
        client.state = State::Free;
        self.free.push(slot);
    }

    fn wake(&mut self) {
        let mut wakes = std::mem::take(&mut self.wakes);
        for Wake { id, go } in wakes.drain(..) {
            let id = (id as u32, (id >> 32) as u32);
            if go { self.send(id) } else { self.reject(id) }
        }
        self.wakes = wakes;
    }

    /// Adds what the origin could have done since this was last asked.
    fn count_capacity(&mut self, now: u64) {
        let seconds = (now - self.counted) as f64 / 1e9;
        self.bucket.capacity += self.throughput * seconds;
        self.bucket.slots += self.slots * seconds;
        self.counted = now;
    }

    fn close_bucket(&mut self) {
        self.count_capacity(self.bucket_end);
        let mut bucket = std::mem::take(&mut self.bucket);
        (bucket.limit, bucket.inflight, bucket.waiting) = self.front.gauge();
        bucket.limit_max = bucket.limit_max.max(bucket.limit);
        self.report.series.push(bucket);
        self.bucket_end += self.scenario.bucket.as_nanos() as u64;
    }
}
