//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::ops::Range;

/// A place in the text, both counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    pub(crate) fn at(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// No setting of this name; the nearest that there is.
    #[error("unknown setting{}", .0.as_ref().map(|n| format!(": did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey(Option<String>),
    /// A text where a number belongs, and so on.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What belongs there.
        expected: String,
        /// What stands there.
        found: &'static str,
    },
    /// A quantity without a unit or with a wrong one.
    #[error("{0}")]
    Unit(String),
    /// Too small or too large; what is allowed.
    #[error("out of range: {0}")]
    Range(String),
    /// Not one of the names that may stand there.
    #[error("`{found}` is not known here: one of {}{}", known.join(", "), did_you_mean(found, known.iter().copied()))]
    Choice {
        /// What stands there.
        found: String,
        /// What may.
        known: &'static [&'static str],
    },
    /// Of the right type, but not of the form.
    #[error("{0}")]
    Invalid(String),
    /// Cannot be left out.
    #[error("is missing: {0}")]
    Missing(String),
    /// Matches what another one matches, on that line.
    #[error("matches the same calls as the route on line {0}: take one of them out")]
    Duplicate(usize),
    /// Names something that is not there; what it is, its name, and what there is.
    #[error("there is no {kind} `{name}`{}", nearest.as_ref().map(|n| format!(": did you mean `{n}`?")).unwrap_or_default())]
    Reference {
        /// Upstream or lane.
        kind: &'static str,
        /// The name that leads nowhere.
        name: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
}

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigError {
    /// Where.
    pub position: Position,
    /// The setting, as `listeners.public.header_timeout`; empty for a syntax error.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        let key = if self.key.is_empty() {
            String::new()
        } else {
            format!("`{}` ", self.key)
        };
        write!(f, "line {line}, column {column}: {key}{}", self.problem)
    }
}

/// Everything wrong with a configuration, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects errors while a text is looked at.
pub(super) struct Findings<'t> {
    text: &'t str,
    errors: Vec<ConfigError>,
}

impl<'t> Findings<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self {
            text,
            errors: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, span: Range<usize>, key: impl Into<String>, problem: Problem) {
        self.errors.push(ConfigError {
            position: self.position(span.start),
            key: key.into(),
            problem,
        });
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        Position::at(self.text, offset)
    }

    pub(super) fn done(&mut self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        self.errors.sort_by_key(|e| e.position);
        Err(ConfigErrors(std::mem::take(&mut self.errors)))
    }
}

/// The nearest of `names`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = (name.len() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|n| (distance(name, n), n))
        .filter(|(d, _)| *d <= near)
        .min()
        .map(|(_, n)| n)
}

fn did_you_mean<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, names)
        .map(|n| format!(" (did you mean `{n}`?)"))
        .unwrap_or_default()
}

/// Levenshtein's distance: letters to put in, take out or change. Texts beyond 64 bytes are far
/// from everything, which bounds the work on hostile input.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let names = ["header_timeout", "idle_timeout", "trust"];
        assert_eq!(nearest("headr_timeout", names), Some("header_timeout"));
        assert_eq!(nearest("Trust", names), Some("trust"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest(&"t".repeat(100_000), names), None);
    }

    #[test]
    fn positions() {
        assert_eq!(Position::at("ab\ncd", 4), Position { line: 2, column: 2 });
        assert_eq!(Position::at("", 9), Position { line: 1, column: 1 });
        assert_eq!(Position::at("ä=1", 3), Position { line: 1, column: 3 });
    }
}
