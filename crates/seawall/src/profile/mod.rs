//! What a running program does: CPU, heap, tasks and locks.
//!
//! [`router`] is for the admin listener. It says nothing of who may ask: the listener does, by being
//! on loopback or by a token. What it answers is bounded all the same, since even its friends forget
//! a profile that runs: one at a time, a minute at most, ended when who asked leaves.
//!
//! What each part costs while nobody looks decided how it works:
//!
//! - *CPU*: nothing. A timer signal on every so much of CPU time, while a profile is taken
//!   ([`pprof`](https://docs.rs/pprof)). Linux `perf` sees more and needs rights that a container
//!   has not.
//! - *Heap*: jemalloc's own sampling, off until it is switched on. Only where the program has asked
//!   for jemalloc ([`heap_profiling!`](crate::heap_profiling), feature `jemalloc`).
//! - *Tasks*: the board of [`sync::tasks`](crate::sync::tasks), some 25 ns a request.
//! - *Locks*: nothing unless they are waited for ([`sync::lock`](crate::sync::lock)).
//! - *What blocks*: a thread that looks at the board fifty times a second. A poll that is still the
//!   same at the next look has kept its worker from every other task. The thread's state says whether
//!   it computes or waits in the kernel; its stack is not told, because only a signal handler in that
//!   very thread could take it: what computes is in the CPU profile, by its name, and what waits is in
//!   the table of locks or in the name of the kernel's function.
//! - *Runtimes*: the counters that tokio keeps anyway.
//!
//! docs/profiling.md finds a hot spot, a leak and a lock convoy with them.

mod cpu;
mod heap;
mod locks;
mod metrics;
mod pprof;
mod process;
mod runtime;
mod stacks;
mod tasks;
mod watch;

use axum::Router;
use axum::routing::get;

pub use crate::app::log_level;
pub use heap::is_supported as heap_is_supported;
#[cfg(feature = "jemalloc")]
pub use heap::{Jemalloc, MALLOC_CONF};
pub use metrics::Metrics;
pub use runtime::watch as watch_runtime;
pub use watch::{Blocked, blocked};

/// The longest CPU profile, in seconds.
pub const MAX_SECONDS: u64 = 60;
/// The most samples a second of CPU time.
pub const MAX_HZ: u64 = 1_000;

/// What the admin listener answers beside health and metrics. Starts the watch on what blocks.
///
/// | path | answers |
/// |---|---|
/// | `/profile/cpu?seconds=10&hz=99` | where CPU time goes, in pprof's format |
/// | `/profile/cpu.svg?seconds=10&hz=99` | the same as a flame graph |
/// | `/profile/heap`, `/profile/heap.svg` | what is allocated and by whom; `PUT /profile/heap?active=true` first |
/// | `/profile/locks` | which locks were waited for, where, for how long |
/// | `/profile/blocking` | which polls kept a worker from other tasks |
/// | `/tasks` | what is being worked on, since when, until when |
/// | `/runtime` | workers, queues, memory, CPU |
///
/// The last four answer JSON, or text for people with `?text`.
///
/// The level of the log is a router of its own ([`log_level`]), since it is about a log that the
/// program has made.
pub fn router() -> Router {
    watch::start();
    Router::new()
        .route("/profile/cpu", get(cpu::pprof))
        .route("/profile/cpu.svg", get(cpu::svg))
        .route("/profile/heap", get(heap::pprof).put(heap::switch))
        .route("/profile/heap.svg", get(heap::svg))
        .route("/profile/locks", get(locks::answer))
        .route("/profile/blocking", get(watch::answer))
        .route("/tasks", get(tasks::answer))
        .route("/runtime", get(runtime::answer))
}
