//! Signals of how busy this process is: CPU, the runtime's scheduling delay, queueing delay.
//!
//! All are read by one atomic load and none is needed to admit a call; they tell a limit that
//! watches the CPU when to act, and a person what is short. The CPU is that of the process's own
//! cgroup, measured against what that cgroup may use: a host's figure says nothing inside a
//! container. Parsing and filtering are pure; the thread and the files are thin shells around them.

mod cgroup;
mod cpu;
mod gauge;
mod runtime;
mod sampler;

pub use cgroup::{CpuLayout, UsageSource};
pub use cpu::CpuFilter;
pub use gauge::{Gauge, PeakGauge};
pub use runtime::{PROBE_INTERVAL, scheduling_delay};
pub use sampler::{CpuSampler, SAMPLE_INTERVAL};
