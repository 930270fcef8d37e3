//! `google.api.http` as it is read: rules of verbs, templates, bodies.

use std::collections::BTreeMap;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};

use crate::error::{Problem, nearest};
use crate::source::{At, Source};
use crate::template::Template;

const HTTP: i32 = 72_295_728;

/// What a request's body is.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Nothing,
    Whole,
    Field(FieldDescriptor),
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) verb: String,
    pub(crate) template: Template,
    pub(crate) body: Body,
    pub(crate) response_body: Option<FieldDescriptor>,
}

impl Binding {
    /// Whether path or query sets a field.
    pub(crate) fn sets_fields(&self) -> bool {
        !self.template.variables.is_empty() || !matches!(self.body, Body::Whole)
    }
}

/// Reads the rules of methods, one after another, and sees that they do not clash.
pub(crate) struct Reader<'a> {
    source: &'a Source,
    /// By verb and shape: who it is of, and where that stands.
    seen: BTreeMap<(String, String), (String, String)>,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self {
            source,
            seen: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    pub(crate) fn bindings(&mut self, method: &MethodDescriptor) -> Vec<Binding> {
        let Some(extension) = self.source.pool.get_extension_by_name("google.api.http") else {
            return Vec::new();
        };
        let options = method.options();
        if !options.has_extension(&extension) {
            return Vec::new();
        }
        let value = options.get_extension(&extension);
        let Some(rule) = value.as_message() else {
            return Vec::new();
        };
        let mut all = vec![rule.clone()];
        all.extend(messages(rule, "additional_bindings"));
        let bindings: Vec<_> = all.iter().filter_map(|r| self.binding(method, r)).collect();
        for binding in &bindings {
            self.note(method, binding);
        }
        bindings
    }

    fn binding(&mut self, method: &MethodDescriptor, rule: &DynamicMessage) -> Option<Binding> {
        let Some((verb, path)) = verb_and_path(rule) else {
            let remedy = "Write one of get, put, post, delete, patch or custom: `get: \"/v1/…\"`";
            return self.wrong(method, "a rule of google.api.http has no verb", remedy);
        };
        let template = match Template::parse(&path) {
            Ok(template) => template,
            Err(why) => {
                let what = format!("`{path}` is no path template: {why}");
                return self.wrong(method, what, "Such as: /v1/{name=shelves/*}/books:sort");
            }
        };
        for variable in &template.variables {
            self.variable(method, variable)?;
        }
        let body = self.body(method, &verb, &text(rule, "body"))?;
        let response_body = match text(rule, "response_body").as_str() {
            "" => None,
            name => Some(self.part(method, &method.output(), name, "response_body")?),
        };
        Some(Binding {
            verb,
            template,
            body,
            response_body,
        })
    }

    /// A variable must lead to one value that a text can be.
    fn variable(&mut self, method: &MethodDescriptor, path: &str) -> Option<()> {
        let mut message = method.input();
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let Some(field) = message.get_field_by_name(name) else {
                let what = format!(
                    "the path's `{{{path}}}` is no field: {} has no `{name}`",
                    message.full_name()
                );
                let remedy = did_you_mean(name, &message);
                return self.wrong(method, what, remedy);
            };
            let last = names.peek().is_none();
            match field.kind() {
                Kind::Message(next) if !last && !field.is_list() && !field.is_map() => {
                    message = next;
                }
                Kind::Message(next) if last && is_text(&next) && !field.is_list() => {}
                Kind::Message(_) => {
                    let what = format!("the path's `{{{path}}}` is a message, a list or a map");
                    return self.wrong(method, what, "Name a field of one value: {order.id}");
                }
                _ if last && !field.is_list() => {}
                _ => {
                    let what = format!("the path's `{{{path}}}` is no field of one value");
                    return self.wrong(method, what, "Name a field of one value: {order.id}");
                }
            }
        }
        Some(())
    }

    fn body(&mut self, method: &MethodDescriptor, verb: &str, name: &str) -> Option<Body> {
        let body = match name {
            "" => Body::Nothing,
            "*" => Body::Whole,
            name => Body::Field(self.part(method, &method.input(), name, "body")?),
        };
        if !matches!(body, Body::Nothing) && matches!(verb, "GET" | "DELETE" | "HEAD") {
            let what = format!("{verb} has a body");
            let remedy = "Leave `body` out, or use post: proxies drop the body of such a request";
            return self.wrong(method, what, remedy);
        }
        if method.is_client_streaming() && !matches!(body, Body::Whole) {
            let what = "a stream of messages over HTTP is its body";
            return self.wrong(method, what, "Write `post` with `body: \"*\"`");
        }
        Some(body)
    }

    /// A field that is a body by itself.
    fn part(
        &mut self,
        method: &MethodDescriptor,
        message: &MessageDescriptor,
        name: &str,
        option: &str,
    ) -> Option<FieldDescriptor> {
        let Some(field) = message.get_field_by_name(name) else {
            let what = format!(
                "`{option}: \"{name}\"`: {} has no such field",
                message.full_name()
            );
            return self.wrong(method, what, did_you_mean(name, message));
        };
        let whole = matches!(field.kind(), Kind::Message(_)) && !field.is_map();
        if !whole || field.containing_oneof().is_some_and(|o| !o.is_synthetic()) {
            let what = format!("`{option}: \"{name}\"` is no message and no list of messages");
            return self.wrong(
                method,
                what,
                "Put it into a message, or leave the option out",
            );
        }
        Some(field)
    }

    fn note(&mut self, method: &MethodDescriptor, binding: &Binding) {
        let file = method.parent_file();
        let place = self.source.place(At::new(file.name(), method.path()));
        let name = method.full_name().to_owned();
        let key = (binding.verb.clone(), binding.template.shape());
        if let Some((other, where_)) = self.seen.get(&key) {
            let what = format!(
                "{} {} of {name} matches the same paths as one of {other} ({where_})",
                binding.verb, binding.template.text
            );
            let remedy = "Change one of them: another verb, another literal, or a custom verb \
                          such as `:cancel`";
            self.wrong::<()>(method, what, remedy);
            return;
        }
        self.seen.insert(key, (name, place));
    }

    fn wrong<T>(
        &mut self,
        method: &MethodDescriptor,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<T> {
        let file = method.parent_file();
        let at = At::new(file.name(), method.path()).option(&[4, HTTP]);
        self.problems.push(self.source.problem(at, what, remedy));
        None
    }
}

