//! The origin's capacity: N slots behind an unbounded queue, as a passive state machine.
//!
//! Time is absolute: a job that follows another begins at the instant the other *ended*, not when
//! the timer was handled, so lateness of the timer never adds up into lost capacity. That is what
//! makes `slots / service` the true capacity and not an upper bound.
//!
//! What happens when a caller leaves is a choice, because real servers differ: a thread pool
//! finds out only when it writes the answer, so it works for callers long gone
//! ([`Gone::Work`], the reason why overload turns into collapse); an asynchronous server drops
//! the work ([`Gone::Skip`]).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the origin does with work whose caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gone {
    /// Notices: leaves the queue, or frees the slot at once.
    #[default]
    Skip,
    /// Does the work all the same, as a thread pool would.
    Work,
}

/// Where one request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the queue.
    Waiting,
    /// Holds a slot while its body arrives; the service time has not begun.
    Reading,
    /// Holds a slot until its service time has passed.
    Serving,
    /// Served; the answer may be sent.
    Done,
}

#[derive(Debug)]
struct Job {
    standing: Standing,
    service: Duration,
    reads_body: bool,
    arrived: Instant,
    began: Instant,
    gone: Option<Instant>,
    waker: Option<Waker>,
}

/// Counts since the start. Work is slot time in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests that came in.
    pub arrived: u64,
    /// Requests that got a slot.
    pub started: u64,
    /// Requests whose service ended, with or without a caller.
    pub finished: u64,
    /// Service that ended when the caller had already gone.
    pub finished_for_gone: u64,
    /// Callers that left while waiting for a slot.
    pub gone_waiting: u64,
    /// Callers that left while holding a slot.
    pub gone_serving: u64,
    /// Requests in the queue now.
    pub waiting: u64,
    /// Slots in use now.
    pub busy: u64,
    /// The longest the queue has been.
    pub most_waiting: u64,
    /// The most requests at the origin at once, waiting or served.
    pub most_present: u64,
    /// Slot time spent, in seconds.
    pub work_s: f64,
    /// Slot time spent after the caller had gone, in seconds.
    pub gone_work_s: f64,
}

impl Stats {
    /// What happened since `earlier`; the gauges (`waiting`, `busy`, `most_*`) stay as they are.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            arrived: self.arrived - earlier.arrived,
            started: self.started - earlier.started,
            finished: self.finished - earlier.finished,
            finished_for_gone: self.finished_for_gone - earlier.finished_for_gone,
            gone_waiting: self.gone_waiting - earlier.gone_waiting,
            gone_serving: self.gone_serving - earlier.gone_serving,
            work_s: self.work_s - earlier.work_s,
            gone_work_s: self.gone_work_s - earlier.gone_work_s,
            ..self
        }
    }
}

/// N slots and their queue. Costs O(log N) a step.
#[derive(Debug)]
pub struct Slots {
    slots: usize,
    slows: f64,
    policy: Gone,
    jobs: BTreeMap<u64, Job>,
    next: u64,
    queue: VecDeque<u64>,
    queued: usize,
    ends: BinaryHeap<Reverse<(Instant, u64)>>,
    stats: Stats,
}

