//! `seawall-bench`: the origin, the load generator and the comparisons as one command.

#![allow(
    clippy::print_stderr,
    reason = "a developer's terminal is where it is read"
)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seawall-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