fn verb_and_path(rule: &DynamicMessage) -> Option<(String, String)> {
    for name in ["get", "put", "post", "delete", "patch"] {
        let path = text(rule, name);
        if !path.is_empty() {
            return Some((name.to_ascii_uppercase(), path));
        }
    }
    let custom = rule.get_field_by_name("custom")?;
    let custom = custom.as_message()?;
    let (kind, path) = (text(custom, "kind"), text(custom, "path"));
    let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let right = !kind.is_empty() && kind.bytes().all(token) && !path.is_empty();
    right.then_some((kind, path))
}

pub(crate) fn text(message: &DynamicMessage, name: &str) -> String {
    let value = message.get_field_by_name(name);
    value
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn messages(message: &DynamicMessage, name: &str) -> Vec<DynamicMessage> {
    let value = message.get_field_by_name(name);
    let list = value
        .as_deref()
        .and_then(Value::as_list)
        .unwrap_or_default();
    list.iter()
        .filter_map(|v| v.as_message().cloned())
        .collect()
}

fn did_you_mean(name: &str, message: &MessageDescriptor) -> String {
    let names: Vec<String> = message.fields().map(|f| f.name().to_owned()).collect();
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean `{near}`?"),
        None => format!("Its fields: {}", names.join(", ")),
    }
}

/// A message whose JSON form is a text.
pub(crate) fn is_text(message: &MessageDescriptor) -> bool {
    matches!(
        message.full_name(),
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
    )
}
