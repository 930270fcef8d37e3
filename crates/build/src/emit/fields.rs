//! Setting fields by their names, for paths and queries.

use std::collections::BTreeSet;
use std::fmt::Write;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::literal;
use crate::http::is_text;
use crate::names::{self, Here};

/// The messages that a path or query reaches from here, not those of others.
pub(crate) fn reach(
    message: &MessageDescriptor,
    externs: &[(String, String)],
    all: &mut BTreeSet<String>,
) {
    if is_extern(message, externs) || !all.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        if let Kind::Message(next) = field.kind()
            && !field.is_list()
            && !field.is_map()
        {
            reach(&next, externs, all);
        }
    }
}

pub(crate) fn is_extern(message: &MessageDescriptor, externs: &[(String, String)]) -> bool {
    externs.iter().any(|(proto, _)| {
        let rest = message
            .full_name()
            .strip_prefix(proto.trim_start_matches('.'));
        rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
    })
}

pub(crate) fn emit(message: &MessageDescriptor, externs: &[(String, String)]) -> String {
    let here = Here {
        package: message.package_name(),
        deeper: 0,
        externs,
    };
    let mut arms = String::new();
    let mut known = Vec::new();
    for field in message.fields() {
        let mut names = vec![literal(field.name())];
        if field.json_name() != field.name() {
            names.push(literal(field.json_name()));
        }
        writeln!(
            arms,
            "            {} => {{{}}}",
            names.join(" | "),
            set(&field, here)
        )
        .ok();
        known.extend(names);
    }
    format!(
        "#[allow(clippy::all)]
impl ::seawall::api::rest::Fields for {} {{
    #[allow(unused_variables)]
    fn set(&mut self, path: &str, text: &str) -> ::core::result::Result<(), ::seawall::api::rest::Wrong> {{
        #[allow(unused_imports)]
        use ::seawall::api::rest::{{self, Fields as _, Wrong}};
        let (name, rest_of) = rest::head(path);
        match name {{
{arms}            _ => ::core::result::Result::Err(Wrong::unknown(name, &[{}])),
        }}
    }}
}}

",
        here.message(message),
        known.join(", ")
    )
}

fn set(field: &FieldDescriptor, here: Here<'_>) -> String {
    const NO_VALUE: &str = " ::core::result::Result::Err(Wrong::NoValue) ";
    if field.is_map() {
        return NO_VALUE.into();
    }
    let oneof = field.containing_oneof().filter(|o| !o.is_synthetic());
    if let Some(oneof) = oneof {
        let variant = format!(
            "{}::{}",
            here.oneof(field.parent_message(), oneof.name()),
            names::camel(field.name())
        );
        return in_oneof(field, &names::snake(oneof.name()), &variant, here);
    }
    let place = format!("self.{}", names::field(field));
    let ok = "::core::result::Result::Ok(())";
    match field.kind() {
        Kind::Message(message) if is_text(&message) => {
            if field.is_list() {
                format!(" {place}.push(rest::text(rest_of, text)?); {ok} ")
            } else {
                format!(
                    " {place} = ::core::option::Option::Some(rest::text(rest_of, text)?); {ok} "
                )
            }
        }
        Kind::Message(_) if field.is_list() => NO_VALUE.into(),
        Kind::Message(message) if is_wrapper(&message) => {
            format!(" rest::scalar(&mut {place}.get_or_insert_default().value, rest_of, text) ")
        }
        Kind::Message(message) if is_opaque(&message, here) => NO_VALUE.into(),
        Kind::Message(_) => format!(
            " if rest_of.is_empty() {{ return ::core::result::Result::Err(Wrong::NoValue); }} {place}.get_or_insert_default().set(rest_of, text) "
        ),
        Kind::Enum(e) => {
            let value = format!(
                "rest::enumeration(rest_of, text, {}::from_str_name)?",
                here.enumeration(&e)
            );
            if field.is_list() {
                format!(" {place}.push({value}); {ok} ")
            } else if field.supports_presence() {
                format!(" {place} = ::core::option::Option::Some({value}); {ok} ")
            } else {
                format!(" {place} = {value}; {ok} ")
            }
        }
        _ if field.is_list() => format!(" rest::repeated(&mut {place}, rest_of, text) "),
        _ if field.supports_presence() => format!(" rest::optional(&mut {place}, rest_of, text) "),
        _ => format!(" rest::scalar(&mut {place}, rest_of, text) "),
    }
}

fn in_oneof(field: &FieldDescriptor, name: &str, variant: &str, here: Here<'_>) -> String {
    let some = "::core::option::Option::Some";
    let ok = "::core::result::Result::Ok(())";
    let value = match field.kind() {
        Kind::Message(message) if is_text(&message) => "rest::text(rest_of, text)?".to_owned(),
        Kind::Message(message) if is_wrapper(&message) || is_opaque(&message, here) => {
            return " ::core::result::Result::Err(Wrong::NoValue) ".into();
        }
        Kind::Message(_) => {
            return format!(
                " if rest_of.is_empty() {{ return ::core::result::Result::Err(Wrong::NoValue); }} \
                 if !::core::matches!(self.{name}, {some}({variant}(_))) {{ self.{name} = {some}({variant}(::core::default::Default::default())); }} \
                 if let {some}({variant}(inner)) = &mut self.{name} {{ inner.set(rest_of, text)?; }} {ok} "
            );
        }
        Kind::Enum(e) => {
            format!(
                "rest::enumeration(rest_of, text, {}::from_str_name)?",
                here.enumeration(&e)
            )
        }
        _ => {
            return format!(
                " let mut value = ::core::default::Default::default(); rest::scalar(&mut value, rest_of, text)?; self.{name} = {some}({variant}(value)); {ok} "
            );
        }
    };
    format!(" self.{name} = {some}({variant}({value})); {ok} ")
}

fn is_wrapper(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
        && message.name().ends_with("Value")
        && !matches!(
            message.name(),
            "Value" | "ListValue" | "NullValue" | "BytesValue"
        )
}

/// A message whose fields are not set one by one.
fn is_opaque(message: &MessageDescriptor, here: Here<'_>) -> bool {
    is_extern(message, here.externs) && message.full_name() != "google.protobuf.Empty"
}
