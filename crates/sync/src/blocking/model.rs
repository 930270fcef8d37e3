//! The pool's queue under shuttle: its file is compiled a second time, with shuttle's lock.
//!
//! Every schedule that shuttle tries must end (a lost wake-up is a deadlock, which it reports), run
//! what is waited for exactly once, and leave nothing behind.

#![allow(clippy::duplicate_mod)]
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use shuttle::sync::mpsc;
use shuttle::thread;

use super::{Running, Stop};
use crate::panics;

mod lock {
    pub(super) use crate::primitives::model::{Condvar, Mutex};
}
#[path = "queue.rs"]
mod queue;

use queue::{Job, Queue};

const SCHEDULES: usize = 300;

/// Counts itself as long as it is held.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(held: &Arc<AtomicUsize>) -> Self {
        held.fetch_add(1, Relaxed);
        Self(held.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

struct Pool {
    queue: Arc<Queue<Held>>,
    threads: Vec<thread::JoinHandle<()>>,
    held: Arc<AtomicUsize>,
    ran: Arc<AtomicUsize>,
}

impl Pool {
    fn start(threads: usize) -> Self {
        let queue = Arc::new(Queue::new());
        let work = |queue: &Arc<Queue<Held>>| {
            let queue = queue.clone();
            thread::spawn(move || queue.work())
        };
        Self {
            threads: (0..threads).map(|_| work(&queue)).collect(),
            queue,
            held: Arc::default(),
            ran: Arc::default(),
        }
    }

    /// A closure that gives the scheduler a turn, and answers whether it was told to stop.
    fn job(&self) -> (Job<Held>, mpsc::Receiver<bool>) {
        let (tell, told) = mpsc::channel();
        let ran = self.ran.clone();
        let job = Job {
            name: "job".into(),
            stop: Stop::default(),
            run: Box::new(move |stop| {
                ran.fetch_add(1, Relaxed);
                thread::yield_now();
                let _ = tell.send(stop.requested());
            }),
            held: Held::new(&self.held),
        };
        (job, told)
    }

    /// Every thread ends, and nothing is left.
    fn end(self) -> usize {
        self.queue.close();
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!((self.queue.waiting(), self.queue.running().len()), (0, 0));
        assert_eq!(self.held.load(Relaxed), 0);
        self.ran.load(Relaxed)
    }
}

#[test]
fn each_closure_that_is_waited_for_runs_once() {
    shuttle::check_random(
        || {
            let pool = Pool::start(2);
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let (queue, (job, told)) = (pool.queue.clone(), pool.job());
                    thread::spawn(move || {
                        let _call = queue.push(job);
                        assert_eq!(told.recv(), Ok(false));
                    })
                })
                .collect();
            callers.into_iter().for_each(|c| c.join().unwrap());
            assert_eq!(pool.end(), 3);
        },
        SCHEDULES,
    );
}

#[test]
fn who_leaves_drops_or_tells_its_closure_and_no_other() {
    shuttle::check_random(
        || {
            let pool = Pool::start(1);
            let (queue, (stays, told)) = (pool.queue.clone(), pool.job());
            let stays = thread::spawn(move || {
                let _call = queue.push(stays);
                assert_eq!(told.recv(), Ok(false));
            });
            let (queue, (leaves, told)) = (pool.queue.clone(), pool.job());
            let leaves = thread::spawn(move || {
                drop(queue.push(leaves));
                // Dropped unrun, told while it ran, or done before: an answer in every case.
                let _ = told.recv();
            });
            stays.join().unwrap();
            leaves.join().unwrap();
            assert!((1..=2).contains(&pool.end()));
        },
        SCHEDULES,
    );
}

#[test]
fn closing_strands_no_caller_and_no_thread() {
    shuttle::check_random(
        || {
            let pool = Pool::start(2);
            // Nobody calls a pool that is gone, so both stand in line before it closes.
            let (pushed, in_line) = mpsc::channel();
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let (queue, (job, told)) = (pool.queue.clone(), pool.job());
                    let pushed = pushed.clone();
                    thread::spawn(move || {
                        let _call = queue.push(job);
                        pushed.send(()).unwrap();
                        // Unrun, it is dropped with the sender.
                        let _ = told.recv();
                    })
                })
                .collect();
            (0..2).for_each(|_| in_line.recv().unwrap());
            pool.queue.close();
            callers.into_iter().for_each(|c| c.join().unwrap());
            assert!(pool.end() <= 2);
        },
        SCHEDULES,
    );
}
