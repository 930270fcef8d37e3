//! From files to descriptors, and from a descriptor back to its line.

use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorSet;
use protox::Compiler;
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};

use crate::error::{Error, Problem, nearest};

/// Ours, known without being installed. A file of the same name in an include directory goes first.
const EMBEDDED: [(&str, &str); 3] = [
    (
        "google/api/annotations.proto",
        include_str!("../proto/google/api/annotations.proto"),
    ),
    (
        "google/api/http.proto",
        include_str!("../proto/google/api/http.proto"),
    ),
    (
        "seawall/api/options.proto",
        include_str!("../proto/seawall/api/options.proto"),
    ),
];

struct Embedded;

impl FileResolver for Embedded {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match EMBEDDED.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Definitions, read and linked.
pub(crate) struct Source {
    pub(crate) pool: DescriptorPool,
    /// With comments, without options of ours: what prost reads.
    pub(crate) set: FileDescriptorSet,
    /// With options, without comments: what reflection serves.
    pub(crate) bytes: Vec<u8>,
    /// Those that were named, not those that are imported.
    pub(crate) named: Vec<String>,
    /// Name and place of each file that is on the disk.
    pub(crate) files: Vec<(String, PathBuf)>,
}

impl Source {
    pub(crate) fn read(protos: &[PathBuf], includes: &[PathBuf]) -> Result<Self, Error> {
        let mut resolver = ChainFileResolver::new();
        for include in includes {
            resolver.add(IncludeFileResolver::new(include.clone()));
        }
        resolver.add(Embedded);
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).include_source_info(true);
        for proto in protos {
            compiler
                .open_file(proto)
                .map_err(|e| failed(&e, proto, includes))?;
        }
        let pool = compiler.descriptor_pool();
        let set = compiler.file_descriptor_set();
        let bytes = compiler
            .include_source_info(false)
            .encode_file_descriptor_set();
        let mut source = Self {
            pool,
            set,
            bytes,
            named: Vec::new(),
            files: Vec::new(),
        };
        for file in compiler.files() {
            if !file.is_import() {
                source.named.push(file.name().to_owned());
            }
            if let Some(path) = file.path() {
                source.files.push((file.name().to_owned(), path.to_owned()));
            }
        }
        Ok(source)
    }

    /// A problem with what stands at `path` of `file`, or deeper: `file:line`.
    pub(crate) fn problem(
        &self,
        at: At<'_>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        Problem {
            place: self.place(at),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    pub(crate) fn place(&self, at: At<'_>) -> String {
        let known = self.files.iter().find(|(name, _)| name == at.file);
        let name = known.map_or(at.file.to_owned(), |(_, path)| path.display().to_string());
        let file = self.set.file.iter().find(|f| f.name() == at.file);
        let info = file.and_then(|f| f.source_code_info.as_ref());
        let locations = info.map_or(&[][..], |info| &info.location);
        let deeper = [at.path, at.option].concat();
        let option = locations.iter().find(|l| l.path.starts_with(&deeper));
        let found = option.or_else(|| locations.iter().find(|l| l.path == at.path));
        match found.and_then(|l| l.span.first()) {
            Some(line) => format!("{name}:{}", line + 1),
            None => name,
        }
    }

    /// What is written above what stands at `path`, without its indentation.
    pub(crate) fn comment(&self, at: At<'_>) -> String {
        let file = self.set.file.iter().find(|f| f.name() == at.file);
        let info = file.and_then(|f| f.source_code_info.as_ref());
        let mut locations = info.iter().flat_map(|info| &info.location);
        let found = locations.find(|l| l.path == at.path);
        let text = found.map_or("", |l| l.leading_comments());
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join("\n").trim().to_owned()
    }
}

/// What is spoken of: a descriptor, and an option of it.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) file: &'a str,
    pub(crate) path: &'a [i32],
    pub(crate) option: &'a [i32],
}

impl<'a> At<'a> {
    pub(crate) fn new(file: &'a str, path: &'a [i32]) -> Self {
        Self {
            file,
            path,
            option: &[],
        }
    }

    pub(crate) fn option(self, option: &'a [i32]) -> Self {
        Self { option, ..self }
    }
}

