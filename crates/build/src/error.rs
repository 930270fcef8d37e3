//! What is wrong with a definition.

use std::fmt;

/// What is wrong with a definition: all of it, each with its place and remedy.
///
/// `Debug` reads as `Display`, as that is what a `main` that returns it prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(pub(crate) Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `proto/shop/v1/orders.proto:12`. Empty where it is in no file.
    pub place: String,
    /// What.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Error {
    pub(crate) fn one(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(vec![Problem {
            place: String::new(),
            what: what.into(),
            remedy: remedy.into(),
        }])
    }

    /// What is wrong, in the order of the files.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  {}", self.remedy)?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// The nearest of `names`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = (name.len() / 3).clamp(1, 3);
    let told = names.into_iter().map(|n| (distance(name, n), n));
    told.filter(|(d, _)| *d <= near).min().map(|(_, n)| n)
}

/// Levenshtein's distance: letters to put in, take out or change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
