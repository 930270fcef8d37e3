//! OpenAPI 3.1 of a package's services: what is called over HTTP, and the messages it needs.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use crate::emit::rules;
use crate::emit::service::Bound;
use crate::http::{Binding, Body};
use crate::source::{At, Source};

/// How deep a query reaches into messages: definitions may be recursive.
const DEEPEST: usize = 3;

pub(crate) fn document(package: &str, services: &[Bound], source: &Source) -> String {
    let mut writer = Writer {
        source,
        schemas: BTreeMap::new(),
        under_way: BTreeSet::new(),
    };
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = Vec::new();
    for bound in services
        .iter()
        .filter(|b| b.service.package_name() == package)
    {
        let file = bound.service.parent_file();
        let about = source.comment(At::new(file.name(), bound.service.path()));
        tags.push(json!({"name": bound.service.name(), "description": about}));
        for (method, bindings) in &bound.methods {
            for (i, binding) in bindings.iter().enumerate() {
                let operation = writer.operation(bound, method, binding, i);
                let path = paths.entry(path(binding)).or_default();
                path.insert(binding.verb.to_ascii_lowercase(), operation);
            }
        }
    }
    writer.schemas.insert("seawall.Error".into(), error());
    let document = json!({
        "openapi": "3.1.0",
        "info": {"title": package, "version": package.rsplit('.').next().unwrap_or("v1")},
        "tags": tags,
        "paths": paths,
        "components": {"schemas": writer.schemas},
    });
    format!("{document:#}")
}

/// A variable of several segments is one of OpenAPI's too; what is in it cannot be said there.
fn path(binding: &Binding) -> String {
    let mut text = binding.template.text.clone();
    for variable in &binding.template.variables {
        if let Some(start) = text.find(&format!("{{{variable}="))
            && let Some(len) = text[start..].find('}')
        {
            text.replace_range(start..=start + len, &format!("{{{variable}}}"));
        }
    }
    text
}

fn error() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "description": "How every call fails.",
        "required": ["code", "status", "reason", "message"],
        "properties": {
            "code": {"type": "integer", "description": "The HTTP status."},
            "status": {"type": "string", "description": "The code, as gRPC names it."},
            "reason": {"type": "string", "description": "What to match on."},
            "domain": {"type": "string", "description": "Whose reason it is."},
            "message": {"type": "string", "description": "For people."},
            "metadata": {"type": "object", "additionalProperties": text},
            "violations": {"type": "array", "items": {
                "type": "object",
                "properties": {"field": text, "rule": text, "message": text},
            }},
        },
    })
}

struct Writer<'a> {
    source: &'a Source,
    schemas: BTreeMap<String, Value>,
    under_way: BTreeSet<String>,
}

