//! Rules of fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::fields::is_extern;
use super::literal;
use super::sort::{Sort, goes_with};
use crate::error::Problem;
use crate::names::{self, Here};
use crate::source::{At, Source};

const RULES: i32 = 73_503;
const P53: f64 = 9_007_199_254_740_992.0;

/// Which messages have rules, themselves or in what they hold.
pub(crate) fn ruled(messages: &[MessageDescriptor], source: &Source) -> BTreeSet<String> {
    let mut holds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut ruled = BTreeSet::new();
    for message in messages {
        let fields = message.fields().filter_map(|f| value_message(&f));
        let inner = fields.map(|m| m.full_name().to_owned()).collect();
        holds.insert(message.full_name().to_owned(), inner);
        let own = message.fields().any(|f| rules_of(&f, source).is_some())
            || message.oneofs().any(|o| is_required(&o, source));
        if own {
            ruled.insert(message.full_name().to_owned());
        }
    }
    loop {
        let before = ruled.len();
        for (name, inner) in &holds {
            if inner.iter().any(|i| ruled.contains(i)) {
                ruled.insert(name.clone());
            }
        }
        if ruled.len() == before {
            return ruled;
        }
    }
}

/// The message that a field, an element or a map's value is.
fn value_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(message) => Some(message),
            _ => None,
        },
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

fn rules_of(field: &FieldDescriptor, source: &Source) -> Option<DynamicMessage> {
    let extension = source.pool.get_extension_by_name("seawall.api.rules")?;
    let options = field.options();
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

fn is_required(oneof: &prost_reflect::OneofDescriptor, source: &Source) -> bool {
    let extension = source
        .pool
        .get_extension_by_name("seawall.api.one_required");
    extension.is_some_and(|e| oneof.options().get_extension(&e).as_bool() == Some(true))
}

/// `Validate` of a message.
pub(crate) fn emit(
    message: &MessageDescriptor,
    ruled: &BTreeSet<String>,
    source: &Source,
    externs: &[(String, String)],
    problems: &mut Vec<Problem>,
) -> String {
    let here = Here {
        package: message.package_name(),
        deeper: 0,
        externs,
    };
    let name = here.message(message);
    if !ruled.contains(message.full_name()) {
        return format!("impl ::seawall::api::Validate for {name} {{}}\n\n");
    }
    let mut body = String::new();
    for field in message.fields() {
        let mut writer = Writer {
            source,
            field: &field,
            ruled,
            externs,
            problems: &mut *problems,
        };
        body.push_str(&writer.field(message, here));
    }
    for oneof in message.oneofs().filter(|o| is_required(o, source)) {
        let name = names::snake(oneof.name());
        writeln!(
            body,
            "        rules::required(self.{name}.is_some(), &at.field({}), out);",
            literal(oneof.name())
        )
        .ok();
    }
    format!(
        "#[allow(clippy::all)]
impl ::seawall::api::Validate for {name} {{
    fn validate(&self, at: &::seawall::api::Path<'_>, out: &mut ::seawall::api::Violations) {{
        #[allow(unused_imports)]
        use ::seawall::api::{{Validate as _, rules}};
{body}    }}
}}

"
    )
}

struct Writer<'a> {
    source: &'a Source,
    field: &'a FieldDescriptor,
    ruled: &'a BTreeSet<String>,
    externs: &'a [(String, String)],
    problems: &'a mut Vec<Problem>,
}

