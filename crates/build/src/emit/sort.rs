//! Which rule goes with which type.

use prost_reflect::Kind;

use crate::names::Here;

/// What a rule is of.
#[derive(Clone, Debug)]
pub(super) enum Sort {
    Text,
    Bytes,
    /// Its name in Rust.
    Number(&'static str),
    Bool,
    Enum(String),
    Message,
    List,
    Map,
}

impl Sort {
    pub(super) fn of(kind: &Kind, here: Here<'_>) -> Self {
        match kind {
            Kind::String => Self::Text,
            Kind::Bytes => Self::Bytes,
            Kind::Bool => Self::Bool,
            Kind::Enum(e) => Self::Enum(here.enumeration(e)),
            Kind::Message(_) => Self::Message,
            Kind::Double => Self::Number("f64"),
            Kind::Float => Self::Number("f32"),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Self::Number("i32"),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Self::Number("i64"),
            Kind::Uint32 | Kind::Fixed32 => Self::Number("u32"),
            Kind::Uint64 | Kind::Fixed64 => Self::Number("u64"),
        }
    }

    pub(super) fn allows(&self, rule: &str) -> bool {
        const FORMATS: [&str; 6] = ["pattern", "email", "uuid", "hostname", "ip", "uri"];
        match rule {
            "required" => true,
            "min_len" | "max_len" => matches!(self, Self::Text | Self::Bytes),
            rule if FORMATS.contains(&rule) => matches!(self, Self::Text),
            "gt" | "gte" | "lt" | "lte" => matches!(self, Self::Number(_)),
            "in" | "not_in" => matches!(self, Self::Text | Self::Number(_)),
            "defined" => matches!(self, Self::Enum(_)),
            "min_items" | "max_items" | "items" => matches!(self, Self::List | Self::Map),
            "unique" => matches!(self, Self::List),
            "keys" => matches!(self, Self::Map),
            _ => false,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Bytes => "bytes",
            Self::Number(_) => "a number",
            Self::Bool => "a bool",
            Self::Enum(_) => "an enum",
            Self::Message => "a message",
            Self::List => "a repeated field",
            Self::Map => "a map",
        }
    }
}

pub(super) fn goes_with(rule: &str) -> &'static str {
    match rule {
        "min_len" | "max_len" => "string and bytes",
        "gt" | "gte" | "lt" | "lte" => "numbers",
        "in" | "not_in" => "string and numbers",
        "defined" => "enums",
        "min_items" | "max_items" | "items" => "repeated fields and maps",
        "unique" => "repeated fields",
        "keys" => "maps",
        _ => "string",
    }
}
