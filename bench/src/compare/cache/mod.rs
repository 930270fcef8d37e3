//! `cache`: what reaches the database when keys expire, when they never existed, when one key is
//! everyone's, when Redis dies and when a write races a read; and what a hit costs. Redis and MariaDB
//! are real and started here.
//!
//! A file a row of the table; to add one: the file, its name in the two lists below.

mod absent;
mod expiring;
mod filter;
mod gateway;
mod hit;
mod hot;
mod list;
mod outage;
mod race;
mod stampede;

pub use stampede::{WorkerArgs, worker};

use super::case::Case;
use super::rounds::compare;
use super::{CompareArgs, Metric, Scenario};

/// Runs the comparison.
///
/// # Errors
/// Says which part could not be started.
pub fn cache(args: &CompareArgs) -> anyhow::Result<()> {
    let mut scenarios: Vec<Box<dyn Scenario>> = Vec::new();
    scenarios.extend(boxed(stampede::cases()));
    scenarios.extend(boxed(expiring::cases()));
    scenarios.extend(boxed(race::cases()));
    scenarios.extend(boxed(absent::cases()));
    scenarios.extend(boxed(hot::cases()));
    scenarios.push(Box::new(outage::Outage));
    scenarios.extend(boxed(hit::cases()));
    scenarios.extend(boxed(list::cases()));
    scenarios.extend(boxed(filter::cases()));
    scenarios.extend(gateway::cases());
    compare("cache", args, scenarios)
}

fn boxed(cases: Vec<Case>) -> impl Iterator<Item = Box<dyn Scenario>> {
    cases
        .into_iter()
        .map(|case| Box::new(case) as Box<dyn Scenario>)
}

/// What the rows run on: as many threads as the machine of the figures has.
fn two_threads() -> std::io::Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()
}