impl Writer<'_> {
    fn field(&mut self, message: &MessageDescriptor, here: Here<'_>) -> String {
        let field = self.field;
        let rules = rules_of(field, self.source);
        let inner = value_message(field);
        let descends = inner
            .as_ref()
            .is_some_and(|m| self.ruled.contains(m.full_name()) && !is_extern(m, self.externs));
        if rules.is_none() && !descends {
            return String::new();
        }
        let rules = rules.unwrap_or_else(|| self.empty());
        let at = format!("let at = &at.field({});", literal(field.name()));
        let oneof = field.containing_oneof().filter(|o| !o.is_synthetic());
        if let Some(oneof) = oneof {
            let variant = here.oneof(message, oneof.name());
            let checks = self.value(&rules, &field.kind(), "value", descends, here);
            let name = names::camel(field.name());
            return format!(
                "        if let ::core::option::Option::Some({variant}::{name}(value)) = &self.{} {{ {at} {checks}}}\n",
                names::snake(oneof.name())
            );
        }
        let place = format!("self.{}", names::field(field));
        let body = if field.is_map() {
            self.map(&rules, &place, descends, here)
        } else if field.is_list() {
            self.list(&rules, &place, descends, here)
        } else if field.supports_presence() {
            let required = self.flag(&rules, "required");
            let rules = without_required(&rules);
            let checks = self.value(&rules, &field.kind(), "value", descends, here);
            let mut body = String::new();
            if required {
                write!(body, "rules::required({place}.is_some(), at, out); ").ok();
            }
            if !checks.is_empty() {
                write!(
                    body,
                    "if let ::core::option::Option::Some(value) = &{place} {{ {checks}}} "
                )
                .ok();
            }
            body
        } else {
            let checks = self.value(&rules, &field.kind(), "value", descends, here);
            format!("let value = &{place}; {checks}")
        };
        format!("        {{ {at} {body}}}\n")
    }

    fn empty(&self) -> DynamicMessage {
        let rules = self.source.pool.get_message_by_name("seawall.api.Rules");
        // Where no file imports the options, nothing has rules; any message without fields does.
        rules.map_or_else(
            || DynamicMessage::new(self.field.parent_message().clone()),
            DynamicMessage::new,
        )
    }

    fn list(
        &mut self,
        rules: &DynamicMessage,
        place: &str,
        descends: bool,
        here: Here<'_>,
    ) -> String {
        let mut out = self.items(rules, &Sort::List, place);
        if self.flag(rules, "unique") {
            match self.field.kind() {
                Kind::Message(_) | Kind::Double | Kind::Float => {
                    self.wrong("`unique` goes with strings, bytes, integers and enums");
                }
                _ => {
                    write!(out, "rules::unique(&{place}, at, out); ").ok();
                }
            }
        }
        let items = message(rules, "items").unwrap_or_else(|| self.empty());
        let checks = self.value(&items, &self.field.kind(), "value", descends, here);
        if !checks.is_empty() {
            write!(
                out,
                "for (i, value) in {place}.iter().enumerate() {{ let at = &at.index(i); {checks}}} "
            )
            .ok();
        }
        out
    }

    fn map(
        &mut self,
        rules: &DynamicMessage,
        place: &str,
        descends: bool,
        here: Here<'_>,
    ) -> String {
        let mut out = self.items(rules, &Sort::Map, place);
        let Kind::Message(entry) = self.field.kind() else {
            return out;
        };
        let keys = message(rules, "keys").unwrap_or_else(|| self.empty());
        let values = message(rules, "items").unwrap_or_else(|| self.empty());
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        let keys = self.value(&keys, &key.kind(), "key", false, here);
        let values = self.value(&values, &value.kind(), "value", descends, here);
        if !keys.is_empty() || !values.is_empty() {
            let value = if values.is_empty() { "_" } else { "value" };
            write!(
                out,
                "for (key, {value}) in &{place} {{ let at = &at.key(key); {keys}{values}}} "
            )
            .ok();
        }
        out
    }

    /// What lists and maps have in common.
    fn items(&mut self, rules: &DynamicMessage, sort: &Sort, place: &str) -> String {
        self.only(rules, sort);
        self.order(rules, "min_items", "max_items");
        let mut out = String::new();
        if self.flag(rules, "required") {
            write!(out, "rules::required(!{place}.is_empty(), at, out); ").ok();
        }
        for rule in ["min_items", "max_items"] {
            if let Some(bound) = number(rules, rule) {
                write!(out, "rules::{rule}({place}.len(), {bound}, at, out); ").ok();
            }
        }
        out
    }

    /// The checks of one value; `value` is an expression of a reference to it.
    fn value(
        &mut self,
        rules: &DynamicMessage,
        kind: &Kind,
        value: &str,
        descends: bool,
        here: Here<'_>,
    ) -> String {
        let sort = Sort::of(kind, here);
        self.only(rules, &sort);
        let mut out = String::new();
        if self.flag(rules, "required") {
            let there = match sort {
                Sort::Text | Sort::Bytes => format!("!{value}.is_empty()"),
                Sort::Number("f64" | "f32") => format!("*{value} != 0.0"),
                Sort::Number(_) | Sort::Enum(_) => format!("*{value} != 0"),
                Sort::Bool => format!("*{value}"),
                Sort::Message | Sort::List | Sort::Map => "true".into(),
            };
            write!(out, "rules::required({there}, at, out); ").ok();
        }
        match &sort {
            Sort::Text => self.text(&mut out, rules, value),
            Sort::Bytes => self.lengths(&mut out, rules, value, "bytes"),
            Sort::Number(rust) => self.number(&mut out, rules, value, rust),
            Sort::Enum(name) if self.flag(rules, "defined") => {
                write!(
                    out,
                    "rules::defined({name}::try_from(*{value}).is_ok(), at, out); "
                )
                .ok();
            }
            _ => {}
        }
        if descends {
            write!(out, "{value}.validate(at, out); ").ok();
        }
        out
    }

    fn lengths(&mut self, out: &mut String, rules: &DynamicMessage, value: &str, unit: &str) {
        self.order(rules, "min_len", "max_len");
        for (rule, end) in [("min_len", "min"), ("max_len", "max")] {
            if let Some(bound) = number(rules, rule) {
                write!(out, "rules::{end}_{unit}({value}, {bound}, at, out); ").ok();
            }
        }
    }

    fn text(&mut self, out: &mut String, rules: &DynamicMessage, value: &str) {
        self.lengths(out, rules, value, "len");
        if let Some(pattern) = told(rules, "pattern").and_then(|v| v.as_str().map(str::to_owned)) {
            if let Err(error) = regex::Regex::new(&pattern) {
                let error = error.to_string();
                let last = error
                    .lines()
                    .last()
                    .unwrap_or("")
                    .trim_start_matches("error: ");
                self.wrong(&format!("the pattern `{pattern}` does not compile: {last}"));
            }
            write!(
                out,
                "{{ static PATTERN: rules::Pattern = rules::Pattern::new({}); PATTERN.check({value}, at, out); }} ",
                literal(&pattern)
            )
            .ok();
        }
        for format in ["email", "uuid", "hostname", "ip", "uri"] {
            if self.flag(rules, format) {
                write!(out, "rules::{format}({value}, at, out); ").ok();
            }
        }
        for (rule, call) in [("in", "among"), ("not_in", "not_among")] {
            let list: Vec<String> = texts(rules, rule).iter().map(|t| literal(t)).collect();
            if !list.is_empty() {
                let list = list.join(", ");
                write!(out, "rules::{call}({value}.as_str(), &[{list}], at, out); ").ok();
            }
        }
    }

    fn number(&mut self, out: &mut String, rules: &DynamicMessage, value: &str, rust: &str) {
        for rule in ["gt", "gte", "lt", "lte"] {
            let Some(bound) = told(rules, rule).and_then(|v| v.as_f64()) else {
                continue;
            };
            if let Some(bound) = self.bound(rule, bound, rust) {
                write!(out, "rules::{rule}(*{value}, {bound}, at, out); ").ok();
            }
        }
        for (rule, call) in [("in", "among"), ("not_in", "not_among")] {
            let list: Vec<String> = texts(rules, rule)
                .iter()
                .filter_map(|text| self.member(rule, text, rust))
                .collect();
            if !list.is_empty() {
                let list = list.join(", ");
                write!(out, "rules::{call}(*{value}, &[{list}], at, out); ").ok();
            }
        }
    }

    /// A bound as a literal of its type.
    fn bound(&mut self, rule: &str, bound: f64, rust: &str) -> Option<String> {
        let (low, high) = match rust {
            "i32" => (f64::from(i32::MIN), f64::from(i32::MAX)),
            "u32" => (0.0, f64::from(u32::MAX)),
            "i64" => (-P53, P53),
            "u64" => (0.0, P53),
            _ if bound.is_finite() => return Some(format!("{bound:?}_{rust}")),
            _ => {
                self.wrong(&format!("`{rule}: {bound}` is no bound"));
                return None;
            }
        };
        if bound.fract() != 0.0 || !(low..=high).contains(&bound) {
            self.wrong(&format!("`{rule}: {bound}` is no {rust}, or beyond 2^53"));
            return None;
        }
        Some(format!("{bound:.0}_{rust}"))
    }

    fn member(&mut self, rule: &str, text: &str, rust: &str) -> Option<String> {
        let right = match rust {
            "i32" => text.parse::<i32>().is_ok(),
            "u32" => text.parse::<u32>().is_ok(),
            "i64" => text.parse::<i64>().is_ok(),
            "u64" => text.parse::<u64>().is_ok(),
            _ => text.parse::<f64>().is_ok_and(f64::is_finite),
        };
        if !right {
            self.wrong(&format!("`{rule}: \"{text}\"` is no {rust}"));
            return None;
        }
        let text = text.trim_start_matches('+');
        match rust {
            "f32" | "f64" => text.parse::<f64>().ok().map(|n| format!("{n:?}_{rust}")),
            _ => Some(format!("{text}_{rust}")),
        }
    }

    fn flag(&mut self, rules: &DynamicMessage, rule: &str) -> bool {
        told(rules, rule).is_some_and(|v| v.as_bool() == Some(true))
    }

    /// A rule that does not go with what it is of.
    fn only(&mut self, rules: &DynamicMessage, sort: &Sort) {
        let told: Vec<String> = rules.fields().map(|(f, _)| f.name().to_owned()).collect();
        for rule in told.iter().filter(|r| !sort.allows(r)) {
            let what = format!(
                "`{rule}` goes with {}, and {} is {}",
                goes_with(rule),
                self.field.full_name(),
                sort.name()
            );
            self.wrong(&what);
        }
    }

    fn order(&mut self, rules: &DynamicMessage, min: &str, max: &str) {
        if let (Some(low), Some(high)) = (number(rules, min), number(rules, max))
            && low > high
        {
            self.wrong(&format!(
                "`{min}: {low}` is more than `{max}: {high}`: nothing passes"
            ));
        }
    }

    fn wrong(&mut self, what: &str) {
        let file = self.field.parent_file();
        let at = At::new(file.name(), self.field.path()).option(&[8, RULES]);
        let remedy = "docs/api.md lists the rules and what they go with";
        self.problems.push(self.source.problem(at, what, remedy));
    }
}

