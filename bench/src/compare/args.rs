//! What a comparison is told on the command line.

use std::path::PathBuf;

use clap::Args;

use super::Shape;

/// How to compare.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub rounds: u64,
    /// Only scenarios whose name contains NAME; may be given again.
    #[arg(long, visible_alias = "rows", value_name = "NAME")]
    pub only: Vec<String>,
    /// Only these peers, by their names in the table, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// One round of a third of the length: rough figures, to try things out.
    #[arg(long)]
    pub quick: bool,
    /// Also writes the rows to FILE, as a list of {name, value, unit, peer, peer_value}.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How late the load generator may be at its 99th percentile, in milliseconds, before a run is
    /// void. Raise it only to try things out on a busy machine.
    #[arg(long, value_name = "MS", default_value_t = 1.0)]
    pub max_lateness_ms: f64,
    /// Lists the scenarios and ends.
    #[arg(long)]
    pub list: bool,
}

/// How to compare under overload.
#[derive(Debug, Clone, Args)]
pub struct OverloadArgs {
    /// An origin of another shape, for example
    /// `slots=2,ms=2000,dist=fixed,proto=h2,slows=0.5`; one above 2,000 requests a second is
    /// simulated with the same decision code.
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub origin: Option<Shape>,
    /// How to compare.
    #[command(flatten)]
    pub compare: CompareArgs,
}
