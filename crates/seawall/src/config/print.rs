//! The default configuration as a commented file, the settings as a list, and the JSON schema: all
//! from [`SETTINGS`].

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::settings::{SETTINGS, Setting};

/// A complete file that says nothing but the defaults, each with what it does.
///
/// Reading it gives what no file gives for an upstream at `http://127.0.0.1:3000`.
#[must_use]
pub fn default_toml() -> String {
    let mut out =
        String::from("# Every setting with its default. Leave out what you do not change.\n");
    let mut section = "";
    for setting in SETTINGS {
        let (parent, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        let shown = Shown::of(parent);
        if parent != section {
            section = parent;
            // Writing to a string does not fail.
            let _ = writeln!(out, "\n{}{}", shown.mark(), shown.header);
        }
        let why = if setting.required {
            "Required"
        } else {
            "Default because"
        };
        let _ = writeln!(
            out,
            "# {} {}. {why}: {}.",
            setting.what,
            capitalised(&setting.kind.to_string()),
            setting.reason
        );
        let off = if shown.commented || (setting.default.is_none() && !setting.required) {
            "# "
        } else {
            ""
        };
        let _ = writeln!(out, "{off}{name} = {}", setting.example);
    }
    out
}

/// How a section is shown: real where it can stand with its defaults, commented where it cannot.
struct Shown {
    header: String,
    commented: bool,
}

impl Shown {
    fn of(parent: &str) -> Self {
        match parent {
            "listeners.*" | "upstreams.*" => Self {
                header: format!("[{}]", parent.replace('*', "default")),
                commented: false,
            },
            nested if nested.starts_with("upstreams.*.") => Self {
                header: format!("[{}]", nested.replace('*', "default")),
                commented: false,
            },
            "lanes.*" => Self {
                header: "[lanes.search]".to_owned(),
                commented: true,
            },
            list if list.ends_with("[]") => Self {
                header: format!(
                    "[[{}]]",
                    list.trim_end_matches("[]").replace('*', "default")
                ),
                commented: true,
            },
            // Being there says that it is wanted.
            below if below.contains("[].") => Self {
                header: format!("[{}]", below.replace("[]", "")),
                commented: true,
            },
            // Being there says that TLS is wanted.
            tls if tls.ends_with(".tls") => Self {
                header: format!("[{}]", tls.replace('*', "default")),
                commented: true,
            },
            plain => Self {
                header: format!("[{plain}]"),
                commented: false,
            },
        }
    }

    const fn mark(&self) -> &'static str {
        if self.commented { "# " } else { "" }
    }
}

/// A URL keeps its letters.
fn capitalised(text: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

/// The setting a key of a file belongs to: `listeners.public.trust` is `listeners.*.trust`.
#[must_use]
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| {
        let (mut pattern, mut given) = (s.key.split('.'), key.split('.').peekable());
        pattern.all(|p| {
            let Some(name) = given.next() else {
                return false;
            };
            if p == "*" {
                return true;
            }
            let list = p.strip_suffix("[]");
            if list.is_some() {
                given.next_if(|n| n.bytes().all(|b| b.is_ascii_digit()));
            }
            name.split('[').next() == Some(list.unwrap_or(p))
        }) && given.next().is_none()
    })
}

/// What a setting does, in a few lines for a terminal.
#[must_use]
pub fn explain(setting: &Setting) -> String {
    let default = match (setting.default, setting.required) {
        (Some(value), _) => format!("default {value}: {}", setting.reason),
        (None, true) => format!("required: {}", setting.reason),
        (None, false) => format!("no default: {}", setting.reason),
    };
    format!(
        "{}\n  {}\n  {}\n  {default}",
        setting.key, setting.what, setting.kind
    )
}

/// A JSON schema (draft 2020-12) of the file, for editors.
#[must_use]
pub fn json_schema() -> Value {
    let mut root = object();
    for setting in SETTINGS {
        let mut node = &mut root;
        let mut parts = setting.key.split('.').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            if last && setting.required {
                require(node, part);
            }
            node = step(node, part, last.then(|| leaf(setting)));
        }
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Seawall gateway");
    root
}

fn object() -> Value {
    json!({ "type": "object", "additionalProperties": false })
}

fn require(node: &mut Value, name: &str) {
    if !node["required"].is_array() {
        node["required"] = json!([]);
    }
    if let Some(list) = node["required"].as_array_mut() {
        list.push(json!(name));
    }
}

/// The schema below `node` that `part` leads to, made where it is not there.
fn step<'n>(node: &'n mut Value, part: &str, leaf: Option<Value>) -> &'n mut Value {
    if part == "*" {
        if !node["additionalProperties"].is_object() {
            node["additionalProperties"] = object();
        }
        return &mut node["additionalProperties"];
    }
    if !node["properties"].is_object() {
        node["properties"] = Value::Object(Map::new());
    }
    let (name, list) = part
        .strip_suffix("[]")
        .map_or((part, false), |name| (name, true));
    let child = &mut node["properties"][name];
    if child.is_null() {
        *child = leaf.unwrap_or_else(|| {
            if list {
                json!({ "type": "array", "items": object() })
            } else {
                object()
            }
        });
    }
    if list { &mut child["items"] } else { child }
}

fn leaf(setting: &Setting) -> Value {
    let mut schema = match setting.kind {
        Kind::Time(..) => {
            json!({ "type": "string", "pattern": r"^\s*[0-9.]+\s*(us|ms|s|m|h)\s*$" })
        }
        Kind::Size(..) => {
            json!({ "type": "string", "pattern": r"^\s*[0-9.]+\s*(B|KiB|MiB|GiB)\s*$" })
        }
        Kind::Count(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Kind::Ratio(from, to) => json!({ "type": "number", "minimum": from, "maximum": to }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(names) => json!({ "enum": names }),
        kind if kind.is_list() => {
            json!({ "type": "array", "items": { "type": "string" } })
        }
        Kind::Path => json!({ "type": "string", "pattern": "^/" }),
        Kind::Secret(least) => json!({ "type": "string", "minLength": least }),
        Kind::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
        _ => json!({ "type": "string" }),
    };
    schema["description"] = json!(format!(
        "{} {}.",
        setting.what,
        capitalised(&setting.kind.to_string())
    ));
    // A default is a literal of the file's language; those that JSON shares are told as such.
    if let Some(default) = setting
        .default
        .and_then(|d| serde_json::from_str::<Value>(&d.replace('_', "")).ok())
    {
        schema["default"] = default;
    }
    schema
}
