//! `cache`: what reaches the database when keys expire, when they never existed, when one key is
//! everyone's, when Redis dies and when a write races a read; and what a hit costs. Redis and MariaDB
//! are real and started here.
//!
//! A file a row of the table; to add one: the file, its name in the two lists below.

mod expiring;
mod hit;
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
    let cases = [
        stampede::cases(),
        expiring::cases(),
        race::cases(),
        hit::cases(),
    ]
    .into_iter()
    .flatten();
    let mut scenarios: Vec<_> = cases
        .map(|case| Box::new(case) as Box<dyn Scenario>)
        .collect();
    scenarios.push(Box::new(outage::Outage));
    compare("cache", args, scenarios)
}