fn without_required(rules: &DynamicMessage) -> DynamicMessage {
    let mut rules = rules.clone();
    rules.clear_field_by_name("required");
    rules
}

fn told(rules: &DynamicMessage, rule: &str) -> Option<Value> {
    if !rules.has_field_by_name(rule) {
        return None;
    }
    rules.get_field_by_name(rule).map(|v| v.into_owned())
}

fn number(rules: &DynamicMessage, rule: &str) -> Option<u64> {
    told(rules, rule).and_then(|v| v.as_u64())
}

fn message(rules: &DynamicMessage, rule: &str) -> Option<DynamicMessage> {
    told(rules, rule).and_then(|v| v.as_message().cloned())
}

fn texts(rules: &DynamicMessage, rule: &str) -> Vec<String> {
    let value = told(rules, rule);
    let list = value.as_ref().and_then(Value::as_list).unwrap_or_default();
    list.iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

pub(crate) fn is_required_field(field: &FieldDescriptor, source: &Source) -> bool {
    let rules = rules_of(field, source);
    rules.is_some_and(|r| told(&r, "required").and_then(|v| v.as_bool()) == Some(true))
}

/// Adds to a JSON schema what a field's rules say.
/// Whether a field has rules, which its default may break.
pub(crate) fn is_ruled(field: &FieldDescriptor, source: &Source) -> bool {
    rules_of(field, source).is_some()
}

pub(crate) fn describe(field: &FieldDescriptor, source: &Source, schema: &mut serde_json::Value) {
    if let Some(rules) = rules_of(field, source) {
        describe_by(&rules, schema);
    }
}

fn describe_by(rules: &DynamicMessage, schema: &mut serde_json::Value) {
    // A 64-bit integer is a text in JSON, which has no bounds there.
    let numeric = schema["type"] != "string";
    for (rule, keyword) in [
        ("gt", "exclusiveMinimum"),
        ("gte", "minimum"),
        ("lt", "exclusiveMaximum"),
        ("lte", "maximum"),
    ] {
        if let Some(bound) = told(rules, rule)
            .and_then(|v| v.as_f64())
            .filter(|_| numeric)
        {
            schema[keyword] = if bound.fract() == 0.0 && bound.abs() < P53 {
                serde_json::json!(bound as i64)
            } else {
                serde_json::json!(bound)
            };
        }
    }
    let list = schema["type"] == "array";
    for (rule, keyword) in [
        ("min_len", "minLength"),
        ("max_len", "maxLength"),
        ("min_items", if list { "minItems" } else { "minProperties" }),
        ("max_items", if list { "maxItems" } else { "maxProperties" }),
    ] {
        // The length of bytes is not that of their text.
        let bytes = schema["format"] == "byte";
        if let Some(bound) = number(rules, rule).filter(|_| !bytes) {
            schema[keyword] = bound.into();
        }
    }
    if let Some(pattern) = told(rules, "pattern").and_then(|v| v.as_str().map(str::to_owned)) {
        schema["pattern"] = pattern.into();
    }
    for format in ["email", "uuid", "hostname", "uri"] {
        if told(rules, format).is_some() {
            schema["format"] = format.into();
        }
    }
    if told(rules, "unique").is_some() {
        schema["uniqueItems"] = true.into();
    }
    let allowed = texts(rules, "in");
    if !allowed.is_empty() && !numeric {
        schema["enum"] = allowed.into();
    }
    if let Some(items) = message(rules, "items") {
        let keyword = if list {
            "items"
        } else {
            "additionalProperties"
        };
        describe_by(&items, &mut schema[keyword]);
    }
}
