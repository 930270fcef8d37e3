//! A service: its trait, its methods, and what serves it.

use std::fmt::Write;

use prost_reflect::{Kind, MethodDescriptor, ServiceDescriptor};

use super::{docs, literal};
use crate::http::{Binding, Body};
use crate::names::{self, Here};
use crate::source::{At, Source};

/// A service with the rules by which it is called over HTTP, for each of its methods.
pub(crate) struct Bound {
    pub(crate) service: ServiceDescriptor,
    pub(crate) methods: Vec<(MethodDescriptor, Vec<Binding>)>,
}

pub(crate) fn emit(bound: &Bound, source: &Source, externs: &[(String, String)]) -> String {
    let package = bound.service.package_name();
    let here = |deeper| Here {
        package,
        deeper,
        externs,
    };
    let mut out = String::new();
    the_trait(&mut out, bound, source, here(0));
    let name = names::camel(bound.service.name());
    let module = names::snake(bound.service.name());
    let full = bound.service.full_name();
    writeln!(
        out,
        "/// What serves [`{name}`].\n#[allow(clippy::all)]\npub mod {module} {{"
    )
    .ok();
    out.push_str("    use ::seawall::api::{self, grpc, private, rest};\n\n");
    methods(&mut out, bound);
    writeln!(
        out,
        "    /// The service, by both transports.
    pub fn service<T: super::{name}>(implementation: T) -> api::Service {{
        shared(::std::sync::Arc::new(implementation))
    }}

    /// The service of an implementation that is used elsewhere too.
    pub fn shared<T: super::{name}>(implementation: ::std::sync::Arc<T>) -> api::Service {{
        let server = grpc::Server::new(::std::sync::Arc::clone(&implementation), call);
        api::Service {{
            name: {full},
            methods: METHODS,
            grpc: grpc::routes({full}, server),
            http: routes(&implementation),
            descriptors: super::DESCRIPTORS,
            openapi: super::OPENAPI,
        }}
    }}
",
        full = literal(full)
    )
    .ok();
    the_client(&mut out, bound);
    by_grpc(&mut out, bound);
    by_http(&mut out, bound, here(1));
    out.push_str("}\n\n");
    out
}

fn the_trait(out: &mut String, bound: &Bound, source: &Source, here: Here<'_>) {
    let file = bound.service.parent_file();
    let comment = source.comment(At::new(file.name(), bound.service.path()));
    out.push_str(&docs(&comment, ""));
    if comment.is_empty() {
        writeln!(out, "/// `{}`.", bound.service.full_name()).ok();
    }
    let name = names::camel(bound.service.name());
    writeln!(
        out,
        "pub trait {name}: ::core::marker::Send + ::core::marker::Sync + 'static {{"
    )
    .ok();
    for (method, _) in &bound.methods {
        let comment = source.comment(At::new(file.name(), method.path()));
        out.push_str(&docs(&comment, "    "));
        if comment.is_empty() {
            writeln!(out, "    /// `{}`.", method.full_name()).ok();
        }
        let (mut input, mut output) = (
            here.message(&method.input()),
            here.message(&method.output()),
        );
        if method.is_client_streaming() {
            input = format!("::seawall::api::Messages<{input}>");
        }
        if method.is_server_streaming() {
            output = format!("::seawall::api::Replies<{output}>");
        }
        writeln!(
            out,
            "    fn {}(
        &self,
        request: ::seawall::api::Request<{input}>,
    ) -> impl ::core::future::Future<Output = ::core::result::Result<{output}, ::seawall::api::Error>> + ::core::marker::Send;",
            names::snake(method.name())
        )
        .ok();
    }
    out.push_str("}\n\n");
}

fn methods(out: &mut String, bound: &Bound) {
    out.push_str("    /// Its methods.\n    pub static METHODS: &[api::Method] = &[\n");
    for (method, bindings) in &bound.methods {
        let rules: Vec<String> = bindings
            .iter()
            .map(|b| format!("({}, {})", literal(&b.verb), literal(&b.template.text)))
            .collect();
        let name = format!("{}/{}", bound.service.full_name(), method.name());
        writeln!(
            out,
            "        api::Method::new({}, &[{}], api::Streaming {{ client: {}, server: {} }}, {}),",
            literal(&name),
            rules.join(", "),
            method.is_client_streaming(),
            method.is_server_streaming(),
            is_idempotent(method, bindings)
        )
        .ok();
    }
    out.push_str("    ];\n\n");
}

fn is_idempotent(method: &MethodDescriptor, bindings: &[Binding]) -> bool {
    let level = method.method_descriptor_proto().options.as_ref();
    let stated = level.is_some_and(|o| o.idempotency_level.unwrap_or(0) != 0);
    let gets = bindings.iter().all(|b| b.verb == "GET");
    stated || (gets && !bindings.is_empty())
}

