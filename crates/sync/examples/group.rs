//! What a group costs beside tokio's `JoinSet`: spawn and join a million tasks that do nothing, on
//! two workers, and the memory of tasks that wait.
//!
//! `cargo run --profile quick -p seawall-sync --all-features --example group`
#![allow(clippy::print_stdout, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use seawall_sync::Group;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const TASKS: usize = 1_000_000;
const WAITING: usize = 100_000;
const ROUNDS: usize = 16;

fn main() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime can be built");
    let (mut set, mut group) = (Vec::new(), Vec::new());
    // By turns, and each first as often: a slow moment and the state of the heap meet both.
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            set.push(timed(&runtime, join_set()));
            group.push(timed(&runtime, grouped()));
        } else {
            group.push(timed(&runtime, grouped()));
            set.push(timed(&runtime, join_set()));
        }
    }
    report("wall", &set, &group, |(wall, _)| *wall);
    report("CPU", &set, &group, |(_, cpu)| *cpu);

    COUNTING.store(true, Relaxed);
    let before = held();
    let mut tasks = JoinSet::new();
    runtime.block_on(async {
        for _ in 0..WAITING {
            tasks.spawn(pending::<Result<(), Infallible>>());
        }
    });
    let of_set = (held() - before) / WAITING;
    let before = held();
    let mut tasks = Group::new();
    runtime.block_on(async {
        for _ in 0..WAITING {
            tasks.spawn(pending::<Result<(), Infallible>>());
        }
    });
    let of_group = (held() - before) / WAITING;
    println!("a waiting task of no state: JoinSet {of_set} bytes, Group {of_group} bytes");
}

async fn join_set() {
    let mut set = JoinSet::new();
    for _ in 0..TASKS {
        set.spawn(async { Ok::<_, Infallible>(()) });
    }
    let mut done = 0;
    while let Some(joined) = set.join_next().await {
        done += usize::from(joined.is_ok());
    }
    assert_eq!(done, TASKS);
}

async fn grouped() {
    let mut group = Group::new();
    for _ in 0..TASKS {
        group.spawn(async { Ok::<_, Infallible>(()) });
    }
    let done = group.join().await.all().map(|all| all.len());
    assert_eq!(done, Ok(TASKS));
}

/// Wall and CPU time. Run as a task, so that the spawning thread is a worker, too.
fn timed(
    runtime: &Runtime,
    work: impl Future<Output = ()> + Send + 'static,
) -> (Duration, Duration) {
    let (begun, used) = (Instant::now(), cpu_time());
    runtime
        .block_on(runtime.spawn(work))
        .expect("it does not panic");
    (begun.elapsed(), cpu_time() - used)
}

type Times = (Duration, Duration);

/// The least of the rounds is the one that the rest of the machine disturbed least; the median
/// says what is usual.
fn report(what: &str, set: &[Times], group: &[Times], pick: fn(&Times) -> Duration) {
    let rank = |times: &[Times], rank: usize| {
        let mut times: Vec<_> = times.iter().map(pick).collect();
        times.sort_unstable();
        times[rank].as_secs_f64() * 1e9 / TASKS as f64
    };
    for (name, at) in [("least", 0), ("median", ROUNDS / 2)] {
        let (set, group) = (rank(set, at), rank(group, at));
        let ratio = group / set;
        println!("{what}, {name}: JoinSet {set:.0} ns a task, Group {group:.0} ns, {ratio:.2} x");
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Counts bytes that are held.
struct Counting;

/// Only once nothing is timed any more: a shared counter would be what is measured.
static COUNTING: AtomicBool = AtomicBool::new(false);
static HELD: AtomicUsize = AtomicUsize::new(0);

fn held() -> usize {
    HELD.load(Relaxed)
}

// SAFETY: passes every call on to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Relaxed) {
            HELD.fetch_add(layout.size(), Relaxed);
        }
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTING.load(Relaxed) {
            HELD.fetch_sub(layout.size(), Relaxed);
        }
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
