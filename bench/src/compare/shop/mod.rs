//! `shop`: what customers see of a shop of several services (`examples/shop`), each instance a
//! process of its own, when far too many come, when instances hang or are slow, and when everything
//! is restarted.
//!
//! All of it shares a machine, so what is scarce is planted: an instance of the catalog has slots
//! that are held for a time (`[plant]`), which is far less than the processors could do.

mod bed;
mod overload;
mod restart;

use super::rounds::compare;
use super::{CompareArgs, Scenario};

/// Runs the comparison.
///
/// # Errors
/// Says which part could not be started.
pub fn shop(args: &CompareArgs) -> anyhow::Result<()> {
    let scenarios: Vec<Box<dyn Scenario>> =
        vec![Box::new(overload::Overload), Box::new(restart::Restart)];
    compare("shop", args, scenarios)
}
