//! Names in Rust of what a definition names, as prost makes them.

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor};

pub(crate) fn snake(name: &str) -> String {
    raw(name.to_snake_case())
}

pub(crate) fn camel(name: &str) -> String {
    raw(name.to_upper_camel_case())
}

/// The module of a client as tonic names it, which splits before every capital: `HTTPEcho` is
/// `h_t_t_p_echo_client`.
pub(crate) fn client(service: &str) -> String {
    let mut name = String::new();
    let mut letters = service.chars().peekable();
    while let Some(letter) = letters.next() {
        name.extend(letter.to_lowercase());
        if letters.peek().is_some_and(|next| next.is_uppercase()) {
            name.push('_');
        }
    }
    name + "_client"
}

/// Reserved words with `r#`, or an underscore where that is not allowed.
fn raw(name: String) -> String {
    const RESERVED: [&str; 47] = [
        "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl",
        "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static",
        "struct", "trait", "true", "type", "unsafe", "use", "where", "while", "dyn", "abstract",
        "become", "box", "do", "final", "macro", "override", "priv", "typeof", "unsized",
        "virtual", "yield", "async", "await", "try", "gen",
    ];
    match name.as_str() {
        "_" | "super" | "self" | "Self" | "extern" | "crate" => name + "_",
        word if RESERVED.contains(&word) => format!("r#{name}"),
        word if word.starts_with(|c: char| c.is_numeric()) => format!("_{name}"),
        _ => name,
    }
}

pub(crate) fn field(field: &FieldDescriptor) -> String {
    snake(field.name())
}

/// Where code stands: in the module of a package, some modules deeper.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) package: &'a str,
    pub(crate) deeper: usize,
    pub(crate) externs: &'a [(String, String)],
}

impl Here<'_> {
    pub(crate) fn message(&self, message: &MessageDescriptor) -> String {
        self.path(message.package_name(), message.full_name())
    }

    pub(crate) fn enumeration(&self, e: &EnumDescriptor) -> String {
        self.path(e.package_name(), e.full_name())
    }

    /// The enum that a oneof is.
    pub(crate) fn oneof(&self, message: &MessageDescriptor, oneof: &str) -> String {
        let name = format!("{}.{}", message.full_name(), oneof);
        self.path(message.package_name(), &name)
    }

    /// The type of a full name: `super::common::v1::outer::Inner`.
    fn path(&self, package: &str, full: &str) -> String {
        let inside = full.strip_prefix(package).unwrap_or(full);
        let inside = inside.trim_start_matches('.');
        if let Some((proto, rust)) = self.external(full) {
            let rest = full[proto.len() - 1..].trim_start_matches('.');
            if rest.is_empty() {
                return rust.to_owned();
            }
            return format!("{rust}::{}", typed(rest));
        }
        let ours: Vec<&str> = self.package.split('.').filter(|s| !s.is_empty()).collect();
        let theirs: Vec<&str> = package.split('.').filter(|s| !s.is_empty()).collect();
        let shared = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let mut path = "super::".repeat(self.deeper + ours.len() - shared);
        for part in &theirs[shared..] {
            path.push_str(&snake(part));
            path.push_str("::");
        }
        path + &typed(inside)
    }

    fn external(&self, full: &str) -> Option<(&str, &str)> {
        let within = |proto: &str| {
            let rest = full.strip_prefix(proto.trim_start_matches('.'));
            rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        let known = self.externs.iter().filter(|(proto, _)| within(proto));
        let longest = known.max_by_key(|(proto, _)| proto.len());
        longest.map(|(proto, rust)| (proto.as_str(), rust.as_str()))
    }
}

/// `Outer.Inner` as `outer::Inner`.
fn typed(inside: &str) -> String {
    let (modules, name) = inside.rsplit_once('.').unwrap_or(("", inside));
    let modules = modules.split('.').filter(|m| !m.is_empty());
    let mut path: String = modules.map(|m| snake(m) + "::").collect();
    path.push_str(&camel(name));
    path
}
