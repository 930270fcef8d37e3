//! A host: slots, or a shared processor, behind an unbounded queue.
//!
//! Its calls share `cores` evenly, each with at most one core; at most `slots` are worked on at
//! once and the rest wait in order. So `slots = n, cores = n` is a pool of n threads, `slots = MAX`
//! a processor that is shared, and both infinite a plain latency.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::client::HostLoad;
use crate::Outcome;
use crate::sim::Rng;

/// How much a call is to work on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// This much.
    Fixed(Duration),
    /// Evenly from mean − spread to mean + spread.
    Around(Duration, Duration),
    /// Exponential with this mean.
    Exponential(Duration),
    /// Normal, its deviation equal to its mean, cut off below zero; this is the mean of the result.
    Truncated(Duration),
}

impl Work {
    /// A sample in nanoseconds.
    fn draw(self, rng: &mut Rng) -> f64 {
        let ns = |time: Duration| time.as_nanos() as f64;
        match self {
            Self::Fixed(time) => ns(time),
            Self::Around(mean, spread) => ns(mean) + (2.0 * rng.unit() - 1.0) * ns(spread),
            Self::Exponential(mean) => ns(mean) * rng.exponential(),
            Self::Truncated(mean) => loop {
                // Its mean before it was cut: 1 + φ(1)/Φ(1) = 1.2876 times less.
                let x = 1.0 + normal(rng);
                if x > 0.0 {
                    return ns(mean) * x / 1.2876;
                }
            },
        }
    }
}

/// A standard normal sample (Box and Muller).
pub(super) fn normal(rng: &mut Rng) -> f64 {
    (2.0 * rng.exponential()).sqrt() * (std::f64::consts::TAU * rng.unit()).cos()
}

/// What a host does with a call that reaches it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Works on it.
    Up,
    /// Refuses it at once, as a machine without the process does; what it had is reset.
    Refuses,
    /// Says nothing, now or ever, as a machine without power does; what it had is lost.
    Silent,
    /// Answers a part of its calls this way, after this time and without working; the rest as if
    /// it were up.
    Answers {
        /// Part of the calls, 0 to 1.
        share: f64,
        /// With what.
        outcome: Outcome,
        /// After how long.
        after: Duration,
    },
}

/// A host as a scenario has it at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostModel {
    /// What a call costs here.
    pub work: Work,
    /// Calls worked on at once.
    pub slots: u32,
    /// What they share.
    pub cores: f64,
    /// What it does with calls.
    pub mode: Mode,
    /// Whether discovery knows it.
    pub listed: bool,
    /// As discovery has it.
    pub weight: u32,
}

impl HostModel {
    /// A plain latency: as many calls at once as there are.
    #[must_use]
    pub fn latency(work: Work) -> Self {
        Self {
            work,
            slots: u32::MAX,
            cores: f64::INFINITY,
            mode: Mode::Up,
            listed: true,
            weight: 1,
        }
    }

    /// A pool of threads.
    #[must_use]
    pub fn slots(work: Work, slots: u32) -> Self {
        Self {
            slots,
            cores: f64::from(slots),
            ..Self::latency(work)
        }
    }

    /// A processor that is shared.
    #[must_use]
    pub fn cores(work: Work, cores: f64) -> Self {
        Self {
            cores,
            ..Self::latency(work)
        }
    }
}

/// An attempt: its slot in the simulation and the generation that makes it unique.
pub(super) type AttemptId = (u32, u32);

/// Latencies of late by the number of calls that were there on arrival.
#[derive(Debug, Default)]
struct Medians(Vec<(u8, [f32; Self::KEPT])>);

impl Medians {
    const KEPT: usize = 8;