fn the_client(out: &mut String, bound: &Bound) {
    let name = names::camel(bound.service.name());
    let name = name.trim_start_matches("r#");
    let module = names::client(bound.service.name());
    writeln!(
        out,
        "    private::with_client! {{
        /// The service, called by gRPC. Calls of its idempotent methods may be sent again.
        pub fn client(client: &::seawall::Client) -> super::{module}::{name}Client<::seawall::client::Grpc> {{
            super::{module}::{name}Client::new(client.grpc().methods(METHODS))
        }}
    }}
"
    )
    .ok();
}

fn adapter(method: &MethodDescriptor) -> &'static str {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => "unary",
        (false, true) => "server_streaming",
        (true, false) => "client_streaming",
        (true, true) => "streaming",
    }
}

fn by_grpc(out: &mut String, bound: &Bound) {
    let name = names::camel(bound.service.name());
    writeln!(
        out,
        "    fn call<T: super::{name}>(
        implementation: &::std::sync::Arc<T>,
        request: private::http::Request<private::tonic::body::Body>,
    ) -> grpc::Answer {{
        let inner = ::std::sync::Arc::clone(implementation);
        match request.uri().path() {{"
    )
    .ok();
    for (i, (method, _)) in bound.methods.iter().enumerate() {
        let path = format!("/{}/{}", bound.service.full_name(), method.name());
        writeln!(
            out,
            "            {} => ::std::boxed::Box::pin(grpc::{}(&METHODS[{i}], request, move |request| async move {{ super::{name}::{}(&*inner, request).await }})),",
            literal(&path),
            adapter(method),
            names::snake(method.name())
        )
        .ok();
    }
    out.push_str("            _ => grpc::unimplemented(&request),\n        }\n    }\n\n");
}

fn by_http(out: &mut String, bound: &Bound, here: Here<'_>) {
    let name = names::camel(bound.service.name());
    let mut uses = String::new();
    for (i, (method, bindings)) in bound.methods.iter().enumerate() {
        for (j, binding) in bindings.iter().enumerate() {
            let constant = format!("METHOD_{i}_{j}");
            let input = here.message(&method.input());
            let output = here.message(&method.output());
            let set = if binding.sets_fields() {
                format!("<{input} as rest::Fields>::set")
            } else {
                "rest::no_field".to_owned()
            };
            let variables: Vec<String> = binding
                .template
                .variables
                .iter()
                .map(|v| literal(v))
                .collect();
            writeln!(
                out,
                "    static {constant}: rest::Binding<{input}, {output}> = rest::Binding {{
        method: &METHODS[{i}],
        verb: {},
        template: {},
        variables: &[{}],
        body: {},
        set: {set},
        reply: {},
    }};
",
                literal(&binding.verb),
                literal(&binding.template.text),
                variables.join(", "),
                take(&binding.body),
                reply(binding)
            )
            .ok();
            writeln!(
                uses,
                "            .with(&{constant}, {{
                let inner = ::std::sync::Arc::clone(implementation);
                move |call| {{
                    let inner = ::std::sync::Arc::clone(&inner);
                    ::std::boxed::Box::pin(rest::{}(&{constant}, call, move |request| async move {{ super::{name}::{}(&*inner, request).await }}))
                }}
            }})",
                adapter(method),
                names::snake(method.name())
            )
            .ok();
        }
    }
    let argument = if uses.is_empty() {
        "_"
    } else {
        "implementation"
    };
    writeln!(
        out,
        "    fn routes<T: super::{name}>({argument}: &::std::sync::Arc<T>) -> rest::Routes {{
        rest::Routes::new()
{uses}    }}"
    )
    .ok();
}

fn take(body: &Body) -> String {
    match body {
        Body::Nothing => "rest::Take::Nothing".into(),
        Body::Whole => "rest::Take::Whole(rest::whole)".into(),
        Body::Field(field) => {
            let name = names::field(field);
            let read = "rest::whole(bytes)?";
            let value = match field.kind() {
                Kind::Message(_) if !field.is_list() => {
                    format!("::core::option::Option::Some({read})")
                }
                _ => read.to_owned(),
            };
            format!(
                "rest::Take::Field(|message, bytes| {{
            message.{name} = {value};
            ::core::result::Result::Ok(())
        }})"
            )
        }
    }
}

fn reply(binding: &Binding) -> String {
    match &binding.response_body {
        None => "|reply| private::serde_json::to_vec(reply)".into(),
        Some(field) if field.is_list() => {
            format!(
                "|reply| private::serde_json::to_vec(&reply.{})",
                names::field(field)
            )
        }
        Some(field) => format!(
            "|reply| match &reply.{} {{
            ::core::option::Option::Some(part) => private::serde_json::to_vec(part),
            ::core::option::Option::None => ::core::result::Result::Ok(b\"{{}}\".to_vec()),
        }}",
            names::field(field)
        ),
    }
}
