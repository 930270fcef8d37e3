//! Enums marked as errors.

use std::fmt::Write;

use prost_reflect::{EnumDescriptor, EnumValueDescriptor};

use super::literal;
use crate::error::Problem;
use crate::http::text;
use crate::names::{self, Here};
use crate::source::{At, Source};

const FAILURE: i32 = 73_502;
/// By number, as tonic names them.
const CODES: [&str; 17] = [
    "Ok",
    "Cancelled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Nothing for an enum that is not marked.
pub(crate) fn emit(e: &EnumDescriptor, source: &Source, problems: &mut Vec<Problem>) -> String {
    let mut out = String::new();
    let marked = source.pool.get_extension_by_name("seawall.api.errors");
    let marked = marked.is_some_and(|m| e.options().get_extension(&m).as_bool() == Some(true));
    if !marked {
        return out;
    }
    let here = Here {
        package: e.package_name(),
        deeper: 0,
        externs: &[],
    };
    let (mut codes, mut messages) = (String::new(), String::new());
    let mut seen = Vec::new();
    for value in e.values() {
        if seen.contains(&value.number()) {
            continue;
        }
        seen.push(value.number());
        let variant = variant(e, &value);
        let (code, message) = match failure(&value, source) {
            Ok(failure) => failure,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        writeln!(
            codes,
            "            Self::{variant} => ::seawall::api::Code::{code},"
        )
        .ok();
        writeln!(
            messages,
            "            Self::{variant} => {},",
            literal(&message)
        )
        .ok();
    }
    let name = here.enumeration(e);
    writeln!(
        out,
        "impl ::seawall::api::Reason for {name} {{
    const DOMAIN: &'static str = {domain};

    fn reason(&self) -> &'static str {{
        self.as_str_name()
    }}

    fn code(&self) -> ::seawall::api::Code {{
        match self {{
{codes}        }}
    }}

    fn message(&self) -> &'static str {{
        match self {{
{messages}        }}
    }}
}}

impl ::core::convert::From<{name}> for ::seawall::api::Error {{
    fn from(reason: {name}) -> Self {{
        Self::of(reason)
    }}
}}
",
        domain = literal(e.package_name())
    )
    .ok();
    out
}

fn failure(
    value: &EnumValueDescriptor,
    source: &Source,
) -> Result<(&'static str, String), Problem> {
    let extension = source.pool.get_extension_by_name("seawall.api.error");
    let options = value.options();
    let told = extension.filter(|e| options.has_extension(e));
    let Some(told) = told.map(|e| options.get_extension(&e).into_owned()) else {
        if value.number() == 0 {
            return Ok(("Unknown", "unknown error".into()));
        }
        return Err(wrong(value, source, "has no code"));
    };
    let failure = told.as_message().cloned();
    let failure = failure.ok_or_else(|| wrong(value, source, "has no code"))?;
    let number = failure
        .get_field_by_name("code")
        .and_then(|v| v.as_enum_number());
    let code = number.and_then(|n| CODES.get(usize::try_from(n).ok()?).copied());
    match code {
        Some(code) if code != "Ok" => {
            let message = text(&failure, "message");
            let message = if message.is_empty() {
                value.name().to_owned()
            } else {
                message
            };
            Ok((code, message))
        }
        _ => Err(wrong(value, source, "has no code, or OK")),
    }
}

fn wrong(value: &EnumValueDescriptor, source: &Source, what: &str) -> Problem {
    let file = value.parent_file();
    let at = At::new(file.name(), value.path()).option(&[3, FAILURE]);
    let remedy = format!(
        "Say what it is: `{} = {} [(seawall.api.error) = {{code: NOT_FOUND, message: \"…\"}}];`",
        value.name(),
        value.number()
    );
    source.problem(at, format!("the reason {} {what}", value.name()), remedy)
}

/// As prost names it: without the enum's own name in front.
pub(crate) fn variant(e: &EnumDescriptor, value: &EnumValueDescriptor) -> String {
    use heck::ToUpperCamelCase;
    let (prefix, name) = (
        e.name().to_upper_camel_case(),
        value.name().to_upper_camel_case(),
    );
    let stripped = name.strip_prefix(&prefix).unwrap_or(&name);
    let whole = stripped.chars().next().is_some_and(char::is_uppercase);
    names::camel(if whole { stripped } else { &name })
}
