//! `client`: what the caller's half costs: a breaker, a choice among hosts, a retry budget, each by
//! itself; and the gateway with all of it on.
//!
//! The decisions are handed the time, as a driver does that reads the clock once an event; the
//! libraries beside them read it themselves. Times are CPU time of the slowest thread.

mod balance;
mod breaker;
mod budget;
mod gateway;

use std::path::PathBuf;

use clap::Args;

use super::case::{Case, threads};
use super::rounds::compare;
use super::{CompareArgs, Metric, Sample, Scenario, Setup, Shape, together};

/// How to measure.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// A `seawall` of an earlier revision, to measure the gateway's CPU time beside.
    #[arg(long, value_name = "BINARY")]
    pub before: Option<PathBuf>,
    /// How to compare.
    #[command(flatten)]
    pub compare: CompareArgs,
}

/// Runs the measurements.
///
/// # Errors
/// Says which part could not be started.
pub fn client(args: &ClientArgs) -> anyhow::Result<()> {
    let cases = [breaker::cases(), balance::cases(), budget::cases()];
    let cases = cases
        .into_iter()
        .flatten()
        .map(|case| Box::new(case) as Box<dyn Scenario>);
    let whole = gateway::Whole::new(args.before.clone());
    let whole = std::iter::once(Box::new(whole) as Box<dyn Scenario>);
    compare("client", &args.compare, cases.chain(whole).collect())
}
