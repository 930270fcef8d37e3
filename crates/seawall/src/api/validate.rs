//! What generated code calls to see whether a message is as its rules ask.
//!
//! A path is a list on the stack, made into text for a field at fault only: a message that is as it
//! should be costs comparisons and no allocation.

use std::borrow::Cow;
use std::fmt;

use super::error::cut;
use super::{Error, Violation};

/// A message with rules. Implemented by generated code; a message without rules checks nothing.
pub trait Validate {
    /// Adds what is at fault to `out`; `at` is where the message stands in the request.
    fn validate(&self, at: &Path<'_>, out: &mut Violations) {
        let _ = (at, out);
    }

    /// All that is at fault, as one error.
    ///
    /// # Errors
    ///
    /// `RULES_VIOLATED`, with every [`Violation`].
    fn check(&self) -> Result<(), Error> {
        let mut out = Violations::default();
        self.validate(&Path::ROOT, &mut out);
        out.into_result()
    }
}

/// The most that are told of one message: what a hostile one costs is bounded.
const MOST: usize = 64;
/// The longest name of a field that is told, in bytes: keys of maps are the caller's.
const LONGEST: usize = 256;

/// What is at fault in a message.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// A field is at fault. `rule` is its name in the definition.
    #[cold]
    pub fn add(
        &mut self,
        at: &Path<'_>,
        rule: impl Into<Cow<'static, str>>,
        message: impl fmt::Display,
    ) {
        if self.0.len() < MOST {
            self.0.push(Violation {
                field: cut(&at.to_string(), LONGEST).into_owned(),
                rule: rule.into(),
                message: message.to_string(),
            });
        }
    }

    pub(super) fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(self.0))
    }
}

/// Where in a request a value stands; its text is `items[2].quantity`.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Root,
    Field(&'static str),
    Index(usize),
    Key(&'a dyn fmt::Display),
}

impl<'a> Path<'a> {
    /// The request itself.
    pub const ROOT: Path<'static> = Path {
        parent: None,
        part: Part::Root,
    };

    /// A field of the message here.
    #[must_use]
    pub fn field(&'a self, name: &'static str) -> Self {
        self.then(Part::Field(name))
    }

    /// An element of the list here.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        self.then(Part::Index(index))
    }

    /// An entry of the map here.
    #[must_use]
    pub fn key(&'a self, key: &'a dyn fmt::Display) -> Self {
        self.then(Part::Key(key))
    }

    fn then(&'a self, part: Part<'a>) -> Self {
        Self {
            parent: Some(self),
            part,
        }
    }

    fn is_root(&self) -> bool {
        matches!(self.part, Part::Root)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        parent.fmt(f)?;
        match self.part {
            Part::Root => Ok(()),
            Part::Field(name) if parent.is_root() => f.write_str(name),
            Part::Field(name) => write!(f, ".{name}"),
            Part::Index(index) => write!(f, "[{index}]"),
            Part::Key(key) => write!(f, "[{key:?}]", key = cut(&key.to_string(), LONGEST / 4)),
        }
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_one_writes_it() {
        let items = Path::ROOT.field("items");
        let second = items.index(2);
        let tags = second.field("tags");
        assert_eq!(second.to_string(), "items[2]");
        assert_eq!(tags.key(&"a\"b").to_string(), r#"items[2].tags["a\"b"]"#);
        assert_eq!(Path::ROOT.to_string(), "");
    }

    #[test]
    fn what_a_hostile_message_costs_is_bounded() {
        let mut out = Violations::default();
        for i in 0..10_000 {
            out.add(&Path::ROOT.index(i), "gt", "must be more");
        }
        let error = out.into_result().unwrap_err();
        assert_eq!(error.violations().len(), MOST);
    }
}
