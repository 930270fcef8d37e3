//! The configuration of a program: a file, the environment and flags, in this order, made into types.
//!
//! Everything is looked at before anything is used, and everything wrong is told at once, each with
//! the place where it was written, be that a line of the file, a variable or a flag. A change while
//! the program runs goes the same way: it is taken over whole or refused whole.

mod print;
mod read;
mod secret;
mod sources;
mod tree;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use read::Fault;
pub use secret::Secret;
pub(super) use sources::{Sources, prefix};
pub use tree::Place;

use super::settings::Settings;
use crate::config::{Upstream, nearest};
pub(super) use print::toml;
use read::{Found, In, Path};
use tree::{Node, Table, Value};

/// What a program's own configuration is: a struct that reads and shows itself.
///
/// Each of its fields is a section or a setting at the top of the file; a key that no field has is
/// an error that names the nearest, whatever the struct's attributes. `Serialize` shows it
/// (`--print-config`, `/config`): keep secrets in [`Secret`].
pub trait Configuration: DeserializeOwned + Serialize + Send + Sync + 'static {}

impl<T: DeserializeOwned + Serialize + Send + Sync + 'static> Configuration for T {}

/// Everything wrong with a configuration. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            let line = if n > 0 { "\n" } else { "" };
            write!(f, "{line}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A configuration that may be used.
#[derive(Debug)]
pub(super) struct Loaded<C> {
    pub(super) settings: Settings,
    pub(super) upstreams: BTreeMap<String, Upstream>,
    pub(super) own: C,
    pub(super) warnings: Vec<String>,
}

/// The sections that are read here and are no fields of [`Settings`] to serde.
const SECTIONS: &[&str] = &[
    "http",
    "grpc",
    "admin",
    "drain",
    "registry",
    "log",
    "trace",
    "auth",
    "admission",
    "lanes",
    "methods",
    "upstreams",
];

/// Makes types of what was written.
fn load<C: Configuration>(mut all: Table) -> Result<Loaded<C>, Faults> {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let mut ours = Table::new();
    for section in SECTIONS {
        if let Some(node) = all.remove(*section) {
            ours.insert((*section).to_owned(), node);
        }
    }
    let written = ours.remove("upstreams");
    let settings = settings(&ours, &mut faults, &mut warnings);
    let (shown, upstreams) = upstreams(written, &mut faults);
    let own = own::<C>(all, &mut faults, &mut warnings);
    check_admin(&settings, &ours, &mut faults);
    check_auth(&ours, &mut faults);
    check_spans(&settings, &ours, &mut faults);
    if let Err(wrong) = settings.stack().check() {
        faults.extend(wrong.0.into_iter().map(|wrong| Fault {
            place: place(&root(ours.clone()), &wrong.key),
            key: wrong.key,
            text: wrong.problem,
        }));
    }
    match own {
        Some(own) if faults.is_empty() => Ok(Loaded {
            settings: Settings {
                upstreams: shown,
                ..settings
            },
            upstreams,
            own,
            warnings,
        }),
        _ => Err(Faults(faults)),
    }
}

fn root(table: Table) -> Node {
    Node {
        value: Value::Table(table),
        place: Place::Nowhere,
        name: Place::Nowhere,
    }
}

fn read<T: DeserializeOwned>(
    node: &Node,
    path: &Path<'_>,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<String>,
) -> (Option<T>, Found) {
    let found = RefCell::new(Found::default());
    let read = T::deserialize(In {
        node,
        path,
        found: &found,
    });
    let mut found = found.into_inner();
    let before = faults.len();
    faults.append(&mut found.unknown);
    for (key, place) in &found.plain {
        warnings.push(format!(
            "{place}: `{key}` is a secret in plain text: write \"env:NAME\" for an environment variable, or \"file:PATH\""
        ));
    }
    match read {
        Ok(value) => (Some(value), found),
        Err(error) => {
            // A type that refuses keys by itself has said so twice.
            if !(error.is_of_a_key() && faults.len() > before) {
                faults.push(error.fault());
            }
            (None, found)
        }
    }
}

/// Section by section, so that one that is wrong does not hide another.
fn settings(ours: &Table, faults: &mut Vec<Fault>, warnings: &mut Vec<String>) -> Settings {
    fn section<T: DeserializeOwned + Default>(
        ours: &Table,
        name: &str,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<String>,
    ) -> T {
        let Some(node) = ours.get(name) else {
            return T::default();
        };
        let path = Path::Below(&Path::Root, name);
        let (read, _) = read(node, &path, faults, warnings);
        read.unwrap_or_default()
    }
    Settings {
        http: section(ours, "http", faults, warnings),
        grpc: section(ours, "grpc", faults, warnings),
        admin: section(ours, "admin", faults, warnings),
        drain: section(ours, "drain", faults, warnings),
        registry: section(ours, "registry", faults, warnings),
        log: section(ours, "log", faults, warnings),
        trace: section(ours, "trace", faults, warnings),
        #[cfg(feature = "jwt")]
        auth: section(ours, "auth", faults, warnings),
        admission: section(ours, "admission", faults, warnings),
        lanes: section(ours, "lanes", faults, warnings),
        methods: section(ours, "methods", faults, warnings),
        upstreams: BTreeMap::new(),
    }
}

/// What is left is the program's own.
fn own<C: Configuration>(
    rest: Table,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<String>,
) -> Option<C> {
    let node = root(rest);
    let before = faults.len();
    let (own, found) = read::<C>(&node, &Path::Root, faults, warnings);
    let fields = found.fields.unwrap_or_default();
    for fault in &mut faults[before..] {
        // A key at the top may be meant for either half.
        if fault.text.starts_with("unknown setting") && !fault.key.contains('.') {
            let names = SECTIONS.iter().chain(fields).copied();
            fault.text = match nearest(&fault.key, names) {
                Some(near) => format!("unknown section: did you mean `{near}`?"),
                None => format!(
                    "unknown section: there are {}",
                    [SECTIONS, fields].concat().join(", ")
                ),
            };
        }
    }
    if let Some(taken) = fields.iter().find(|field| SECTIONS.contains(field)) {
        faults.push(Fault {
            key: (*taken).to_owned(),
            place: Place::Nowhere,
            text: "is a section of every program, so the program's own configuration cannot have a field of that name: give it another".to_owned(),
        });
    }
    own
}

/// The gateway's own reader is the judge of what an upstream may be told.
fn upstreams(
    written: Option<Node>,
    faults: &mut Vec<Fault>,
) -> (
    BTreeMap<String, serde_json::Value>,
    BTreeMap<String, Upstream>,
) {
    let (mut shown, mut read) = (BTreeMap::new(), BTreeMap::new());
    let Some(node) = written else {
        return (shown, read);
    };
    let Value::Table(table) = &node.value else {
        faults.push(Fault {
            key: "upstreams".to_owned(),
            place: node.place,
            text: "expected tables: [upstreams.NAME]".to_owned(),
        });
        return (shown, read);
    };
    for (name, node) in table {
        let value = print::value(node);
        let text = print::table(&format!("upstreams.{}", print::key(name)), &value);
        match crate::config::Config::parse(&text) {
            Ok(mut config) => {
                shown.insert(name.clone(), value);
                if let Some(upstream) = config.upstreams.remove(name) {
                    read.insert(name.clone(), upstream);
                }
            }
            Err(errors) => faults.extend(errors.0.into_iter().map(|error| Fault {
                place: place(node, below(&error.key, name)),
                text: error.problem.to_string(),
                key: error.key,
            })),
        }
    }
    (shown, read)
}

/// An upstream's setting, below its name.
fn below<'k>(key: &'k str, name: &str) -> &'k str {
    let below = key.strip_prefix("upstreams.").unwrap_or(key);
    let below = below.strip_prefix(name).unwrap_or_default();
    below.trim_start_matches('.')
}

