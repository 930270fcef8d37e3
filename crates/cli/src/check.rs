//! `seawall check`: what is wrong with a file, and what a setting does.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use seawall::config::{
    Config, ConfigError, Problem, SETTINGS, Setting, Upstream, default_toml, explain, json_schema,
    setting,
};
use seawall_gateway::{Finding, check_certificates};

use crate::{Failure, print};

/// Check a configuration file, and learn what settings do.
///
/// What is wrong with the file is told by line, each with what the setting does and what may stand
/// there: first every unknown setting and wrong value at once, then, once the values are right, what
/// they say of one another, then whether the certificates it names can be used. Settings that are each right but work against one another are warned of.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  seawall check seawall.toml                    check a file; `-` is standard input
  seawall check --defaults > seawall.toml       a file with every setting, default and reason
  seawall check --explain admission.max_wait    what one setting does
  seawall check --explain listeners             what the settings of a section do
  seawall check --schema > seawall.schema.json  a JSON schema, for editors

Exit code: 0 when the file is right (warnings included), 1 when it is not or cannot be read, or the
answer cannot be written, 2 for a wrong command line.")]
pub(crate) struct Args {
    /// The file to check; `-` for standard input.
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
    print(&text)
}

fn explained(key: &str) -> Result<String, Failure> {
    if let Some(setting) = setting(key) {
        return Ok(format!("{}\n", explain(setting)));
    }
    // `upstreams.retry` and `retry` mean `upstreams.*.retry`.
    let plain = |key: &str| format!(".{}.", key.replace("*.", "").replace("[]", ""));
    let section = plain(key);
    let from_the_top = |setting: &&Setting| plain(setting.key).starts_with(&section);
    let anywhere = |setting: &&Setting| plain(setting.key).contains(&section);
    let mut settings: Vec<_> = SETTINGS.iter().filter(from_the_top).collect();
    if settings.is_empty() {
        // A setting's own name is not that of a section.
        let last = |setting: &&Setting| plain(setting.key).ends_with(&section);
        let inside = SETTINGS.iter().filter(|s| anywhere(s) && !last(s));
        settings = inside.collect();
    }
    let section: Vec<_> = settings.into_iter().map(explain).collect();
    if section.is_empty() {
        let remedy = meant(key)
            .unwrap_or_else(|| "`seawall check --defaults` prints all of them".to_owned());
        let text = format!("there is no setting `{key}`: {remedy}");
        return Err(Failure::new(text));
    }
    Ok(section.join("\n") + "\n")
}

/// The settings whose last name is that of `key`.
fn meant(key: &str) -> Option<String> {
    let last = |key: &'_ str| key.rsplit('.').next().map(str::to_owned);
    let places: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| last(setting.key) == last(key))
        .map(|setting| format!("`{}`", setting.key))
        .collect();
    (!places.is_empty()).then(|| format!("did you mean {}?", places.join(" or ")))
}

/// Reads a file, or says what is wrong with it.
pub(crate) fn read(file: &Path) -> Result<(Config, String), Failure> {
    let name = shown(file);
    let text = contents(file).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound => {
                format!("; `seawall check --defaults > {name}` writes one to begin with")
            }
            ErrorKind::InvalidData => {
                "; a configuration is text, in UTF-8: name another file".to_owned()
            }
            ErrorKind::FileTooLarge => "; a configuration is smaller: name another file".to_owned(),
            ErrorKind::IsADirectory => "; name a file in it".to_owned(),
            _ => String::new(),
        };
        Failure::new(format!("cannot read {name}: {error}{remedy}"))
    })?;
    match Config::parse(&text) {
        Ok(config) => Ok((config, text)),
        Err(errors) => Err(refused(&name, &errors.0)),
    }
}

/// Tells what is wrong with the file, and what may stand there.
fn refused(name: &str, errors: &[ConfigError]) -> Failure {
    let mut told = format!("{name} has {}\n", counted(errors.len(), "error"));
    for error in errors {
        let (line, column) = (error.position.line, error.position.column);
        let key = if error.key.is_empty() {
            String::new()
        } else {
            format!("`{}` ", error.key)
        };
        let _ = writeln!(told, "\n{name}:{line}:{column}: {key}{}", error.problem);
        if let Some(setting) = setting(&error.key) {
            for line in explain(setting).lines() {
                let _ = writeln!(told, "    {line}");
            }
        }
    }
    Failure::new(told.trim_end())
}

/// A file that says nothing wrong may name others that cannot be used.
fn bad_files(config: &Config, text: &str, certificates: &[Finding]) -> Vec<ConfigError> {
    let bad = certificates.iter().filter(|finding| finding.error);
    let bad = bad.map(|finding| (finding.key.clone(), finding.text.clone()));
    let all = config.bad_endpoint_files().into_iter().chain(bad);
    all.map(|(key, why)| ConfigError {
        position: Config::position(text, &key),
        key,
        problem: Problem::Invalid(why),
    })
    .collect()
}

/// The largest file that is read. One of this size has thousands of routes.
const LARGEST: u64 = 1024 * 1024;

fn contents(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().take(LARGEST + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            "it has more than 1 MiB",
        ));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

fn counted(count: usize, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// Where an upstream's calls go, as people are told.
pub(crate) fn destination(name: &str, upstream: &Upstream) -> String {
    let hosts = match upstream.endpoints.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "endpoint")),
    };
    let url = upstream.url.to_string();
    format!("{} ({name}{hosts})", url.trim_end_matches('/'))
}

/// How a name of the configuration is written there.
pub(crate) fn written(name: &impl std::fmt::Debug) -> String {
    format!("{name:?}").to_lowercase()
}

fn checked(file: &Path) -> Result<String, Failure> {
    let (config, text) = read(file)?;
    let name = shown(file);
    let found = check_certificates(&config);
    let bad = bad_files(&config, &text, &found);
    if !bad.is_empty() {
        return Err(refused(&name, &bad));
    }
    let mut told = String::new();
    for finding in &found {
        let line = Config::position(&text, &finding.key).line;
        let _ = writeln!(
            told,
            "{name}:{line}: warning: `{}` {}",
            finding.key, finding.text
        );
    }
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
            "  listens on {} ({name}, {}{})",
            listener.address,
            written(&listener.trust),
            if listener.tls.is_some() { ", TLS" } else { "" }
        );
    }
    for (name, upstream) in &config.upstreams {
        let _ = writeln!(told, "  sends to {}", destination(name, upstream));
    }
    let shadow = if config.admission.shadow {
        ", in shadow: nobody is turned away"
    } else {
        ""
    };
    let _ = writeln!(
        told,
        "  protects by the {} limit{shadow}",
        written(&config.admission.algorithm)
    );
    let _ = writeln!(
        told,
        "  {}, {}",
        counted(config.routes.len(), "route"),
        counted(config.lanes.len(), "configured lane")
    );
    Ok(told)
}
