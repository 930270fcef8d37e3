//! `cargo xtask bench`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::run::{cargo, line, shown, target};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Builds with this profile; `quick` builds faster and is good for trying things out.
    #[arg(long, default_value = "release")]
    profile: String,
    /// The comparison and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "NAME [ARGUMENTS]"
    )]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    // One build for both: the benches look for `seawall` beside themselves.
    let mut build = cargo(&["build", "--locked", "--profile", &args.profile]);
    build.args(["--package", "seawall-cli", "--package", "seawall-bench"]);
    let servers = match args.rest.first().map(String::as_str) {
        Some("kit") => Some("seawall-bench-kit"),
        Some("shop") => Some("shop"),
        _ => None,
    };
    if let Some(servers) = servers {
        let mut build = cargo(&["build", "--locked", "--profile", &args.profile]);
        shown(build.args(["--package", servers]))?;
    }
    shown(&mut build)?;
    let folder = match args.profile.as_str() {
        "dev" => "debug",
        profile => profile,
    };
    let bench = target().join(folder).join("seawall-bench");
    // In our place: what is sent to end us is to reach it, which ends its servers.
    let mut bench = Command::new(bench);
    let line = line(bench.args(&args.rest));
    eprintln!("\n$ {line}");
    let error = bench.exec();
    Err(format!("cannot run `{line}`: {error}"))
}
