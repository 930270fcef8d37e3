//! Settings as they were written, each with the place where that was.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::Position;

/// Where a setting was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is left out.
    #[default]
    Nowhere,
    /// In this file.
    File(Arc<str>, Position),
    /// In this environment variable.
    Variable(Arc<str>),
    /// In this `--set`.
    Flag(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("configuration"),
            Self::File(file, at) => write!(f, "{file}, line {}, column {}", at.line, at.column),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            // Without what it is set to, which may be a secret.
            Self::Flag(flag) => write!(f, "--set {}", flag.split('=').next().unwrap_or(flag)),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
    /// Where its name stands; the same as `place` where that has no columns.
    pub(super) name: Place,
}

/// As the language of the file has it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Fraction(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(Table),
    /// From a variable or a flag: what it is, is for the setting's type to say.
    Raw(String),
}

/// Settings by name.
pub(super) type Table = BTreeMap<String, Node>;

impl Value {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "text",
            Self::Whole(_) => "a whole number",
            Self::Fraction(_) => "a fraction",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a file's text; its syntax errors, by place.
pub(super) fn parse(text: &str, file: &Arc<str>) -> Result<Table, Vec<(Place, String)>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let place = |at: usize| Place::File(file.clone(), Position::at(text, at));
    if !errors.is_empty() {
        let told = errors.iter().map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (place(at), error.message().to_owned())
        });
        return Err(told.collect());
    }
    Ok(table(root.get_ref(), &place))
}

fn table(entries: &DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let mut node = node(value, place);
        node.name = place(key.span().start);
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        (key.clone().into_owned(), node)
    };
    entries.iter().map(entry).collect()
}

fn node(value: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Node {
    let at = place(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Value::Whole(n),
            // Beyond what any setting is: its type says so.
            Err(_) => Value::Fraction(n.as_str().parse().unwrap_or(f64::MAX)),
        },
        DeValue::Float(n) => Value::Fraction(n.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(entries) => {
            Value::List(entries.iter().map(|entry| node(entry, place)).collect())
        }
        DeValue::Table(entries) => Value::Table(table(entries, place)),
    };
    Node {
        value,
        name: at.clone(),
        place: at,
    }
}

/// As deep as a setting may stand: below that nothing is read, and reading goes down step by step.
const DEEPEST: usize = 32;

/// Writes `text` over what stands at `path`; the tables on the way are made.
///
/// # Errors
/// Where something on the way is no table, or it is too far down, its path.
pub(super) fn set(
    table: &mut Table,
    path: &[String],
    text: &str,
    place: &Place,
) -> Result<(), String> {
    if path.len() > DEEPEST {
        return Err(path[..DEEPEST].join("."));
    }
    let made = |value| Node {
        value,
        place: place.clone(),
        name: place.clone(),
    };
    let Some((last, way)) = path.split_last() else {
        return Err(String::new());
    };
    let mut table = table;
    for (depth, name) in way.iter().enumerate() {
        let next = table
            .entry(name.clone())
            .or_insert_with(|| made(Value::Table(Table::new())));
        let Value::Table(below) = &mut next.value else {
            return Err(path[..=depth].join("."));
        };
        table = below;
    }
    table.insert(last.clone(), made(Value::Raw(text.to_owned())));
    Ok(())
}

/// Splits `a.b."c.d"`.
pub(super) fn split(path: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    for c in path.chars() {
        match (c, names.last_mut()?) {
            ('"', _) => quoted = !quoted,
            ('.', _) if !quoted => names.push(String::new()),
            (c, name) => name.push(c),
        }
    }
    (!quoted && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// What a raw text is as a literal of the file's language; text where it is none.
pub(super) fn literal(text: &str, place: &Place) -> Value {
    let root = format!("v = {text}");
    let (root, errors) = DeTable::parse_recoverable(&root);
    let value = root.get_ref().iter().next().map(|(_, value)| value);
    match value {
        Some(value) if errors.is_empty() && root.get_ref().len() == 1 => {
            node(value, &|_| place.clone()).value
        }
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let names = split("methods.\"shop.v1.Orders/Place\".timeout").unwrap();
        assert_eq!(names, ["methods", "shop.v1.Orders/Place", "timeout"]);
        for bad in ["", ".", "a..b", "a.\"b", "a."] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn literals() {
        let place = Place::Nowhere;
        assert!(matches!(literal("7", &place), Value::Whole(7)));
        assert!(matches!(literal("[1, 2]", &place), Value::List(list) if list.len() == 2));
        assert!(matches!(literal("7\nb = 8", &place), Value::Text(_)));
        assert!(matches!(literal("127.0.0.1:80", &place), Value::Text(_)));
    }
}
