//! What the runtimes, the process and the allocator count.

use std::time::{Duration, Instant};

use axum::response::Response;
use http::Uri;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::{Handle, RuntimeMetrics};

use super::process::Process;
use crate::app::admin::asked::json_or_text;
use crate::app::admin::refused::Refused;

/// A runtime under watch.
struct Watched {
    name: String,
    metrics: RuntimeMetrics,
    /// Busy time at the last two readings, a second apart.
    readings: [Option<(Instant, Duration)>; 2],
}

static RUNTIMES: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Tells of a runtime under `name` in `/runtime` and in [`Metrics`](super::Metrics). One of the same
/// name takes the place of the former.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// seawall::profile::watch_runtime("main", runtime.handle());
/// ```
pub fn watch(name: impl Into<String>, runtime: &Handle) {
    let name = name.into();
    let mut runtimes = RUNTIMES.lock();
    runtimes.retain(|watched| watched.name != name);
    runtimes.push(Watched {
        name,
        metrics: runtime.metrics(),
        readings: [None; 2],
    });
}

/// What a runtime counts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Runtime {
    pub(super) name: String,
    pub(super) workers: usize,
    /// Share of its workers' time that was spent on tasks in the last second, 0 to 1; null in the
    /// first two.
    pub(super) busy: Option<f64>,
    pub(super) busy_seconds: f64,
    pub(super) tasks: usize,
    /// Tasks in the queue that workers share. Their own queues stable tokio does not tell.
    pub(super) queued: usize,
    pub(super) parks: u64,
}

#[cfg(target_has_atomic = "64")]
fn busy(metrics: &RuntimeMetrics) -> (Duration, u64) {
    (0..metrics.num_workers()).fold((Duration::ZERO, 0), |(time, parks), worker| {
        let busy = metrics.worker_total_busy_duration(worker);
        (time + busy, parks + metrics.worker_park_count(worker))
    })
}

#[cfg(not(target_has_atomic = "64"))]
fn busy(_: &RuntimeMetrics) -> (Duration, u64) {
    (Duration::ZERO, 0)
}

/// A reading of every runtime, for the busy share.
pub(super) fn read_all(now: Instant) {
    for watched in RUNTIMES.lock().iter_mut() {
        let reading = (now, busy(&watched.metrics).0);
        watched.readings = [watched.readings[1], Some(reading)];
    }
}

pub(super) fn runtimes() -> Vec<Runtime> {
    let runtimes = RUNTIMES.lock();
    let runtimes = runtimes.iter().map(|watched| {
        let metrics = &watched.metrics;
        let (time, parks) = busy(metrics);
        Runtime {
            name: watched.name.clone(),
            workers: metrics.num_workers(),
            busy: share(watched.readings, metrics.num_workers()),
            busy_seconds: time.as_secs_f64(),
            tasks: metrics.num_alive_tasks(),
            queued: metrics.global_queue_depth(),
            parks,
        }
    });
    runtimes.collect()
}

fn share(readings: [Option<(Instant, Duration)>; 2], workers: usize) -> Option<f64> {
    let [Some(before), Some(after)] = readings else {
        return None;
    };
    let time = after.0.saturating_duration_since(before.0).as_secs_f64() * workers as f64;
    let busy = after.1.saturating_sub(before.1).as_secs_f64();
    (time > 0.0).then(|| (busy / time).clamp(0.0, 1.0))
}

/// What jemalloc counts, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Allocator {
    /// By the program.
    pub(super) allocated: usize,
    /// In pages with something allocated in them.
    pub(super) active: usize,
    /// In memory, the allocator's own included.
    pub(super) resident: usize,
    /// Kept for later, given back to the kernel.
    pub(super) retained: usize,
}

#[cfg(feature = "jemalloc")]
pub(super) fn allocator() -> Option<Allocator> {
    use tikv_jemalloc_ctl::{epoch, stats};

    if !super::heap::is_allocator() {
        return None;
    }
    // What follows is of the last advance.
    epoch::advance().ok()?;
    Some(Allocator {
        allocated: stats::allocated::read().ok()?,
        active: stats::active::read().ok()?,
        resident: stats::resident::read().ok()?,
        retained: stats::retained::read().ok()?,
    })
}

#[cfg(not(feature = "jemalloc"))]
pub(super) fn allocator() -> Option<Allocator> {
    None
}

#[derive(Serialize)]
struct Answer {
    runtimes: Vec<Runtime>,
    process: Process,
    allocator: Option<Allocator>,
}

pub(super) async fn answer(uri: Uri) -> Result<Response, Refused> {
    let answer = Answer {
        runtimes: runtimes(),
        process: Process::read(),
        allocator: allocator(),
    };
    json_or_text(&uri, &answer, text)
}

fn text(answer: &Answer) -> String {
    use std::fmt::Write;

    let mut out = String::new();
    for runtime in &answer.runtimes {
        let busy = runtime.busy.map_or("unknown".to_owned(), |busy| {
            format!("{:.0} % busy", busy * 100.0)
        });
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            out,
            "runtime {}: {} workers, {busy}, {} tasks, {} queued",
            runtime.name, runtime.workers, runtime.tasks, runtime.queued
        );
    }
    let process = answer.process;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let _ = writeln!(
        out,
        "process: {:.1} s of CPU, {:.1} MiB resident, {} threads, {} descriptors",
        process.cpu_seconds.unwrap_or_default(),
        mib(process.resident_bytes.unwrap_or_default()),
        process.threads.unwrap_or_default(),
        process.open_fds.unwrap_or_default()
    );
    if let Some(allocator) = answer.allocator {
        let _ = writeln!(
            out,
            "jemalloc: {:.1} MiB allocated, {:.1} active, {:.1} resident, {:.1} retained",
            mib(allocator.allocated as u64),
            mib(allocator.active as u64),
            mib(allocator.resident as u64),
            mib(allocator.retained as u64)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_that_between_two_readings() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let reading = |seconds, busy| Some((start + second * seconds, second * busy));
        assert_eq!(share([None, reading(1, 1)], 2), None);
        assert_eq!(share([reading(1, 1), reading(3, 2)], 2), Some(0.25));
        assert_eq!(share([reading(1, 1), reading(1, 2)], 2), None);
        // A counter that goes backwards is no use of negative time.
        assert_eq!(share([reading(1, 2), reading(2, 1)], 2), Some(0.0));
        assert_eq!(share([reading(1, 1), reading(2, 2)], 0), None);
    }
}
