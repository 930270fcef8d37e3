//! The same work on several threads at once.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Runs `work(index)` on `threads` threads that begin together; nanoseconds an operation of the
/// slowest, where each thread does `operations`.
pub(super) fn nanoseconds(
    threads: usize,
    operations: u64,
    work: impl Fn(usize, u64) + Sync,
) -> anyhow::Result<f64> {
    let times = each(threads, |index| {
        let start = Instant::now();
        work(index, operations);
        start.elapsed()
    })?;
    let longest = times.into_iter().max().unwrap_or(Duration::ZERO);
    Ok(longest.as_nanos() as f64 / operations.max(1) as f64)
}

/// What `work(index)` returned on each of `threads` threads that begin together.
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
