//! `seawall check`: what is wrong with a file, and what a setting does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use seawall::config::{Config, SETTINGS, default_toml, explain, json_schema, setting};

use crate::Failure;

/// Check a configuration file, and learn what settings do.
///
/// Everything wrong with the file is told at once, by line, each with what the setting does and what
/// may stand there. Settings that are each right but work against one another are warned of.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  seawall check seawall.toml                    check a file
  seawall check --defaults > seawall.toml       a file with every setting, its default and its reason
  seawall check --explain admission.max_wait    what one setting does
  seawall check --explain listeners             what the settings of a section do
  seawall check --schema > seawall.schema.json  a JSON schema, for editors

Exit code: 0 when the file is right (warnings included), 1 when it is not.")]
pub(crate) struct Args {
    /// The file to check.
    #[arg(required_unless_present_any = ["defaults", "explain", "schema"])]
    file: Option<PathBuf>,
    /// Print a file that says nothing but the defaults.
    #[arg(long, exclusive = true)]
    defaults: bool,
    /// Print what a setting does, or every setting of a section.
    #[arg(long, value_name = "SETTING", exclusive = true)]
    explain: Option<String>,
    /// Print a JSON schema of the file.
    #[arg(long, exclusive = true)]
    schema: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let text = if args.defaults {
        default_toml()
    } else if args.schema {
        format!("{:#}\n", json_schema())
    } else if let Some(key) = &args.explain {
        explained(key)?
    } else if let Some(file) = &args.file {
        checked(file)?
    } else {
        return Err(Failure::new(
            "name a file to check, or see `seawall check --help`",
        ));
    };
    // A closed pipe is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn explained(key: &str) -> Result<String, Failure> {
    if let Some(setting) = setting(key) {
        return Ok(format!("{}\n", explain(setting)));
    }
    let section: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| {
            setting
                .key
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(['.', '[']))
        })
        .map(explain)
        .collect();
    if section.is_empty() {
        let text =
            format!("there is no setting `{key}`: `seawall check --defaults` prints all of them");
        return Err(Failure::new(text));
    }
    Ok(section.join("\n") + "\n")
}

/// Reads a file, or says what is wrong with it.
pub(crate) fn read(file: &Path) -> Result<(Config, String), Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(format!("cannot read {name}: {error}; `seawall check --defaults > {name}` writes one to begin with"))
    })?;
    match Config::parse(&text) {
        Ok(config) => Ok((config, text)),
        Err(errors) => {
            let count = errors.0.len();
            let mut told = format!(
                "{name} has {count} error{}\n",
                if count == 1 { "" } else { "s" }
            );
            for error in &errors.0 {
                let (line, column) = (error.position.line, error.position.column);
                let _ = writeln!(
                    told,
                    "\n{name}:{line}:{column}: `{}` {}",
                    error.key, error.problem
                );
                if let Some(setting) = setting(&error.key) {
                    for line in explain(setting).lines() {
                        let _ = writeln!(told, "    {line}");
                    }
                }
            }
            Err(Failure::new(told.trim_end()))
        }
    }
}

fn checked(file: &Path) -> Result<String, Failure> {
    let (config, text) = read(file)?;
    let name = file.display();
    let mut told = String::new();
    for warning in config.warnings() {
        let line = Config::position(&text, &warning.key).line;
        let _ = writeln!(
            told,
            "{name}:{line}: warning: `{}` {}",
            warning.key, warning.text
        );
    }
    let _ = writeln!(told, "{name} is right.");
    for (name, listener) in &config.listeners {
        let _ = writeln!(
            told,
            "  listens on {} ({name}, {:?})",
            listener.address, listener.trust
        );
    }
    for (name, upstream) in &config.upstreams {
        let _ = writeln!(told, "  sends to {} ({name})", upstream.url);
    }
    let shadow = if config.admission.shadow {
        ", in shadow: nobody is turned away"
    } else {
        ""
    };
    let _ = writeln!(
        told,
        "  protects by the {:?} limit{shadow}",
        config.admission.algorithm
    );
    let _ = writeln!(
        told,
        "  {} routes, {} lanes of its own",
        config.routes.len(),
        config.lanes.len()
    );
    Ok(told)
}
