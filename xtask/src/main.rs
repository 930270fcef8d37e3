//! `cargo xtask`: the tasks of this project, in one place and one language.
//!
//! What CI runs is what a contributor runs. It depends on clap alone, so that it builds in
//! seconds.

#![allow(
    clippy::print_stderr,
    reason = "a developer's terminal is where it is read"
)]

mod bench;
mod debian;
mod generated;
mod race;
mod run;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of this project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Checks everything a contribution must pass: format, lints, tests, doc tests, docs.
    ///
    /// Runs every step even when an earlier one failed, and ends with a summary. Servers the tests
    /// need are installed with apt-get when this runs as root; otherwise the line to type is
    /// printed and nothing else is done.
    Test(test::Args),
    /// Measures Seawall side by side with its peers: `overload`, `proxy`, `policy`, `client`,
    /// `faults` or `sync`.
    ///
    /// Builds the release profile of `seawall` and `seawall-bench`, then runs the latter with what
    /// follows. `cargo xtask bench overload --help` lists what that takes; `origin` and `load` run
    /// the origin and the load generator by themselves.
    ///
    /// Examples:
    ///   cargo xtask bench overload --quick
    ///   cargo xtask bench overload --only 0.8x --json rows.json
    ///   cargo xtask bench overload --origin slots=200,ms=100,dist=exponential,proto=h2
    ///   cargo xtask bench proxy --rounds 5
    ///   cargo xtask bench client --before ../before/target/release/seawall
    ///   cargo xtask bench faults --rows stopped --rows reload
    ///   cargo xtask bench shop --rows overload
    #[command(verbatim_doc_comment)]
    Bench(bench::Args),
    /// Looks for data races: ThreadSanitizer over tests and over the gateway under load.
    ///
    /// Checks first that it can: a fixture that races must be caught. Then run the tests of
    /// `seawall-sync` and `seawall-policy`, and a gateway with twice the load its origin can take;
    /// any report fails. Needs a nightly toolchain, without its sources, and x86-64 Linux; where
    /// they are missing nothing is checked and this fails.
    Race(race::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Race(args) => race::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