impl Writer<'_> {
    fn operation(
        &mut self,
        bound: &Bound,
        method: &MethodDescriptor,
        binding: &Binding,
        index: usize,
    ) -> Value {
        let file = method.parent_file();
        let about = self.source.comment(At::new(file.name(), method.path()));
        let mut id = format!("{}_{}", bound.service.name(), method.name());
        if index > 0 {
            id = format!("{id}_{}", index + 1);
        }
        let mut operation = json!({
            "operationId": id,
            "tags": [bound.service.name()],
            "summary": about.lines().next().unwrap_or(""),
            "description": about,
            "parameters": self.parameters(method, binding),
            "responses": {
                "200": {"description": "Done.", "content": self.reply(method, binding)},
                "default": {"description": "Failed.", "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/seawall.Error"},
                }}},
            },
        });
        let body = match &binding.body {
            Body::Nothing => None,
            Body::Whole => Some(self.reference(&method.input())),
            Body::Field(field) => Some(self.field(field)),
        };
        if let Some(schema) = body {
            let kind = if method.is_client_streaming() {
                "application/x-ndjson"
            } else {
                "application/json"
            };
            operation["requestBody"] = json!({"content": {kind: {"schema": schema}}});
        }
        operation
    }

    fn reply(&mut self, method: &MethodDescriptor, binding: &Binding) -> Value {
        let schema = match &binding.response_body {
            Some(field) => self.field(field),
            None => self.reference(&method.output()),
        };
        if !method.is_server_streaming() {
            return json!({"application/json": {"schema": schema}});
        }
        let line = json!({
            "type": "object",
            "properties": {
                "result": schema,
                "error": {"$ref": "#/components/schemas/seawall.Error"},
            },
        });
        json!({
            "application/x-ndjson": {"schema": line},
            "text/event-stream": {"schema": schema},
        })
    }

    fn parameters(&mut self, method: &MethodDescriptor, binding: &Binding) -> Vec<Value> {
        let variables = &binding.template.variables;
        let mut all: Vec<Value> = variables
            .iter()
            .map(|variable| {
                let field = lead(&method.input(), variable);
                let schema = field.map_or_else(|| json!({"type": "string"}), |f| self.field(&f));
                json!({"name": variable, "in": "path", "required": true, "schema": schema})
            })
            .collect();
        if !matches!(binding.body, Body::Whole) {
            let body = match &binding.body {
                Body::Field(field) => Some(field.name().to_owned()),
                _ => None,
            };
            self.query(
                &method.input(),
                "",
                0,
                &mut |name: &str| {
                    variables.iter().any(|v| v == name) || body.as_deref() == Some(name)
                },
                &mut all,
            );
        }
        all
    }

    fn query(
        &mut self,
        message: &MessageDescriptor,
        prefix: &str,
        depth: usize,
        taken: &mut dyn FnMut(&str) -> bool,
        all: &mut Vec<Value>,
    ) {
        for field in message.fields() {
            let name = format!("{prefix}{}", field.name());
            if field.is_map() || taken(&name) {
                continue;
            }
            match field.kind() {
                Kind::Message(inner) if well_known(&inner).is_none() => {
                    if !field.is_list() && depth < DEEPEST {
                        self.query(&inner, &format!("{name}."), depth + 1, taken, all);
                    }
                }
                Kind::Message(inner) if !is_one_value(&inner) => {}
                _ => {
                    let mut parameter =
                        json!({"name": name, "in": "query", "schema": self.field(&field)});
                    let about = self.about(&field);
                    if !about.is_empty() {
                        parameter["description"] = about.into();
                    }
                    all.push(parameter);
                }
            }
        }
    }

    fn about(&self, field: &FieldDescriptor) -> String {
        self.source
            .comment(At::new(field.parent_file().name(), field.path()))
    }

    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(known) = well_known(message) {
            return known;
        }
        let name = message.full_name().to_owned();
        if !self.schemas.contains_key(&name) && self.under_way.insert(name.clone()) {
            let schema = self.message(message);
            self.schemas.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields() {
            let mut schema = self.field(&field);
            let about = self.about(&field);
            if !about.is_empty() {
                schema["description"] = about.into();
            }
            if !rules::is_ruled(&field, self.source)
                && let Some(default) = default(&field)
            {
                schema["default"] = default;
            }
            if rules::is_required_field(&field, self.source) {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let file = message.parent_file();
        let about = self.source.comment(At::new(file.name(), message.path()));
        let mut schema = json!({
            "type": "object", "properties": properties, "additionalProperties": false,
        });
        if !about.is_empty() {
            schema["description"] = about.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        schema
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if let Kind::Message(entry) = field.kind()
            && field.is_map()
        {
            let values = self.kind(&entry.map_entry_value_field().kind());
            let mut schema = json!({"type": "object", "additionalProperties": values});
            rules::describe(field, self.source, &mut schema);
            return schema;
        }
        let mut schema = self.kind(&field.kind());
        if field.is_list() {
            schema = json!({"type": "array", "items": schema});
        }
        rules::describe(field, self.source, &mut schema);
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.reference(message),
            Kind::Enum(e) => enumeration(e),
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "uint32", "minimum": 0})
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64"})
            }
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "format": "byte"}),
        }
    }
}

/// What a request without the field means, and a reply says: a field without presence is in every
/// reply.
fn default(field: &FieldDescriptor) -> Option<Value> {
    if field.supports_presence() {
        return None;
    }
    if field.is_map() {
        return Some(json!({}));
    }
    if field.is_list() {
        return Some(json!([]));
    }
    Some(match field.kind() {
        Kind::Message(_) => return None,
        Kind::Enum(e) => json!(e.default_value().name()),
        Kind::Bool => json!(false),
        Kind::String | Kind::Bytes => json!(""),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => json!("0"),
        _ => json!(0),
    })
}

fn enumeration(e: &EnumDescriptor) -> Value {
    let names: Vec<String> = e.values().map(|v| v.name().to_owned()).collect();
    json!({"type": "string", "enum": names})
}

/// The field that a path of names leads to.
fn lead(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let field = message.get_field_by_name(first)?;
    if rest.is_empty() {
        return Some(field);
    }
    lead(field.kind().as_message()?, rest)
}

/// JSON forms that are not those of the message's fields.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    let name = message.full_name().strip_prefix("google.protobuf.")?;
    Some(match name {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "examples": ["1.5s"]}),
        "FieldMask" => json!({"type": "string", "examples": ["displayName,owner.id"]}),
        "Empty" | "Struct" => json!({"type": "object"}),
        "ListValue" => json!({"type": "array"}),
        "Value" => json!({}),
        "BoolValue" => json!({"type": ["boolean", "null"]}),
        "DoubleValue" | "FloatValue" => json!({"type": ["number", "null"]}),
        "Int32Value" | "UInt32Value" => json!({"type": ["integer", "null"]}),
        _ => json!({"type": ["string", "null"]}),
    })
}

fn is_one_value(message: &MessageDescriptor) -> bool {
    let name = message.name();
    !matches!(
        name,
        "Empty" | "Struct" | "ListValue" | "Value" | "BytesValue"
    )
}