/// Where the setting `key` below `node` was written, or the nearest above it.
fn place(node: &Node, key: &str) -> Place {
    let mut place = node.name.clone();
    let mut value = &node.value;
    for name in tree::split(key.split('[').next().unwrap_or(key)).unwrap_or_default() {
        let Value::Table(table) = value else { break };
        let Some(node) = table.get(&name) else { break };
        place = node.place.clone();
        value = &node.value;
    }
    place
}

/// A program that cannot check tokens must not look as if it did.
fn check_auth(ours: &Table, faults: &mut Vec<Fault>) {
    if let Some(node) = ours.get("auth").filter(|_| cfg!(not(feature = "jwt"))) {
        faults.push(Fault {
            key: "auth".to_owned(),
            place: node.name.clone(),
            text: "is not known to this program: it was built without the feature `jwt`; add it to seawall's features".to_owned(),
        });
    }
}

/// Spans that nobody sends must not look as if they were sent.
fn check_spans(settings: &Settings, ours: &Table, faults: &mut Vec<Fault>) {
    if let Err(text) = super::spans::check(&settings.trace) {
        let key = "trace.endpoint";
        faults.push(Fault {
            key: key.to_owned(),
            place: place(&root(ours.clone()), key),
            text,
        });
    }
}

fn check_admin(settings: &Settings, ours: &Table, faults: &mut Vec<Fault>) {
    let admin = &settings.admin;
    if admin.address.ip().is_loopback() || admin.token.is_some() {
        return;
    }
    let place = match ours.get("admin").map(|node| &node.value) {
        Some(Value::Table(table)) => table.get("address").map(|node| node.place.clone()),
        _ => None,
    };
    faults.push(Fault {
        key: "admin.address".to_owned(),
        place: place.unwrap_or_default(),
        text: format!(
            "{} can be reached by others, and shows metrics and configuration: set admin.token, or use 127.0.0.1:{}",
            admin.address,
            admin.address.port()
        ),
    });
}

#[cfg(test)]
mod tests;
