//! `cache`: what reaches the database when keys expire, when they never existed, when one key is
//! everyone's, when Redis dies and when a write races a read; and what a hit costs. Redis and MariaDB
//! are real and started here.
//!
//! A file a row of the table; to add one: the file, its name in the two lists below.

mod outage;

use super::rounds::compare;
use super::{CompareArgs, Scenario};

/// Runs the comparison.
///
/// # Errors
/// Says which part could not be started.
pub fn cache(args: &CompareArgs) -> anyhow::Result<()> {
    let scenarios: Vec<Box<dyn Scenario>> = vec![Box::new(outage::Outage)];
    compare("cache", args, scenarios)
}
