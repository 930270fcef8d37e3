//! The `seawall` command.
//!
//! This file is the only place that ends the process. A command returns what it has to say when it
//! fails, with the remedy in it.

/// Tells the operator, on stderr. Who cannot be told any more (a closed terminal, a full disk) is no
/// reason to die, as `eprintln!` would.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod cache;
mod check;
mod demo;
mod gateway;
mod new;
mod proto;
mod reload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps services standing when traffic, dependencies or machines misbehave.
#[derive(Debug, Parser)]
#[command(
    name = "seawall",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  seawall demo                                        see what it does, in under a minute
  seawall gateway --upstream http://127.0.0.1:3000    protect what listens on port 3000
  seawall check seawall.toml                          what is wrong with a file, by line
  seawall check --defaults > seawall.toml             a file to begin with
  seawall new shop                                    a service in Rust, ready to run
  seawall cache top                                   hit ratios, loads and hot keys")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Gateway(gateway::Args),
    Check(check::Args),
    New(new::Args),
    Proto(proto::Args),
    Cache(cache::Args),
}

/// Why a command failed: what to tell, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Failure {
    /// Something about the command line, the file or the system keeps it from working.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 1,
        }
    }
}

/// Writes to standard output what was asked for. A reader that has seen enough is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Gateway(args) => gateway::run(&args),
        Command::Check(args) => check::run(&args).map(|()| ExitCode::SUCCESS),
        Command::New(args) => new::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Proto(args) => proto::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Cache(args) => cache::run(&args).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(Failure { text, code }) => {
            tell!("seawall: {text}");
            ExitCode::from(code)
        }
    }
}
