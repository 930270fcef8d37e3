//! Where settings are written: a file, the environment, flags; the later stands over the earlier.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::read::Fault;
use super::tree::{self, Place, Table};
use super::{Configuration, Faults, Loaded, load};
use crate::config::nearest;

/// The largest file that is read.
const LARGEST: u64 = 1 << 20;

/// Everything that says something.
#[derive(Clone, Debug, Default)]
pub(in crate::app) struct Sources {
    pub(in crate::app) file: Option<PathBuf>,
    /// Variables, and the prefix of those that are ours.
    pub(in crate::app) environment: Vec<(String, String)>,
    pub(in crate::app) prefix: String,
    /// `KEY=VALUE`.
    pub(in crate::app) flags: Vec<String>,
}

/// The prefix of a program's variables: `ORDER` for `order`, `SHOP_ORDER` for `shop-order`.
pub(in crate::app) fn prefix(name: &str) -> String {
    let upper = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.chars().map(upper).collect()
}

impl Sources {
    /// Reads all of them.
    ///
    /// # Errors
    /// Everything that is wrong, but that a file that is no TOML hides the rest.
    pub(in crate::app) fn load<C: Configuration>(&self) -> Result<Loaded<C>, Faults> {
        let mut all = match &self.file {
            Some(file) => read(file)?,
            None => Table::new(),
        };
        let mut faults = Vec::new();
        for (name, value) in &self.environment {
            self.variable(&mut all, name, value, &mut faults);
        }
        for flag in &self.flags {
            let place = Place::Flag(flag.as_str().into());
            let written = flag.split_once('=');
            let path = written.and_then(|(key, value)| Some((tree::split(key.trim())?, value)));
            let Some((path, value)) = path else {
                faults.push(fault(
                    place,
                    "",
                    "write --set SECTION.NAME=VALUE, as --set log.level=debug",
                ));
                continue;
            };
            put(&mut all, &path, value, &place, &mut faults);
        }
        match load::<C>(all) {
            Ok(loaded) if faults.is_empty() => Ok(loaded),
            Ok(_) => Err(Faults(faults)),
            Err(Faults(more)) => {
                faults.extend(more);
                Err(Faults(faults))
            }
        }
    }

    fn variable(&self, all: &mut Table, name: &str, value: &str, faults: &mut Vec<Fault>) {
        let rest = name.strip_prefix(&self.prefix);
        let Some(path) = rest.and_then(|rest| rest.strip_prefix("__")) else {
            return;
        };
        let place = Place::Variable(name.into());
        let path: Vec<_> = path.split("__").map(str::to_ascii_lowercase).collect();
        if path.iter().any(String::is_empty) {
            let text = format!("write {0}__SECTION__NAME, as {0}__LOG__LEVEL", self.prefix);
            faults.push(fault(place, "", &text));
            return;
        }
        put(all, &path, value, &place, faults);
    }

    /// Variables that look like ours but for the second underscore.
    pub(in crate::app) fn nearly_ours(&self) -> Vec<String> {
        let ours = |name: &&str| {
            let section = name.strip_prefix(&self.prefix)?.strip_prefix('_')?;
            let section = section.split('_').next()?.to_ascii_lowercase();
            (nearest(&section, super::SECTIONS.iter().copied())? == section).then_some(())
        };
        let names = self.environment.iter().map(|(name, _)| name.as_str());
        let nearly = names.filter(|name| ours(name).is_some());
        nearly
            .map(|name| {
                format!("environment variable {name} is ignored: two underscores stand between names, as in {}__HTTP__ADDRESS", self.prefix)
            })
            .collect()
    }
}

fn put(all: &mut Table, path: &[String], value: &str, place: &Place, faults: &mut Vec<Fault>) {
    if let Err(above) = tree::set(all, path, value, place) {
        let text = format!("`{above}` is a setting, and nothing can stand below it");
        faults.push(fault(place.clone(), &path.join("."), &text));
    }
}

fn fault(place: Place, key: &str, text: &str) -> Fault {
    Fault {
        key: key.to_owned(),
        place,
        text: text.to_owned(),
    }
}

fn read(file: &Path) -> Result<Table, Faults> {
    let name: Arc<str> = file.display().to_string().into();
    let start = crate::config::Position { line: 1, column: 1 };
    let wrong = |text: String| Faults(vec![fault(Place::File(name.clone(), start), "", &text)]);
    let cannot = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    let metadata = std::fs::metadata(file).map_err(cannot)?;
    let mut text = String::new();
    if metadata.is_file() {
        // It may have grown, or be another, since.
        let file = std::fs::File::open(file).map_err(cannot)?;
        let read = file.take(LARGEST + 1).read_to_string(&mut text);
        read.map_err(cannot)?;
    }
    if !metadata.is_file() || text.len() as u64 > LARGEST {
        return Err(wrong("is no file of at most 1 MiB".to_owned()));
    }
    tree::parse(&text, &name).map_err(|errors| {
        Faults(
            errors
                .into_iter()
                .map(|(place, text)| fault(place, "", &text))
                .collect(),
        )
    })
}
