//! The thread that reads the CPU's files.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::thread::sched_getaffinity;
use rustix::time::{ClockId, clock_gettime};

use super::cgroup::{CpuLayout, UsageSource};
use super::cpu::CpuFilter;
use super::gauge::Gauge;
use crate::clock::Clock;

/// How often the CPU is read.
pub const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// A quota may be changed while we run; it is read again every so many samples.
const QUOTA_EVERY: u32 = 50;

/// CPU use of the process's own cgroup, sampled on a thread of its own (`seawall-cpu`), because a
/// runtime that is short of CPU is late exactly when this matters. Dropping it ends the thread.
///
/// Costs two small file reads every 100 ms.
#[derive(Debug)]
pub struct CpuSampler {
    value: Arc<Gauge>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CpuSampler {
    /// Finds the process's group and starts sampling.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<Self> {
        Self::start_at(CpuLayout::discover(Path::new("/")), Clock::system())
    }

    fn start_at(layout: CpuLayout, clock: Clock) -> io::Result<Self> {
        let value = Arc::new(Gauge::default());
        let (stop, stopped) = channel::<()>();
        let gauge = Arc::clone(&value);
        let thread = thread::Builder::new()
            .name("seawall-cpu".to_owned())
            .spawn(move || {
                let mut samples = Samples::new(layout);
                while stopped.recv_timeout(SAMPLE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    gauge.set(samples.take(&clock));
                }
            })?;
        Ok(Self {
            value,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Use of what the group may use, 0 to 1; `None` before the second sample. One atomic load.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        self.value.get()
    }

    /// The value alone, to hand to whoever reads it.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.value)
    }
}

impl Drop for CpuSampler {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; if it did, it has ended all the same.
            let _ = thread.join();
        }
    }
}

struct Samples {
    layout: CpuLayout,
    filter: CpuFilter,
    cpus: f64,
    until_quota: u32,
}

impl Samples {
    fn new(layout: CpuLayout) -> Self {
        Self {
            layout,
            filter: CpuFilter::default(),
            cpus: 1.0,
            until_quota: 0,
        }
    }

    /// One reading. A file that cannot be read leaves the last average.
    fn take(&mut self, clock: &Clock) -> Option<f64> {
        if self.until_quota == 0 {
            self.until_quota = QUOTA_EVERY;
            self.cpus = allowed_cpus().min(self.layout.read_quota().unwrap_or(f64::INFINITY));
        }
        self.until_quota -= 1;
        let used = match self.layout.usage {
            UsageSource::Process => Some(process_time()),
            _ => self.layout.read_usage(),
        };
        if used.is_none() {
            // The group may have been left; look where the process is now.
            self.layout = CpuLayout::discover(Path::new("/"));
            self.filter = CpuFilter::default();
        }
        self.filter.update(clock.now(), used?, self.cpus)
    }
}

/// CPUs that the process may run on: affinity and cpuset together, as the kernel sees them.
fn allowed_cpus() -> f64 {
    let counted = sched_getaffinity(None)
        .map(|set| set.count())
        .ok()
        .filter(|n| *n > 0);
    // More CPUs than the set holds, or no such call: what the standard library makes of it.
    counted.map_or_else(
        || thread::available_parallelism().map_or(1.0, |n| n.get() as f64),
        f64::from,
    )
}

/// CPU time of all threads of this process so far.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_sampled() {
        let clock = Clock::manual();
        let mut samples = Samples::new(CpuLayout::discover(Path::new("/")));
        assert_eq!(samples.take(&clock), None);
        clock.advance(SAMPLE_INTERVAL);
        let share = samples.take(&clock);
        assert!(share.is_some_and(|s| (0.0..=1.0).contains(&s)), "{share:?}");
        assert!(samples.cpus > 0.0 && samples.cpus <= 100_000.0);
    }

    #[test]
    fn the_thread_ends_with_its_owner() {
        let sampler = CpuSampler::start().unwrap();
        let gauge = sampler.gauge();
        drop(sampler);
        assert_eq!(Arc::strong_count(&gauge), 1, "the thread has let go of it");
    }

    #[test]
    fn the_process_clock_moves_forward() {
        let before = process_time();
        let mut n = 0u64;
        while process_time() == before {
            n = std::hint::black_box(n + 1);
        }
        assert!(process_time() > before);
        assert!(allowed_cpus() >= 1.0);
    }
}
