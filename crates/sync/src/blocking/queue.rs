//! What waits for a thread of the pool, and what runs on one.
//!
//! Under one lock: a caller that leaves finds its job in the queue, or knows that a thread has it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use slab::Slab;
use tokio::time::Instant;

use super::lock::{Condvar, Mutex};
use super::{Running, Stop, panics};

/// `H` is what a job holds to its end.
pub(super) struct Queue<H> {
    state: Mutex<State<H>>,
    work: Condvar,
}

struct State<H> {
    /// In the order in which they came.
    waiting: BTreeMap<u64, Job<H>>,
    next: u64,
    running: Slab<(Running, Stop)>,
    closed: bool,
}

pub(super) struct Job<H> {
    pub(super) name: Cow<'static, str>,
    pub(super) stop: Stop,
    pub(super) run: Box<dyn FnOnce(&Stop) + Send>,
    pub(super) held: H,
}

impl<H> Queue<H> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                next: 0,
                running: Slab::new(),
                closed: false,
            }),
            work: Condvar::new(),
        }
    }

    /// Stands in line. Dropped, the call takes the job out, or tells it to stop.
    pub(super) fn push(&self, job: Job<H>) -> Call<'_, H> {
        let stop = job.stop.clone();
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.waiting.insert(id, job);
        drop(state);
        self.work.notify_one();
        Call {
            queue: self,
            id,
            stop,
        }
    }

    /// What each thread does, until the queue is closed.
    pub(super) fn work(&self) {
        while let Some((place, job)) = self.next() {
            let Job {
                stop, run, held, ..
            } = job;
            // The closure's own panic is its caller's. What else may panic here is the destructor of
            // a result that nobody takes, which must not cost the pool a thread.
            let _ = catch_unwind(AssertUnwindSafe(|| run(&stop))).map_err(panics::message);
            self.state.lock().running.remove(place);
            drop(held);
        }
    }

    fn next(&self) -> Option<(usize, Job<H>)> {
        let mut state = self.state.lock();
        loop {
            if let Some((_, job)) = state.waiting.pop_first() {
                let running = Running {
                    name: job.name.clone(),
                    since: Instant::now(),
                    told: false,
                };
                let place = state.running.insert((running, job.stop.clone()));
                return Some((place, job));
            }
            if state.closed {
                return None;
            }
            state = self.work.wait(state);
        }
    }

    /// Drops what waits, tells what runs, and lets the threads end.
    pub(super) fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed = true;
            let running = state.running.iter();
            running.for_each(|(_, (_, stop))| stop.request());
            std::mem::take(&mut state.waiting)
        };
        self.work.notify_all();
        drop(waiting);
    }

    pub(super) fn running(&self) -> Vec<Running> {
        let state = self.state.lock();
        let told = |(_, (running, stop)): (usize, &(Running, Stop))| Running {
            told: stop.requested(),
            ..running.clone()
        };
        state.running.iter().map(told).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

/// A caller that waits; when it leaves, its closure is dropped or told.
pub(super) struct Call<'a, H> {
    queue: &'a Queue<H>,
    id: u64,
    stop: Stop,
}

impl<H> Drop for Call<'_, H> {
    fn drop(&mut self) {
        self.stop.request();
        let waiting = self.queue.state.lock().waiting.remove(&self.id);
        drop(waiting);
    }
}
