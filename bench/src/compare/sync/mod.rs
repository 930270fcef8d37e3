//! `sync`: what the concurrency kit costs beside what else there is, in process, no I/O.
//!
//! A file a subject; each hands out its [`Case`]s. To add one: the file, its name in the two lists
//! below, and for a library to compare with its dependency in `bench/Cargo.toml`.

mod flight;
mod lanes;
mod mutex;
mod padding;
mod pipeline;
mod pool;
mod snapshot;
mod tasks;

use super::case::{Case, threads};
use super::rounds::compare;
use super::{CompareArgs, Metric, Scenario, together};

/// Runs the measurements.
///
/// # Errors
/// Fails when a thread does.
pub fn sync(args: &CompareArgs) -> anyhow::Result<()> {
    let cases = [
        tasks::cases(),
        flight::cases(),
        snapshot::cases(),
        pool::cases(),
        pipeline::cases(),
        lanes::cases(),
        padding::cases(),
        mutex::cases(),
    ];
    let scenarios = cases.into_iter().flatten();
    compare(
        "sync",
        args,
        scenarios
            .map(|case| Box::new(case) as Box<dyn Scenario>)
            .collect(),
    )
}
