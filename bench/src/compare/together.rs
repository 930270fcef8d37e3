//! The same work on several threads at once.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::Metric;

/// Runs `work(index, operations)` on `threads` threads that begin together: what an operation costs
/// the slowest, in CPU time of the thread, and the least share of the time that a thread ran.
///
/// CPU time, for what else the machine does takes nothing away from it. It does keep the threads
/// from running at the same time, and so from meeting: far below 100 % on a CPU, a figure of
/// several threads is that of one.
pub(super) fn cost(
    name: &'static str,
    goal: &'static str,
    threads: usize,
    operations: u64,
    work: impl Fn(usize, u64) + Sync,
) -> anyhow::Result<Vec<Metric>> {
    let times = each(threads, |index| {
        let (start, used) = (Instant::now(), cpu_time());
        work(index, operations);
        (start.elapsed(), cpu_time().saturating_sub(used))
    })?;
    let slowest = times.iter().map(|(_, used)| used.as_secs_f64());
    let nanos = slowest.fold(0.0, f64::max) * 1e9 / operations.max(1) as f64;
    let shares = times
        .iter()
        .map(|(took, used)| 100.0 * used.as_secs_f64() / took.as_secs_f64());
    Ok(vec![
        Metric::new(name, "ns", goal, nanos),
        Metric::new("on a CPU", "%", "", shares.fold(100.0, f64::min)),
    ])
}

/// What `work(index)` returned on each of `threads` threads that begin together, each on a CPU of
/// its own while there are as many.
pub(super) fn each<T: Send>(
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
) -> anyhow::Result<Vec<T>> {
    let begin = Barrier::new(threads);
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|index| {
                let (begin, work) = (&begin, &work);
                scope.spawn(move || {
                    pin(index);
                    begin.wait();
                    work(index)
                })
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().ok().context("a measuring thread panicked"))
            .collect()
    })
}

/// Does `pass`, of so many operations, several times: what one costs in CPU time of the process, and
/// in wall time, each in the quickest pass: the one that the rest of the machine disturbed least.
pub(super) fn passes(
    name: &'static str,
    goal: &'static str,
    operations: usize,
    passes: usize,
    mut pass: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Metric>> {
    let (mut wall, mut cpu) = (f64::MAX, f64::MAX);
    for _ in 0..passes.max(1) {
        let (start, used) = (Instant::now(), process_cpu());
        pass()?;
        let per_one = 1e9 / operations.max(1) as f64;
        wall = wall.min(start.elapsed().as_secs_f64() * per_one);
        cpu = cpu.min(process_cpu().saturating_sub(used).as_secs_f64() * per_one);
    }
    Ok(vec![
        Metric::new(name, "ns of CPU", goal, cpu),
        Metric::new("wall time", "ns", "", wall),
    ])
}

/// A runtime with so many workers.
pub(super) fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_time()
        .build()
}

fn cpu_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// CPU time of the whole process.
pub(super) fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or(Duration::ZERO)
}

/// Keeps the calling thread on one of the CPUs it may use. Otherwise a busy machine puts two
/// threads on one CPU, where they never meet.
fn pin(index: usize) {
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect();
    let mut one = CpuSet::new();
    if let Some(cpu) = cpus.get(index % cpus.len().max(1)) {
        one.set(*cpu);
        // Where it is not allowed, the share on a CPU tells what the figure is worth.
        let _ = sched_setaffinity(None, &one);
    }
}
