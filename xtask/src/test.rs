//! `cargo xtask test`.

use std::process::Command;
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use crate::debian;
use crate::generated;
use crate::run::{cargo, shown, summary};

/// How to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stops at the first step that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Leaves missing servers missing; tests that need them fail and say so.
    #[arg(long)]
    no_install: bool,
    /// Runs this step alone; may be given several times.
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(names()))]
    only: Vec<String>,
}

type Step = (&'static str, fn() -> Command);

/// Cheap and likely to fail first. Format and lints see what tests would only trip over.
const STEPS: &[Step] = &[
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("lints", || {
        let mut command = cargo(&["clippy", "--workspace", "--all-targets", "--all-features"]);
        command.args(["--locked", "--quiet", "--", "-D", "warnings"]);
        command
    }),
    ("tests", || {
        let mut command = cargo(&["test", "--workspace", "--all-features", "--all-targets"]);
        // One failing crate must not hide another.
        command.args(["--locked", "--no-fail-fast"]);
        command
    }),
    ("doc tests", || {
        let mut command = cargo(&["test", "--workspace", "--all-features", "--doc"]);
        command.args(["--locked", "--no-fail-fast"]);
        command
    }),
    ("docs", || {
        let mut command = cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
        command.args(["--locked", "--quiet"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        command
    }),
];

/// Made, checked, tested and started: see `generated`. The last, as it builds the most.
const GENERATED: &str = "generated project";

fn names() -> impl Iterator<Item = &'static str> {
    let commands = STEPS.iter().map(|(name, _)| *name);
    commands.chain([GENERATED])
}

fn step(name: &str) -> Result<Duration, String> {
    let command = STEPS.iter().find(|(of, _)| *of == name);
    command.map_or_else(generated::check, |(_, command)| shown(&mut command()))
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    if !args.no_install {
        debian::ensure()?;
    }
    let asked = |name: &&str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let steps: Vec<_> = names().filter(asked).collect();
    let mut results = Vec::new();
    for name in &steps {
        let result = step(name);
        let stop = args.fail_fast && result.is_err();
        results.push((*name, result));
        if stop {
            break;
        }
    }
    summary(&results, steps.len())
}
