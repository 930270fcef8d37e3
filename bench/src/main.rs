//! `seawall-bench`: the origin, the load generator and the comparisons as one command.

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
