//! The source of a service that answers nothing yet, laid out as rustfmt would.

use std::fmt::Write as _;

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost_reflect::{MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use crate::new::KEYWORDS;

/// rustfmt's.
const WIDTH: usize = 100;

/// A service to be written.
#[derive(Debug)]
pub(super) struct Draft {
    /// `shop.v1.Orders`
    full_name: String,
    /// `Orders`
    name: String,
    /// `shop::v1`
    package: String,
    pub(super) methods: Vec<Method>,
}

/// A method of it.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: String,
    /// Its source, in an `impl`.
    pub(super) text: String,
    streams: [bool; 2],
    types: bool,
}

impl Draft {
    pub(super) fn of(service: &ServiceDescriptor) -> Self {
        Self {
            full_name: service.full_name().to_owned(),
            name: ident(&service.name().to_upper_camel_case()),
            package: modules(service.package_name()),
            methods: service
                .methods()
                .map(|method| Method::of(&method))
                .collect(),
        }
    }

    /// The line that serves it.
    pub(super) fn mount(&self) -> String {
        let module = ident(&self.name.to_snake_case());
        let Self { package, name, .. } = self;
        format!("app.service(api::{package}::{module}::service(service::{module}::{name}));")
    }

    /// The whole file.
    pub(super) fn file(&self) -> String {
        let Self {
            full_name,
            name,
            package,
            methods,
        } = self;
        let (parent, last) = package.rsplit_once("::").unwrap_or(("", package));
        let parent = if parent.is_empty() {
            String::new()
        } else {
            format!("::{parent}")
        };
        let any = |index: usize| methods.iter().any(|method| method.streams[index]);
        let mut names = vec!["Code", "Error"];
        names.extend(any(0).then_some("Messages"));
        names.extend(any(1).then_some("Replies"));
        names.push("Request");
        names.extend(methods.iter().any(|method| method.types).then_some("types"));
        let methods: Vec<_> = methods.iter().map(|method| method.text.as_str()).collect();
        let methods = methods.join("\n");
        let names = names.join(", ");
        format!(
            "//! `{full_name}`.\n\
             \n\
             use api{parent}::{last};\n\
             use seawall::api::{{{names}}};\n\
             \n\
             /// The service, on either transport.\n\
             #[derive(Debug)]\n\
             pub struct {name};\n\
             \n\
             impl {last}::{name} for {name} {{\n\
             {methods}}}\n\
             \n\
             /// What is still to be written.\n\
             fn unimplemented(method: &str) -> Error {{\n\
             \x20   Error::new(\n\
             \x20       Code::Unimplemented,\n\
             \x20       \"UNIMPLEMENTED\",\n\
             \x20       format!(\"{{method}} is not written yet\"),\n\
             \x20   )\n\
             }}\n"
        )
    }
}

impl Method {
    fn of(method: &MethodDescriptor) -> Self {
        let package = method.parent_service().package_name().to_owned();
        let (input, output) = (method.input(), method.output());
        let types = [&input, &output].iter().any(|message| well_known(message));
        let (mut takes, mut gives) = (path(&input, &package), path(&output, &package));
        let streams = [method.is_client_streaming(), method.is_server_streaming()];
        if streams[0] {
            takes = format!("Messages<{takes}>");
        }
        if streams[1] {
            gives = format!("Replies<{gives}>");
        }
        let name = ident(&method.name().to_snake_case());
        let head = format!("async fn {name}");
        let takes = format!("request: Request<{takes}>");
        let gives = format!("-> Result<{gives}, Error> {{");
        let line = format!("    {head}(&self, {takes}) {gives}");
        let mut text = if line.chars().count() <= WIDTH {
            line + "\n"
        } else {
            format!("    {head}(\n        &self,\n        {takes},\n    ) {gives}\n")
        };
        let _ = write!(
            text,
            "        let _ = request.message();\n        Err(unimplemented(\"{}\"))\n    }}\n",
            method.name()
        );
        Self {
            name,
            text,
            streams,
            types,
        }
    }
}

/// A message as the service's source names it.
fn path(message: &MessageDescriptor, package: &str) -> String {
    let own = message.package_name();
    let full = message.full_name();
    let inside = full
        .strip_prefix(own)
        .unwrap_or(full)
        .trim_start_matches('.');
    let mut parts: Vec<_> = inside.split('.').collect();
    let name = ident(&parts.pop().unwrap_or_default().to_upper_camel_case());
    let within: String = parts.iter().fold(String::new(), |within, part| {
        within + &ident(&part.to_snake_case()) + "::"
    });
    let module = if well_known(message) {
        "types".to_owned()
    } else if own == package {
        let modules = modules(package);
        modules.rsplit("::").next().unwrap_or(&modules).to_owned()
    } else {
        format!("api::{}", modules(own))
    };
    format!("{module}::{within}{name}")
}

fn well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

/// A proto package as modules.
fn modules(package: &str) -> String {
    let parts: Vec<_> = package
        .split('.')
        .map(|part| ident(&part.to_snake_case()))
        .collect();
    parts.join("::")
}

/// A name as Rust writes it where it may be a keyword.
pub(super) fn ident(name: &str) -> String {
    match name {
        "self" | "super" | "crate" | "Self" => format!("{name}_"),
        name if KEYWORDS.contains(&name) => format!("r#{name}"),
        name => name.to_owned(),
    }
}
