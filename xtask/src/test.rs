//! `cargo xtask test`.

use std::process::Command;
use std::time::Duration;

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

pub(crate) fn run(args: &Args) -> Result<(), String> {
    if !args.no_install {
        debian::ensure()?;
    }
    let mut results: Vec<(&str, Result<Duration, String>)> = Vec::new();
    let mut stop = false;
    for (name, command) in STEPS {
        let result = shown(&mut command());
        stop = args.fail_fast && result.is_err();
        results.push((name, result));
        if stop {
            break;
        }
    }
    if !stop {
        results.push(("generated project", generated::check()));
    }
    summary(&results, STEPS.len() + 1)
}
