//! Mutexes that are fought over: barging, handoff and spinning.
//!
//! Each thread takes the lock, works, lets go, and at once wants it again: the hardest case for
//! fairness. The clock is read before each lock and after it, about 50 ns in all that everyone pays.
//!
//! Wall time tells what a user of the lock feels, and is worth little on a machine with other work:
//! a holder that is preempted keeps everyone waiting. Two figures survive that: the CPU time a lock
//! costs, its waiters' spinning and sleeping included, and how often a waiter was passed over, which
//! is what barging is.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall_sync::CachePadded;

use super::{Case, Metric, threads, together};
use crate::peers::Peer;

const STD: Peer = Peer::Library("std");
const PARKING_LOT: Peer = Peer::Library("parking_lot");
const FAIR: Peer = Peer::Library("parking_lot fair");
const TOKIO: Peer = Peer::Library("tokio");
const SPIN: Peer = Peer::Library("spin");

/// How long a run of full length takes, in seconds.
const LENGTH: f64 = 0.6;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (section, steps) in [("short", 0), ("long", 20_000)] {
        for count in [2, 4] {
            let name = format!("mutex, {section} section, {}", threads(count));
            let peers = [STD, PARKING_LOT, FAIR, TOKIO, SPIN];
            cases.push(Case::new(name, &peers, move |peer, setup| {
                let length = Duration::from_secs_f64(setup.length(LENGTH));
                let fought = fight(peer, count, length, steps)?;
                Ok(fought.metrics())
            }));
        }
    }
    cases
}

fn fight(peer: Peer, threads: usize, length: Duration, steps: u32) -> anyhow::Result<Fought> {
    if peer == TOKIO {
        return in_tasks(threads, length, steps);
    }
    let served = Served::default();
    let work = |value: &mut u64| served.turn(value, steps);
    if peer == STD {
        let mutex = std::sync::Mutex::new(0);
        on_threads(threads, length, &served, || {
            let mut held = mutex
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            work(&mut held)
        })
    } else if peer == PARKING_LOT {
        let mutex = parking_lot::Mutex::new(0);
        on_threads(threads, length, &served, || {
            let mut held = mutex.lock();
            work(&mut held)
        })
    } else if peer == FAIR {
        let mutex = parking_lot::Mutex::new(0);
        on_threads(threads, length, &served, || {
            let mut held = mutex.lock();
            let turn = work(&mut held);
            parking_lot::MutexGuard::unlock_fair(held);
            turn
        })
    } else {
        let taken = AtomicBool::new(false);
        on_threads(threads, length, &served, || {
            while taken.swap(true, Ordering::Acquire) {
                while taken.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
            let turn = work(&mut 0);
            taken.store(false, Ordering::Release);
            turn
        })
    }
}

/// How many have had the lock; counted by who has it.
#[derive(Default)]
struct Served(CachePadded<AtomicU64>);

/// When a waiter had the lock, and how many before it.
struct Turn {
    at: Instant,
    number: u64,
}

impl Served {
    /// What the lock's holder does: at least one addition, and about a nanosecond a step.
    fn turn(&self, value: &mut u64, steps: u32) -> Turn {
        let turn = Turn {
            at: Instant::now(),
            number: self.0.fetch_add(1, Ordering::Relaxed),
        };
        for step in 0..=steps {
            *value = black_box(value.wrapping_add(u64::from(step)));
        }
        turn
    }
}

/// What came of it.
struct Fought {
    locked: u64,
    longest: Duration,
    passed_over: u64,
    cpu: Duration,
    took: Duration,
}

impl Fought {
    fn metrics(&self) -> Vec<Metric> {
        let rate = self.locked as f64 / self.took.as_secs_f64() / 1e3;
        let cpu = self.cpu.as_secs_f64() * 1e9 / self.locked.max(1) as f64;
        let longest = self.longest.as_secs_f64() * 1e6;
        vec![
            Metric::new("locked", "thousand/s", "", rate),
            Metric::new("CPU a lock", "ns", "", cpu),
            Metric::new("longest wait", "µs", "", longest),
            Metric::new("passed over", "times at most", "", self.passed_over as f64),
        ]
    }

    fn sum(parts: Vec<Count>, took: Duration, cpu: Duration) -> Self {
        Self {
            locked: parts.iter().map(|part| part.locked).sum(),
            longest: parts
                .iter()
                .map(|part| part.longest)
                .max()
                .unwrap_or_default(),
            passed_over: parts
                .iter()
                .map(|part| part.passed_over)
                .max()
                .unwrap_or_default(),
            cpu,
            took,
        }
    }
}

/// `lock` locks, works and unlocks.
fn on_threads(
    threads: usize,
    length: Duration,
    served: &Served,
    lock: impl Fn() -> Turn + Sync,
) -> anyhow::Result<Fought> {
    let (start, cpu) = (Instant::now(), together::process_cpu());
    let parts = together::each(threads, |_| {
        let mut count = Count::new(served);
        while count.now.duration_since(start) < length {
            count.add(&lock(), served);
        }
        count
    })?;
    let cpu = together::process_cpu().saturating_sub(cpu);
    Ok(Fought::sum(parts, start.elapsed(), cpu))
}

/// As many tasks as there would be threads, on two workers.
fn in_tasks(tasks: usize, length: Duration, steps: u32) -> anyhow::Result<Fought> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    let shared = Arc::new((tokio::sync::Mutex::new(0), Served::default()));
    let (start, cpu) = (Instant::now(), together::process_cpu());
    let started: Vec<_> = (0..tasks)
        .map(|_| {
            let shared = Arc::clone(&shared);
            runtime.spawn(async move {
                let (mutex, served) = &*shared;
                let mut count = Count::new(served);
                while count.now.duration_since(start) < length {
                    let mut held = mutex.lock().await;
                    let turn = served.turn(&mut held, steps);
                    drop(held);
                    count.add(&turn, served);
                }
                count
            })
        })
        .collect();
    let parts = started.into_iter().map(|task| runtime.block_on(task));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let cpu = together::process_cpu().saturating_sub(cpu);
    Ok(Fought::sum(parts, start.elapsed(), cpu))
}

/// One thread's or task's count.
struct Count {
    /// When it last wanted the lock, and how many had had it by then.
    now: Instant,
    before: u64,
    locked: u64,
    longest: Duration,
    passed_over: u64,
}

impl Count {
    fn new(served: &Served) -> Self {
        Self {
            now: Instant::now(),
            before: served.0.load(Ordering::Relaxed),
            locked: 0,
            longest: Duration::ZERO,
            passed_over: 0,
        }
    }

    /// It had this turn, and wants the next.
    fn add(&mut self, turn: &Turn, served: &Served) {
        self.longest = self.longest.max(turn.at.duration_since(self.now));
        self.passed_over = self.passed_over.max(turn.number - self.before);
        self.locked += 1;
        self.before = served.0.load(Ordering::Relaxed);
        self.now = Instant::now();
    }
}
