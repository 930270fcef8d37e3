//! Which part of a service may know which other: checked over its source.
//!
//! Layers erode by one convenient `use` at a time, and no compiler minds. A crate for each layer
//! would have it mind, at the price of a manifest for each and of a slower build; a test costs
//! milliseconds, and says what to do instead. What a layer may know is stated; all else is refused,
//! so that a new dependency is a decision and not an accident.
//!
//! The check reads names, not meanings: comments and strings are left out, the insides of macros are
//! not, and `use` is followed through groups, renames, `self` and `super`. A name that hides where
//! it leads (`use crate::*`, `use crate as c`, `include!`, `#[path]` out of the layer) is refused, for
//! the check would be blind behind it. What a type alias or a re-export of an allowed module leads to is not
//! seen.

mod breach;
mod paths;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use breach::{Breach, Breaches};
use paths::Path as Leads;

use crate::Error;

/// What one layer may know. By default itself and the standard library.
#[derive(Clone, Debug)]
pub struct Layer {
    name: String,
    knows: Vec<String>,
    crates: Crates,
}

#[derive(Clone, Debug)]
enum Crates {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

impl Layer {
    /// The layer in `src/NAME/` or `src/NAME.rs`; in a package of several services by the path of its
    /// module, `catalog::biz`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            knows: Vec::new(),
            crates: Crates::Only(Vec::new()),
        }
    }

    /// The layers, or modules in them, that it may use: `pkg`, `data::ids`.
    #[must_use]
    pub fn knows(mut self, layers: &[&str]) -> Self {
        self.knows = owned(layers);
        self
    }

    /// The crates, or modules of crates, that it may use: `thiserror`, `seawall::sync`. None but
    /// these, and the standard library.
    #[must_use]
    pub fn crates(mut self, crates: &[&str]) -> Self {
        self.crates = Crates::Only(owned(crates));
        self
    }

    /// Lets it use every crate but these, or modules of crates.
    #[must_use]
    pub fn crates_but(mut self, crates: &[&str]) -> Self {
        self.crates = Crates::AllBut(owned(crates));
        self
    }

    fn may_know(&self, path: &[String]) -> bool {
        within(path, &self.name) || self.knows.iter().any(|known| within(path, known))
    }

    fn may_use(&self, path: &[String]) -> bool {
        match &self.crates {
            Crates::Only(names) => names.iter().any(|name| within(path, name)),
            // A group, a rename or a glob of the whole would bring the module along unseen.
            Crates::AllBut(names) => !names
                .iter()
                .any(|name| within(path, name) || (path.len() == 1 && below(name, path))),
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Whether `path` is `prefix` or below it.
fn within(path: &[String], prefix: &str) -> bool {
    let mut path = path.iter();
    prefix
        .split("::")
        .all(|part| path.next().is_some_and(|name| name == part))
}

/// Whether `name` is below `path`.
fn below(name: &str, path: &[String]) -> bool {
    let mut parts = name.split("::");
    path.iter().all(|name| parts.next() == Some(name)) && parts.next().is_some()
}

/// The layers of a package.
///
/// ```
/// use seawall_testkit::{Layer, Layers};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let package = tempfile::tempdir()?;
/// # std::fs::write(package.path().join("Cargo.toml"), "[dependencies]\nsqlx = '1'\n")?;
/// # std::fs::create_dir(package.path().join("src"))?;
/// # std::fs::write(package.path().join("src/biz.rs"), "use std::fmt;")?;
/// # std::fs::write(package.path().join("src/data.rs"), "use crate::biz;\nuse sqlx::Row;")?;
/// # let package = package.path();
/// let layers = Layers::of(package) // env!("CARGO_MANIFEST_DIR")
///     .layer(Layer::named("biz"))
///     .layer(Layer::named("data").knows(&["biz"]).crates_but(&["tonic"]));
/// layers.check()?;
///
/// std::fs::write(package.join("src/biz.rs"), "fn all() { crate::data::all() }")?;
/// let refused = layers.check().map_err(|why| why.to_string());
/// assert!(refused.is_err_and(|why| why.contains("src/biz.rs:1: `biz` may not know `crate::data::all`")));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Layers {
    package: PathBuf,
    layers: Vec<Layer>,
}

impl Layers {
    /// The package whose `Cargo.toml` is in the directory: `env!("CARGO_MANIFEST_DIR")`.
    #[must_use]
    pub fn of(package: impl Into<PathBuf>) -> Self {
        Self {
            package: package.into(),
            layers: Vec::new(),
        }
    }

    /// States what a layer may know.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Looks at every source in `src/`. Each belongs to a layer, the innermost where one is within
    /// another; but for those where layers are put together: `lib.rs`, `main.rs`, `bin/`, and of
    /// layers `catalog::biz` and `catalog::data` the module `catalog` itself. Reads each file once; blocks.
    ///
    /// # Errors
    /// What uses what it must not know, a layer without source, source without a layer, or what
    /// cannot be read.
    pub fn check(&self) -> Result<(), Breaches> {
        let mut found = Vec::new();
        if let Err(error) = self.look(&mut found) {
            found.push(Breach::unreadable(&error));
        }
        found.sort_by(|a: &Breach, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        found.dedup();
        if found.is_empty() {
            Ok(())
        } else {
            Err(Breaches(found))
        }
    }

    fn look(&self, found: &mut Vec<Breach>) -> Result<(), Error> {
        let manifest = self.package.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(Error::io(&manifest))?;
        let crates = dependencies(&text).map_err(|why| {
            let why = io::Error::new(io::ErrorKind::InvalidData, why);
            Error::io(&manifest)(why)
        })?;
        let mut sources = Vec::new();
        collect(&self.package.join("src"), &mut Vec::new(), &mut sources)?;
        for (file, module) in &sources {
            let shown = file.strip_prefix(&self.package).unwrap_or(file);
            let Some(layer) = self.of_module(module) else {
                let outer = |layer: &Layer| below(&layer.name, module);
                if !module.is_empty() && !self.layers.iter().any(outer) {
                    found.push(Breach::stray(shown, &module.join("::")));
                }
                continue;
            };
            let source = fs::read_to_string(file).map_err(Error::io(file))?;
            let mut named = paths::paths(&source, module);
            named.retain(|one| !self.is_of(layer, file, &one.path, &sources));
            self.judge(layer, shown, &named, &crates, found);
        }
        for layer in &self.layers {
            let here = |(_, module): &(_, Vec<String>)| within(module, &layer.name);
            if !sources.iter().any(here) {
                found.push(Breach::empty(&layer.name));
            }
        }
        Ok(())
    }

    /// The innermost layer that the module is in.
    fn of_module(&self, module: &[String]) -> Option<&Layer> {
        let around = self.layers.iter();
        let around = around.filter(|layer| within(module, &layer.name));
        around.max_by_key(|layer| layer.name.len())
    }

    /// Whether it is a `#[path]` to another source of the layer, which is judged where it is.
    fn is_of(
        &self,
        layer: &Layer,
        file: &Path,
        leads: &Leads,
        sources: &[(PathBuf, Vec<String>)],
    ) -> bool {
        let Leads::File(path) = leads else {
            return false;
        };
        let target = file.parent().map(|directory| directory.join(path));
        let same = |(source, module): &&(PathBuf, Vec<String>)| {
            let own = self.of_module(module).map(|layer| &layer.name);
            Some(source) == target.as_ref() && own == Some(&layer.name)
        };
        sources.iter().find(same).is_some()
    }

    fn judge(
        &self,
        layer: &Layer,
        file: &Path,
        named: &[paths::Named],
        crates: &BTreeSet<String>,
        found: &mut Vec<Breach>,
    ) {
        for paths::Named { line, path } in named {
            let breach = match path {
                Leads::Inside(path) if path.is_empty() => {
                    Breach::hidden(&layer.name, "the root of the crate")
                }
                Leads::Inside(path) if !layer.may_know(path) => {
                    let other = self.of_module(path);
                    let port = other.filter(|other| knows(&layer.name, other));
                    Breach::inside(layer, path, port.map(|other| &*other.name))
                }
                Leads::Named(path) if foreign(path, crates) && !layer.may_use(path) => {
                    Breach::outside(layer, path)
                }
                Leads::Elsewhere(what) => Breach::hidden(&layer.name, what),
                Leads::File(_) => Breach::hidden(&layer.name, "#[path]"),
                Leads::Inside(_) | Leads::Named(_) => continue,
            };
            found.push(breach.at(file, *line));
        }
    }
}

/// Whether the layer `other` may know the layer `name`.
fn knows(name: &str, other: &Layer) -> bool {
    let path: Vec<_> = name.split("::").map(str::to_owned).collect();
    other.may_know(&path)
}

/// Whether the path begins with a dependency.
fn foreign(path: &[String], crates: &BTreeSet<String>) -> bool {
    path.first().is_some_and(|name| crates.contains(name))
}

/// Every source below `directory`, and the module it is.
fn collect(
    directory: &Path,
    module: &mut Vec<String>,
    sources: &mut Vec<(PathBuf, Vec<String>)>,
) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let top = module.is_empty();
        if path.is_dir() {
            if !(top && stem == "bin") {
                module.push(stem.into_owned());
                collect(&path, module, sources)?;
                module.pop();
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let mut own = module.clone();
            match &*stem {
                "mod" => {}
                "main" | "lib" if top => continue,
                _ => own.push(stem.into_owned()),
            }
            sources.push((path, own));
        }
    }
    Ok(())
}

/// The names under which a manifest's dependencies are used in code. Those of tests alone are left
/// out: nothing but tests can use them.
fn dependencies(manifest: &str) -> Result<BTreeSet<String>, String> {
    let manifest: toml::Table = manifest.parse().map_err(|error| format!("{error}"))?;
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values());
    let tables = tables.filter_map(toml::Value::as_table).chain([&manifest]);
    let names = tables.filter_map(|table| table.get("dependencies")?.as_table());
    let names = names.flat_map(|table| table.keys());
    Ok(names.map(|name| name.replace('-', "_")).collect())
}
