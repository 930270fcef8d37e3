//! Mutexes that are fought over: barging, handoff and spinning.
//!
//! Each thread takes the lock, works, lets go, and at once wants it again: the hardest case for
//! fairness. The clock is read before each lock and after it, about 50 ns in all that everyone pays.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    let work = |value: &mut u64| section(value, steps);
    if peer == STD {
        let mutex = std::sync::Mutex::new(0);
        on_threads(threads, length, || {
            let mut held = mutex
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let locked = Instant::now();
            work(&mut held);
            locked
        })
    } else if peer == PARKING_LOT {
        let mutex = parking_lot::Mutex::new(0);
        on_threads(threads, length, || {
            let mut held = mutex.lock();
            let locked = Instant::now();
            work(&mut held);
            locked
        })
    } else if peer == FAIR {
        let mutex = parking_lot::Mutex::new(0);
        on_threads(threads, length, || {
            let mut held = mutex.lock();
            let locked = Instant::now();
            work(&mut held);
            parking_lot::MutexGuard::unlock_fair(held);
            locked
        })
    } else if peer == SPIN {
        let taken = AtomicBool::new(false);
        on_threads(threads, length, || {
            while taken.swap(true, Ordering::Acquire) {
                while taken.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
            let locked = Instant::now();
            work(&mut 0);
            taken.store(false, Ordering::Release);
            locked
        })
    } else {
        in_tasks(threads, length, steps)
    }
}

/// About a nanosecond a step; at least one addition.
fn section(value: &mut u64, steps: u32) {
    for step in 0..=steps {
        *value = black_box(value.wrapping_add(u64::from(step)));
    }
}

/// What came of it.
struct Fought {
    locked: u64,
    longest: Duration,
    took: Duration,
}

impl Fought {
    fn metrics(&self) -> Vec<Metric> {
        let rate = self.locked as f64 / self.took.as_secs_f64() / 1e3;
        let longest = self.longest.as_secs_f64() * 1e6;
        vec![
            Metric::new("locked", "thousand/s", "", rate),
            Metric::new("longest wait", "µs", "", longest),
        ]
    }

    fn sum(parts: Vec<Self>) -> Self {
        let none = Self {
            locked: 0,
            longest: Duration::ZERO,
            took: Duration::ZERO,
        };
        parts.into_iter().fold(none, |all, part| Self {
            locked: all.locked + part.locked,
            longest: all.longest.max(part.longest),
            took: all.took.max(part.took),
        })
    }
}

/// `lock` locks, works, unlocks, and says when it had the lock.
fn on_threads(
    threads: usize,
    length: Duration,
    lock: impl Fn() -> Instant + Sync,
) -> anyhow::Result<Fought> {
    let parts = together::each(threads, |_| {
        let start = Instant::now();
        let mut count = Count::new(start);
        while count.now.duration_since(start) < length {
            count.add(lock());
        }
        count.end(start)
    })?;
    Ok(Fought::sum(parts))
}

/// As many tasks as there would be threads, on two workers.
fn in_tasks(tasks: usize, length: Duration, steps: u32) -> anyhow::Result<Fought> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    let mutex = std::sync::Arc::new(tokio::sync::Mutex::new(0));
    let started: Vec<_> = (0..tasks)
        .map(|_| {
            let mutex = std::sync::Arc::clone(&mutex);
            runtime.spawn(async move {
                let start = Instant::now();
                let mut count = Count::new(start);
                while count.now.duration_since(start) < length {
                    let mut held = mutex.lock().await;
                    let locked = Instant::now();
                    section(&mut held, steps);
                    drop(held);
                    count.add(locked);
                }
                count.end(start)
            })
        })
        .collect();
    let parts: Result<Vec<_>, _> = runtime.block_on(async {
        let mut parts = Vec::new();
        for task in started {
            parts.push(task.await);
        }
        parts.into_iter().collect()
    });
    Ok(Fought::sum(parts?))
}

/// One thread's or task's count.
struct Count {
    /// When it last wanted the lock.
    now: Instant,
    locked: u64,
    longest: Duration,
}

impl Count {
    fn new(now: Instant) -> Self {
        Self {
            now,
            locked: 0,
            longest: Duration::ZERO,
        }
    }

    fn add(&mut self, locked: Instant) {
        self.longest = self.longest.max(locked.duration_since(self.now));
        self.locked += 1;
        self.now = Instant::now();
    }

    fn end(self, start: Instant) -> Fought {
        Fought {
            locked: self.locked,
            longest: self.longest,
            took: start.elapsed(),
        }
    }
}
