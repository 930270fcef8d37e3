//! `shop admin degrade on|off`: the switch, from a terminal of the machine that keeps the file.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::switch::{self, SwitchError};
use crate::config::Degrade;

/// Turns off what may be missing, or on again, for everyone and within a second
#[derive(Debug, Parser)]
#[command(name = "shop admin degrade")]
struct Args {
    /// On: recommendations are off
    state: State,
    /// The file that all services read
    #[arg(long, default_value = "shop.toml")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    On,
    Off,
}

/// Does what the arguments behind `degrade` say.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let name = std::iter::once("shop admin degrade".into());
    let args = match Args::try_parse_from(name.chain(arguments.iter().cloned())) {
        Ok(args) => args,
        Err(error) => {
            // Who asked may have gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(&args) {
        Ok(told) => {
            let _ = writeln!(std::io::stdout(), "{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "shop admin degrade: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, SwitchError> {
    let recommendations = matches!(args.state, State::Off);
    switch::write(&args.file, Degrade { recommendations })?;
    let state = if recommendations { "on" } else { "off" };
    Ok(format!(
        "recommendations are {state}: {}",
        args.file.display()
    ))
}
