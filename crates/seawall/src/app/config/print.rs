//! Settings as text in the language of the file.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::tree::{Node, Value, literal};

/// What was written, as JSON, which has the same kinds of values.
pub(super) fn value(node: &Node) -> Json {
    json(&node.value, node)
}

fn json(of: &Value, node: &Node) -> Json {
    match of {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Whole(n) => Json::from(*n),
        Value::Fraction(n) => Json::from(*n),
        Value::Flag(flag) => Json::from(*flag),
        Value::List(entries) => entries.iter().map(value).collect(),
        Value::Table(table) => {
            let entries = table.iter().map(|(name, node)| (name.clone(), value(node)));
            Json::Object(entries.collect())
        }
        Value::Raw(text) => json(&literal(text, &node.place), node),
    }
}

/// A name as a key: in quotes where it must be.
pub(super) fn key(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        text(name)
    }
}

fn text(text: &str) -> String {
    // A JSON string is a basic string of TOML, but for DEL, which it leaves as it is.
    Json::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A value on one line; `None` for what has none.
fn inline(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::String(string) => Some(text(string)),
        Json::Array(entries) => {
            let entries: Vec<_> = entries.iter().filter_map(inline).collect();
            Some(format!("[{}]", entries.join(", ")))
        }
        Json::Object(fields) => {
            let field = |(name, value): (&String, &Json)| {
                Some(format!("{} = {}", key(name), inline(value)?))
            };
            let fields: Vec<_> = fields.iter().filter_map(field).collect();
            Some(format!("{{ {} }}", fields.join(", ")))
        }
    }
}

/// One table under a header of its own.
pub(super) fn table(header: &str, value: &Json) -> String {
    let mut out = String::new();
    if let Json::Object(fields) = value {
        section(&mut out, header, fields, &[]);
    }
    out
}

/// A configuration as a file, each setting below what it does, as `docs` says by key.
pub(in crate::app) fn toml(root: &Map<String, Json>, docs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    section(&mut out, "", root, docs);
    out
}

fn section(out: &mut String, path: &str, fields: &Map<String, Json>, docs: &[(&str, &str)]) {
    let below = |name: &str| {
        let dot = if path.is_empty() { "" } else { "." };
        format!("{path}{dot}{}", key(name))
    };
    let is_table = |value: &Json| value.is_object();
    let plain = fields.iter().filter(|(_, value)| !is_table(value));
    // Writing to a string does not fail.
    if !path.is_empty() && (plain.clone().next().is_some() || fields.is_empty()) {
        let line = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{line}[{path}]");
    }
    for (name, value) in plain {
        let doc = docs.iter().find(|(key, _)| *key == below(name));
        if let Some((_, doc)) = doc {
            let _ = writeln!(out, "# {doc}.");
        }
        let _ = match inline(value) {
            Some(value) => writeln!(out, "{} = {value}", key(name)),
            None => writeln!(out, "# {} =", key(name)),
        };
    }
    for (name, value) in fields {
        if let Json::Object(fields) = value {
            section(out, &below(name), fields, docs);
        }
    }
}
