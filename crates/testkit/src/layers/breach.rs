//! What is said of a layer that knows too much.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Crates, Layer};
use crate::Error;

/// One use of what a layer must not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The source, from the package's directory.
    pub file: PathBuf,
    /// The line, from one; zero where it is about the whole file.
    pub line: usize,
    /// What is wrong: the layer and the name.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Breach {
    fn new(what: String, remedy: String) -> Self {
        Self {
            file: PathBuf::new(),
            line: 0,
            what,
            remedy,
        }
    }

    pub(super) fn at(mut self, file: &Path, line: usize) -> Self {
        file.clone_into(&mut self.file);
        self.line = line;
        self
    }

    /// `path` is in a layer that may not be known; `port` is that one, if it knows this.
    pub(super) fn inside(layer: &Layer, path: &[String], port: Option<&str>) -> Self {
        let (name, known) = (&layer.name, listed(&layer.knows, "no other layer"));
        let remedy = if let Some(other) = port {
            // Where the two are put together.
            let root = name.rsplit_once("::");
            let root = root.map_or("main.rs".to_owned(), |(root, _)| format!("`{root}`"));
            format!(
                "state what `{name}` needs as a trait in `{name}`, implement it in `{other}`, and hand it over in {root}"
            )
        } else {
            format!("`{name}` may know {known}: move what it needs there, or go through them")
        };
        let path = path.join("::");
        Self::new(format!("`{name}` may not know `crate::{path}`"), remedy)
    }

    pub(super) fn outside(layer: &Layer, path: &[String]) -> Self {
        let (name, path) = (&layer.name, path.join("::"));
        let may = match &layer.crates {
            Crates::Only(names) => listed(names, "no crate but the standard library"),
            Crates::AllBut(names) => format!("every crate but {}", listed(names, "none")),
        };
        let remedy = format!(
            "`{name}` may use {may}: put what needs it into another layer, behind a trait of `{name}`"
        );
        Self::new(format!("`{name}` may not use `{path}`"), remedy)
    }

    pub(super) fn hidden(layer: &str, what: &str) -> Self {
        Self::new(
            format!("`{layer}` uses {what} as a whole, which hides what it knows"),
            "name what is used, each by its own path".to_owned(),
        )
    }

    pub(super) fn stray(file: &Path, name: &str) -> Self {
        let what = format!("`{name}` is no layer that a rule is stated for");
        let remedy = format!("state one, `Layer::named(\"{name}\")`, or move the file");
        Self::new(what, remedy).at(file, 0)
    }

    pub(super) fn empty(name: &str) -> Self {
        let what = format!("the layer `{name}` has no source");
        let remedy = "remove its rule, or correct its name".to_owned();
        Self::new(what, remedy).at(&Path::new("src").join(name.replace("::", "/")), 0)
    }

    pub(super) fn unreadable(error: &Error) -> Self {
        let remedy = "the check needs to read it".to_owned();
        let (what, file) = match error {
            Error::Io { path, source } => (source.to_string(), path.clone()),
            other => (other.to_string(), PathBuf::new()),
        };
        Self::new(what, remedy).at(&file, 0)
    }
}

fn listed(names: &[String], none: &str) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => none.to_owned(),
        names => names.join(", "),
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}

/// Everything that is wrong, by file and line.
#[derive(Clone, PartialEq, Eq)]
pub struct Breaches(pub Vec<Breach>);

impl fmt::Display for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut breaches = self.0.iter();
        if let Some(first) = breaches.next() {
            write!(f, "{first}")?;
        }
        breaches.try_for_each(|breach| write!(f, "\n{breach}"))
    }
}

/// As [`Display`](fmt::Display): it is read where a test returned it.
impl fmt::Debug for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl std::error::Error for Breaches {}