/// protox's own sentence, with place and remedy. Its `Debug` form begins with `file:line:column`.
fn failed(error: &protox::Error, proto: &Path, includes: &[PathBuf]) -> Error {
    let what = error.to_string();
    let whole = format!("{error:?}");
    let place = whole
        .strip_suffix(&what)
        .map_or("", |p| p.trim_end_matches([':', ' ']));
    let place = on_disk(place, includes);
    let listed: Vec<String> = includes.iter().map(|i| i.display().to_string()).collect();
    let remedy = if what.starts_with("import '") && what.ends_with("not found") {
        format!(
            "Put it under one of the include directories: {}",
            listed.join(", ")
        )
    } else if error.is_file_not_found() || what.contains("not in any include path") {
        format!(
            "Is it there, under one of the include directories ({})?",
            listed.join(", ")
        )
    } else if what.ends_with("is not defined") && !what.contains("field") {
        undefined(&what)
    } else {
        unknown_rule(&what, &place)
    };
    let place = if place.is_empty() {
        proto.display().to_string()
    } else {
        place
    };
    Error(vec![Problem {
        place,
        what,
        remedy,
    }])
}

/// `shop/v1/orders.proto:12:3` with the include directory that the file is in.
fn on_disk(place: &str, includes: &[PathBuf]) -> String {
    let name = place.split(':').next().unwrap_or(place);
    let path = includes.iter().map(|i| i.join(name)).find(|p| p.is_file());
    match path {
        Some(path) if !name.is_empty() => {
            format!("{}{}", path.display(), &place[name.len()..])
        }
        _ => place.to_owned(),
    }
}

const RULES: [&str; 21] = [
    "required",
    "min_len",
    "max_len",
    "pattern",
    "email",
    "uuid",
    "hostname",
    "ip",
    "uri",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "not_in",
    "defined",
    "min_items",
    "max_items",
    "unique",
    "items",
    "keys",
];

/// A name that no file has, of those that are imported.
fn undefined(what: &str) -> String {
    let known = [
        ("google.api.http", "google/api/annotations.proto"),
        ("seawall.api.", "seawall/api/options.proto"),
    ];
    match known.iter().find(|(name, _)| what.contains(name)) {
        Some((_, file)) if !what.contains("seawall.api.Rules") => {
            format!("Is it spelt so? It takes `import \"{file}\";`")
        }
        _ => "Is it spelt so, and the file that has it imported?".to_owned(),
    }
}

/// What is told of a rule that there is not. protox names it where it stands by itself; in a
/// message of several rules it names their beginning alone.
fn unknown_rule(what: &str, place: &str) -> String {
    if !what.contains("seawall.api.") {
        return String::new();
    }
    let quoted = what.split(['\'', '`', '"']).skip(1).step_by(2);
    let names = quoted
        .flat_map(|q| q.split(['.', '(', ')']))
        .map(str::to_owned);
    let names = names
        .chain(rules_at(place))
        .filter(|n| !RULES.contains(&n.as_str()));
    let near = names
        .filter(|n| !n.is_empty())
        .find_map(|n| nearest(&n, RULES));
    let near = near.map_or_else(String::new, |n| format!("Did you mean `{n}`? "));
    format!("{near}The rules there are: {}", RULES.join(", "))
}

/// The names before colons from a place, `file:line:column`, to the next semicolon.
fn rules_at(place: &str) -> Vec<String> {
    let mut parts = place.rsplitn(3, ':');
    let (_, line, file) = (parts.next(), parts.next(), parts.next());
    let text = file
        .and_then(|f| std::fs::read_to_string(f).ok())
        .unwrap_or_default();
    let line: usize = line.and_then(|l| l.parse().ok()).unwrap_or(1);
    let option = text
        .lines()
        .skip(line.saturating_sub(1))
        .collect::<Vec<_>>()
        .join("\n");
    let option = option.split(';').next().unwrap_or_default();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let names = option.split(':').map(|part| {
        let part = part.trim_end();
        part[part.trim_end_matches(is_word).len()..].to_owned()
    });
    names.collect()
}
