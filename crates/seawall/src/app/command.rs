//! The command line that every program has.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use super::config::{Sources, prefix};

/// Read where no other is named, if it is there.
const FILE: &str = "config.toml";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Run,
    Check,
    Print,
}

/// A command line that was read; what clap has to say otherwise.
pub(super) fn parse(
    name: &str,
    version: &str,
    about: &str,
    args: impl IntoIterator<Item = OsString>,
    environment: Vec<(String, String)>,
) -> Result<(Task, Sources), clap::Error> {
    let prefix = prefix(name);
    let command = command(name, version, about, &prefix);
    let args = std::iter::once(OsString::from(name)).chain(args);
    let matches = command.try_get_matches_from(args)?;
    let task = if matches.get_flag("check") {
        Task::Check
    } else if matches.get_flag("print-config") {
        Task::Print
    } else {
        Task::Run
    };
    let named = matches.get_one::<PathBuf>("config").cloned();
    let sources = Sources {
        file: named.or_else(|| Path::new(FILE).is_file().then(|| FILE.into())),
        environment,
        prefix,
        flags: matches
            .get_many("set")
            .unwrap_or_default()
            .cloned()
            .collect(),
    };
    Ok((task, sources))
}

fn command(name: &str, version: &str, about: &str, prefix: &str) -> Command {
    let after = format!(
        "\
Settings come from, the later over the earlier:
  their defaults     {name} --print-config
  a file             --config FILE; TOML, watched: a change takes effect without a restart, and a
                     bad one is refused whole
  the environment    {prefix}__HTTP__ADDRESS=0.0.0.0:8000, two underscores between names
  flags              --set http.address=0.0.0.0:8000

Secrets are written \"env:NAME\" or \"file:PATH\".

Examples:
  {name} --print-config > config.toml    a file to begin with
  {name} --config config.toml --check    what is wrong with it, by line
  {name} --set log.level=debug           run it, and have more said

While it runs:
  curl 127.0.0.1:9900/readyz             whether it serves; /livez, /metrics, /config
  curl -X PUT -d debug 127.0.0.1:9900/log-level
  kill -TERM PID                         say that it goes, serve for drain.delay, finish within
                                         drain.timeout, stop; a second signal ends at once
  kill -HUP PID                          with a file: read it again, at once

Exit code: 0 after a good end, 1 when it cannot start or go on, 2 for a wrong command line, 3 when
the drain's time was up before everything had finished, 130 when a second signal broke the drain off."
    );
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Command::new(name.to_owned())
        .version(version.to_owned())
        .about(about.to_owned())
        .max_term_width(100)
        .after_help(after)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("The configuration file [default: config.toml, if there is one]"),
        )
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("A setting, over those of the file and the environment; may be repeated"),
        )
        .arg(
            flag("check", "Say what is wrong with the configuration, and end")
                .conflicts_with("print-config"),
        )
        .arg(flag(
            "print-config",
            "Print every setting as it would be in force, and end",
        ))
}