impl Slots {
    /// `slots` places; `slows` stretches a service time by `1 + slows × present / slots`, where
    /// present counts everything at the origin when the service begins (0: none).
    #[must_use]
    pub fn new(slots: usize, slows: f64, policy: Gone) -> Self {
        Self {
            slots,
            slows,
            policy,
            jobs: BTreeMap::new(),
            next: 0,
            queue: VecDeque::new(),
            queued: 0,
            ends: BinaryHeap::new(),
            stats: Stats::default(),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// How many places there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Changes the number of places; running work finishes, waiting work fills new places.
    pub fn set_slots(&mut self, slots: usize, now: Instant) {
        self.slots = slots;
        self.fill(now);
    }

    /// A request comes in. With `reads_body` it holds its slot in [`Standing::Reading`] until
    /// [`Slots::body_read`].
    pub fn enter(&mut self, service: Duration, reads_body: bool, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        let job = Job {
            standing: Standing::Waiting,
            service,
            reads_body,
            arrived: now,
            began: now,
            gone: None,
            waker: None,
        };
        self.jobs.insert(id, job);
        self.queue.push_back(id);
        self.queued += 1;
        self.stats.arrived += 1;
        self.fill(now);
        self.gauge();
        self.stats.most_waiting = self.stats.most_waiting.max(self.stats.waiting);
        let present = self.stats.waiting + self.stats.busy;
        self.stats.most_present = self.stats.most_present.max(present);
        id
    }

    /// Where the request stands, leaving `waker` to be woken when that changes. A request that is
    /// not known any more is done.
    pub fn standing(&mut self, id: u64, waker: &Waker) -> Standing {
        let Some(job) = self.jobs.get_mut(&id) else {
            return Standing::Done;
        };
        if job.standing != Standing::Done
            && !job
                .waker
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
        {
            job.waker = Some(waker.clone());
        }
        job.standing
    }

    /// The body is in: the service time begins now.
    pub fn body_read(&mut self, id: u64, now: Instant) {
        let stretch = self.stretch();
        if let Some(job) = self.jobs.get_mut(&id)
            && job.standing == Standing::Reading
        {
            job.standing = Standing::Serving;
            self.ends
                .push(Reverse((now + job.service.mul_f64(stretch), id)));
        }
    }

    /// The caller took its answer, or left before it was ready.
    pub fn leave(&mut self, id: u64, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let began = job.began;
        match job.standing {
            Standing::Done => {
                self.jobs.remove(&id);
                return;
            }
            Standing::Waiting => self.stats.gone_waiting += 1,
            Standing::Reading | Standing::Serving => self.stats.gone_serving += 1,
        }
        job.gone = Some(now);
        job.waker = None;
        match (job.standing, self.policy) {
            (Standing::Waiting, Gone::Skip) => {
                // Its entry in the queue goes stale and is passed over.
                self.jobs.remove(&id);
                self.queued -= 1;
            }
            // No more body will come, whatever the policy.
            (Standing::Reading, _) | (Standing::Serving, Gone::Skip) => {
                self.jobs.remove(&id);
                self.stats.busy -= 1;
                self.stats.work_s += now.saturating_duration_since(began).as_secs_f64();
                self.fill(now);
            }
            _ => {}
        }
        self.gauge();
    }

    /// Ends what is due at `now` and begins what follows, each at its exact instant.
    pub fn advance(&mut self, now: Instant) {
        while let Some(&Reverse((end, id))) = self.ends.peek() {
            if end > now {
                break;
            }
            self.ends.pop();
            self.end(id, end);
        }
    }

    /// When [`Slots::advance`] has work next.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.peek().map(|Reverse((end, _))| *end)
    }

    fn end(&mut self, id: u64, end: Instant) {
        // Unknown: its caller left and the slot is free already.
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        self.stats.busy -= 1;
        self.stats.finished += 1;
        self.stats.work_s += (end - job.began).as_secs_f64();
        if let Some(gone) = job.gone {
            self.stats.finished_for_gone += 1;
            let idle_from = gone.max(job.began);
            self.stats.gone_work_s += end.saturating_duration_since(idle_from).as_secs_f64();
            self.jobs.remove(&id);
        } else {
            job.standing = Standing::Done;
            if let Some(waker) = job.waker.take() {
                waker.wake();
            }
        }
        self.fill(end);
    }

    fn fill(&mut self, now: Instant) {
        while self.stats.busy < self.slots as u64 {
            let Some(id) = self.queue.pop_front() else {
                break;
            };
            let stretch = self.stretch();
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            self.queued -= 1;
            self.stats.busy += 1;
            self.stats.started += 1;
            job.began = now.max(job.arrived);
            if job.reads_body && job.gone.is_none() {
                job.standing = Standing::Reading;
                if let Some(waker) = job.waker.take() {
                    waker.wake();
                }
            } else {
                job.standing = Standing::Serving;
                let end = job.began + job.service.mul_f64(stretch);
                self.ends.push(Reverse((end, id)));
            }
        }
        self.gauge();
    }

    fn stretch(&self) -> f64 {
        let present = self.queued as f64 + self.stats.busy as f64;
        1.0 + self.slows * present / self.slots.max(1) as f64
    }

    fn gauge(&mut self) {
        self.stats.waiting = self.queued as u64;
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