    fn record(&mut self, in_flight: u32, seconds: f64) {
        let at = in_flight.min(511) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, (0, [0.0; Self::KEPT]));
        }
        let (count, ring) = &mut self.0[at];
        ring[usize::from(*count) % Self::KEPT] = seconds as f32;
        // Past its first round the count only says where to write next.
        *count = if *count == 254 { 8 } else { *count + 1 };
    }

    /// The median where about `in_flight` were there: of the nearest number that has samples.
    fn near(&self, in_flight: u32) -> f64 {
        let at = in_flight as usize;
        let nearest = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, (count, _))| *count > 0);
        let Some((_, (count, ring))) = nearest.min_by_key(|(i, _)| i.abs_diff(at)) else {
            return 0.0;
        };
        let mut sorted = *ring;
        let sorted = &mut sorted[..usize::from(*count).min(Self::KEPT)];
        sorted.sort_unstable_by(f32::total_cmp);
        f64::from(sorted[sorted.len() / 2])
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) attempt: AttemptId,
    work: f64,
    reached: u64,
    in_flight: u32,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) model: HostModel,
    /// Work done for each call that has been here all along, in nanoseconds of one core.
    attained: f64,
    updated: u64,
    /// By what `attained` is when they are done.
    running: BinaryHeap<Reverse<(u64, u64)>>,
    jobs: Vec<Option<Job>>,
    free: Vec<u32>,
    serial: u32,
    queue: VecDeque<Job>,
    /// Calls that came and were not answered yet, those that wait for the next tier included.
    pub(super) in_flight: u32,
    /// Of the timer that is pending: an older one is void.
    pub(super) timer: u32,
    medians: Medians,
}

impl Host {
    pub(super) fn new(model: HostModel) -> Self {
        Self {
            model,
            attained: 0.0,
            updated: 0,
            running: BinaryHeap::new(),
            jobs: Vec::new(),
            free: Vec::new(),
            serial: 0,
            queue: VecDeque::new(),
            in_flight: 0,
            timer: 0,
            medians: Medians::default(),
        }
    }

    /// Cores that each call has.
    fn pace(&self) -> f64 {
        (self.model.cores / self.running.len().max(1) as f64).min(1.0)
    }

    /// Brings the work done up to `now`; to be called before anything changes.
    pub(super) fn advance(&mut self, now: u64) {
        let passed = now.saturating_sub(self.updated) as f64;
        self.attained += passed * self.pace();
        self.updated = now;
    }

    /// A call of the given luck comes.
    pub(super) fn push(&mut self, attempt: AttemptId, luck: &mut Rng, now: u64) {
        self.queue.push_back(Job {
            attempt,
            work: self.model.work.draw(luck).max(1.0),
            reached: now,
            in_flight: self.in_flight,
        });
        self.in_flight += 1;
    }

    /// Starts what may start, leaving out what is no longer wanted, and says in how many
    /// nanoseconds the next call is done.
    pub(super) fn start(&mut self, mut wanted: impl FnMut(AttemptId) -> bool) -> Option<u64> {
        while self.running.len() < self.model.slots as usize {
            let Some(job) = self.queue.pop_front() else {
                break;
            };
            if !wanted(job.attempt) {
                self.in_flight = self.in_flight.saturating_sub(1);
                continue;
            }
            let slot = self.free.pop().unwrap_or_else(|| {
                self.jobs.push(None);
                (self.jobs.len() - 1) as u32
            });
            self.jobs[slot as usize] = Some(job);
            self.serial += 1;
            let done = (self.attained + job.work) as u64;
            let order = u64::from(self.serial) << 32 | u64::from(slot);
            self.running.push(Reverse((done, order)));
        }
        let &Reverse((done, _)) = self.running.peek()?;
        let pace = self.pace();
        if pace <= 0.0 {
            return None;
        }
        Some((((done as f64 - self.attained).max(0.0) / pace).ceil() as u64).max(1))
    }

    /// A call whose work is done, if there is one.
    pub(super) fn finished(&mut self) -> Option<Job> {
        let &Reverse((done, order)) = self.running.peek()?;
        if done as f64 > self.attained + 1.0 {
            return None;
        }
        self.running.pop();
        let slot = order as u32;
        self.free.push(slot);
        self.jobs[slot as usize].take()
    }

    /// The answer to `job` leaves.
    pub(super) fn answered(&mut self, job: &Job, now: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let seconds = now.saturating_sub(job.reached) as f64 / 1e9;
        self.medians.record(job.in_flight, seconds);
    }

    /// Everything it had is gone.
    pub(super) fn clear(&mut self) -> Vec<AttemptId> {
        let mut gone: Vec<_> = self.queue.drain(..).map(|j| j.attempt).collect();
        while let Some(Reverse((_, order))) = self.running.pop() {
            let slot = order as u32;
            self.free.push(slot);
            gone.extend(self.jobs[slot as usize].take().map(|j| j.attempt));
        }
        self.in_flight = 0;
        gone
    }

    pub(super) fn load(&self) -> HostLoad {
        HostLoad {
            in_flight: self.in_flight,
            latency: Duration::from_secs_f64(self.medians.near(self.in_flight)),
        }
    }
}
