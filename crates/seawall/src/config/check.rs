//! Looks at a file the way a person would, and finds everything wrong with it at once.
//!
//! serde stops at its first error. So the text is first walked beside [`SETTINGS`]: each key must
//! be there, each value of its kind. Only a text without findings is made into types, and then what
//! one setting says of another is looked at.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Findings, Problem, nearest};
use super::kind::is_name;
use super::settings::{SETTINGS, Setting};

/// Walks the whole text.
pub(super) fn walk(root: &Spanned<DeTable<'_>>, findings: &mut Findings<'_>) {
    table(root.get_ref(), root.span(), "", "", findings);
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

/// The names that may follow `pattern`, `*` among them where any may.
fn children(pattern: &str) -> impl Iterator<Item = &'static str> {
    let prefix = if pattern.is_empty() {
        String::new()
    } else {
        format!("{pattern}.")
    };
    SETTINGS
        .iter()
        .filter_map(move |s| s.key.strip_prefix(&prefix))
        .map(|rest| {
            rest.split('.')
                .next()
                .unwrap_or(rest)
                .trim_end_matches("[]")
        })
}

fn leaf(pattern: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.key == pattern)
}

fn is_branch(pattern: &str) -> bool {
    SETTINGS.iter().any(|s| {
        s.key
            .strip_prefix(pattern)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

fn table(
    entries: &DeTable<'_>,
    span: Range<usize>,
    pattern: &str,
    path: &str,
    findings: &mut Findings<'_>,
) {
    let named = children(pattern).any(|c| c == "*");
    for (key, value) in entries {
        let name = key.get_ref().as_ref();
        let here = join(path, name);
        if named && !is_name(name) {
            let problem =
                Problem::Invalid("is no name: 1 to 64 letters, digits, `-` or `_`".to_owned());
            findings.add(key.span(), here, problem);
            continue;
        }
        let known = join(pattern, if named { "*" } else { name });
        let list = format!("{known}[]");
        if let Some(setting) = leaf(&known) {
            check_value(setting, value, &here, findings);
        } else if is_branch(&known) {
            match value.get_ref().as_table() {
                Some(entries) => table(entries, key.span(), &known, &here, findings),
                None => findings.add(value.span(), here, not_a("table", value.get_ref())),
            }
        } else if is_branch(&list) {
            tables(value, &list, &here, findings);
        } else {
            findings.add(key.span(), here, unknown(pattern, name));
        }
    }
    for setting in SETTINGS.iter().filter(|s| s.required) {
        let Some((parent, name)) = setting.key.rsplit_once('.') else {
            continue;
        };
        if parent == pattern && !entries.keys().any(|k| k.get_ref() == name) {
            let problem = Problem::Missing(format!(
                "{} For example {name} = {}",
                setting.what, setting.example
            ));
            findings.add(span.clone(), join(path, name), problem);
        }
    }
}

/// Every entry of a list by itself, so that all are told of, each where it stands.
fn check_value(
    setting: &Setting,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    let list = value.get_ref().as_array();
    if let Some(entries) = list.filter(|_| setting.kind.is_list()) {
        for entry in entries {
            if let Err(problem) = setting.kind.check_entry(entry.get_ref()) {
                findings.add(entry.span(), path, problem);
            }
        }
    } else if let Err(problem) = setting.kind.check(value.get_ref(), setting.example) {
        findings.add(value.span(), path, problem);
    }
}

fn tables(value: &Spanned<DeValue<'_>>, pattern: &str, path: &str, findings: &mut Findings<'_>) {
    let Some(entries) = value.get_ref().as_array() else {
        return findings.add(value.span(), path, not_a("list of tables", value.get_ref()));
    };
    for (n, entry) in entries.iter().enumerate() {
        let here = format!("{path}[{n}]");
        match entry.get_ref().as_table() {
            Some(fields) => table(fields, entry.span(), pattern, &here, findings),
            None => findings.add(entry.span(), here, not_a("table", entry.get_ref())),
        }
    }
}

fn not_a(expected: &str, found: &DeValue<'_>) -> Problem {
    Problem::Type {
        expected: expected.to_owned(),
        found: found.type_str(),
    }
}

/// The nearest name here; else the place where this very name belongs, one of the same section before
/// the only one elsewhere.
fn unknown(pattern: &str, name: &str) -> Problem {
    let near = nearest(name, children(pattern)).map(str::to_owned);
    let elsewhere = || {
        let places: Vec<_> = SETTINGS
            .iter()
            .filter(|s| s.key.rsplit('.').next() == Some(name))
            .map(|s| s.key)
            .collect();
        let section = |key: &'_ str| key.split(['.', '[']).next().map(str::to_owned);
        let near = places.iter().find(|key| section(key) == section(pattern));
        let only = (places.len() == 1).then(|| &places[0]);
        near.or(only).map(|&key| key.to_owned())
    };
    Problem::UnknownKey(near.or_else(elsewhere))
}

/// Where the value of `path` stands; the nearest table above it where it is not written out.
pub(super) fn locate(root: &Spanned<DeTable<'_>>, path: &[&str]) -> Range<usize> {
    let Some((first, rest)) = path.split_first() else {
        return root.span();
    };
    let Some((key, value)) = root.get_ref().iter().find(|(k, _)| k.get_ref() == first) else {
        return root.span();
    };
    let (mut span, mut value) = (
        if value.get_ref().is_table() {
            key.span()
        } else {
            value.span()
        },
        value.get_ref(),
    );
    for name in rest {
        let next = match value {
            DeValue::Table(fields) => fields
                .iter()
                .find(|(k, _)| k.get_ref() == name)
                .map(|(k, v)| (k.span(), v)),
            DeValue::Array(entries) => name
                .parse()
                .ok()
                .and_then(|n: usize| entries.get(n))
                .map(|v| (v.span(), v)),
            _ => None,
        };
        let Some((key, found)) = next else { break };
        span = if found.get_ref().is_table() {
            key
        } else {
            found.span()
        };
        value = found.get_ref();
    }
    span
}
