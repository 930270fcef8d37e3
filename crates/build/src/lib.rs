//! Code from protobuf definitions, for a service's `build.rs`: one definition, two transports.
//!
//! ```no_run
//! fn main() -> Result<(), seawall_build::Error> {
//!     seawall_build::compile(&["proto/shop/v1/orders.proto"], &["proto"])
//! }
//! ```
//!
//! Of each proto package comes one file, which `seawall::api::include_proto!("shop.v1")` takes in;
//! its crate depends on `seawall` alone. In it are messages (prost) with their JSON (pbjson), a
//! client (tonic), and for each service a trait to implement and what serves it by gRPC and by HTTP.
//! Nothing is to be installed: protox reads the definitions, and the options that they import are
//! embedded.
//!
//! A definition is checked whole before anything is written, and all that is wrong with it told at
//! once, with file and line: routes that clash, variables that are no fields, rules on fields of
//! another type, patterns that do not compile.

mod emit;
mod error;
mod http;
mod names;
mod openapi;
mod source;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_build::Module;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use prost_types::FileDescriptorProto;

pub use error::{Error, Problem};

use emit::service::Bound;
use source::{At, Source};

/// Compiles definitions, as [`Config`] does with its defaults.
///
/// # Errors
///
/// All that is wrong with them.
pub fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<(), Error> {
    Config::new().compile(protos, includes)
}

/// Compiles every definition in a directory, as [`Config::compile_all`] does.
///
/// # Errors
///
/// All that is wrong with them; a directory without any, or that cannot be read.
pub fn compile_all(directory: impl AsRef<Path>) -> Result<(), Error> {
    Config::new().compile_all(directory)
}

fn definitions(directory: &Path, protos: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            definitions(&path, protos)?;
        } else if path.extension().is_some_and(|kind| kind == "proto") {
            protos.push(path);
        }
    }
    Ok(())
}

/// Reads definitions without making code of them, for tools. The options that they import are known.
///
/// # Errors
///
/// What cannot be read or understood.
pub fn descriptors(
    protos: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
) -> Result<DescriptorPool, Error> {
    let protos: Vec<PathBuf> = protos.iter().map(|p| p.as_ref().to_owned()).collect();
    let includes: Vec<PathBuf> = includes.iter().map(|i| i.as_ref().to_owned()).collect();
    Ok(Source::read(&protos, &includes)?.pool)
}

/// How definitions are compiled.
#[derive(Clone, Debug, Default)]
pub struct Config {
    out_dir: Option<PathBuf>,
    externs: Vec<(String, String)>,
}

impl Config {
    /// Into `OUT_DIR`, everything that is imported compiled too.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the code is written, instead of `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(dir.into());
        self
    }

    /// Takes the types of a proto package from elsewhere:
    /// `.extern_path(".shop.common.v1", "::shop_common::v1")`.
    #[must_use]
    pub fn extern_path(mut self, proto: impl Into<String>, rust: impl Into<String>) -> Self {
        self.externs.push((proto.into(), rust.into()));
        self
    }

    /// Compiles every definition in a directory and below, in the order of their paths. The
    /// directory is also what imports are seen from: a new file needs no line in `build.rs`.
    ///
    /// # Errors
    ///
    /// All that is wrong with them; a directory without any, or that cannot be read.
    pub fn compile_all(&self, directory: impl AsRef<Path>) -> Result<(), Error> {
        let directory = directory.as_ref();
        let mut protos = Vec::new();
        let found = definitions(directory, &mut protos);
        found.map_err(|e| {
            let what = format!("{}: {e}", directory.display());
            Error::one(
                what,
                "It is where definitions are, seen from the crate's Cargo.toml",
            )
        })?;
        if protos.is_empty() {
            let what = format!("{}: no definition in it", directory.display());
            return Err(Error::one(what, "Add one: `seawall proto add`"));
        }
        protos.sort();
        self.compile(&protos, &[directory])
    }

    /// Compiles definitions. Paths are relative to the crate, as cargo runs its `build.rs` there.
    ///
    /// # Errors
    ///
    /// All that is wrong with them; a directory that cannot be written.
    pub fn compile(
        &self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<(), Error> {
        let protos: Vec<PathBuf> = protos.iter().map(|p| p.as_ref().to_owned()).collect();
        let includes: Vec<PathBuf> = includes.iter().map(|i| i.as_ref().to_owned()).collect();
        rerun_if_changed(&protos, &includes);
        let source = Source::read(&protos, &includes)?;
        let mut externs = self.externs.clone();
        externs.push((".google.protobuf".into(), "::seawall::api::types".into()));
        let files = Build::new(&source, externs)?.files()?;
        let dir = match &self.out_dir {
            Some(dir) => dir.clone(),
            None => env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| {
                Error::one(
                    "OUT_DIR is not set",
                    "Call this from a build.rs, or give `out_dir`",
                )
            })?,
        };
        for (name, bytes) in files {
            write(&dir.join(name), &bytes)?;
        }
        Ok(())
    }
}

/// cargo reads what a build script prints.
#[allow(clippy::print_stdout)]
fn rerun_if_changed(protos: &[PathBuf], includes: &[PathBuf]) {
    if env::var_os("CARGO_MANIFEST_DIR").is_some() && env::var_os("OUT_DIR").is_some() {
        for path in protos.iter().chain(includes) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

/// Leaves a file alone that is so already, as rustc looks at its time.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|e| {
        let what = format!("{}: {e}", path.display());
        Error::one(what, "The directory must exist and be writable")
    })
}

struct Build<'a> {
    source: &'a Source,
    externs: Vec<(String, String)>,
    /// What code is made of: not what is extern, not the options.
    messages: Vec<MessageDescriptor>,
    services: Vec<Bound>,
}

impl<'a> Build<'a> {
    fn new(source: &'a Source, externs: Vec<(String, String)>) -> Result<Self, Error> {
        let mut reader = http::Reader::new(source);
        let mut services = Vec::new();
        for service in source.pool.services() {
            let file = service.parent_file();
            if !source.named.iter().any(|n| n == file.name()) {
                continue;
            }
            let methods = service
                .methods()
                .map(|m| (m.clone(), reader.bindings(&m)))
                .collect();
            services.push(Bound { service, methods });
        }
        let made = |m: &MessageDescriptor| {
            is_made(m.parent_file().name())
                && !m.is_map_entry()
                && !emit::fields::is_extern(m, &externs)
        };
        let messages: Vec<_> = source.pool.all_messages().filter(made).collect();
        let mut problems = reader.problems;
        let files = source.pool.files().filter(|f| is_made(f.name()));
        problems.extend(files.filter(|f| f.package_name().is_empty()).map(|file| {
            let remedy = "Write one, by which its code is taken in: `package shop.v1;`";
            source.problem(At::new(file.name(), &[]), "the file has no package", remedy)
        }));
        for message in &messages {
            problems.extend(no_any(message, source));
        }
        let build = Self {
            source,
            externs,
            messages,
            services,
        };
        if problems.is_empty() {
            Ok(build)
        } else {
            Err(Error(problems))
        }
    }

    /// Everything that is written, by its name.
    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut code = self.messages_and_clients()?;
        for (package, json) in self.json()? {
            code.entry(package).or_default().push_str(&json);
        }
        let own = self.own()?;
        let mut files = BTreeMap::new();
        for (package, text) in &mut code {
            *text = emit::by_way_of_seawall(text);
            text.push_str(own.get(package).map_or("", String::as_str));
            let api = openapi::document(package, &self.services, self.source);
            files.insert(format!("{package}.openapi.json"), api.into_bytes());
            text.push_str(&format!(
                "/// The definitions, as a `FileDescriptorSet`.
#[doc(hidden)]
pub const DESCRIPTORS: &[u8] = include_bytes!(\"seawall.descriptors.bin\");

/// OpenAPI 3.1 of the package's services, as JSON.
pub const OPENAPI: &str = include_str!(\"{package}.openapi.json\");
"
            ));
            files.insert(format!("{package}.rs"), text.clone().into_bytes());
        }
        files.insert("seawall.descriptors.bin".into(), self.source.bytes.clone());
        files.insert("seawall.rs".into(), modules(code.keys()).into_bytes());
        Ok(files)
    }

    fn messages_and_clients(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut config = prost_build::Config::new();
        config
            .compile_well_known_types()
            .prost_path("::seawall::api::private::prost")
            .type_attribute(".", "#[allow(missing_docs, clippy::all)]")
            .service_generator(
                tonic_prost_build::configure()
                    .build_server(false)
                    .build_transport(false)
                    .compile_well_known_types(true)
                    .codec_path("::seawall::api::private::tonic_prost::ProstCodec")
                    .service_generator(),
            );
        for (proto, rust) in &self.externs {
            config.extern_path(proto, rust);
        }
        // All of them, as prost looks into what a message holds; what is not made is left out below.
        let files = self.source.set.file.iter();
        let files = files.map(|f| (Module::from_protobuf_package_name(f.package()), f.clone()));
        let packages: BTreeMap<Module, String> = files
            .clone()
            .filter(|(_, file)| is_made(file.name()))
            .map(|(module, file)| (module, file.package().to_owned()))
            .collect();
        let made = config.generate(files.collect()).map_err(|e| {
            Error::one(
                format!("prost: {e}"),
                "Is the definition one that prost knows?",
            )
        })?;
        let named = made
            .into_iter()
            .filter_map(|(module, code)| Some((packages.get(&module)?.clone(), code)));
        Ok(named.collect())
    }

    fn json(&self) -> Result<Vec<(String, String)>, Error> {
        let mut builder = pbjson_build::Builder::new();
        for file in &self.source.set.file {
            builder.register_file_descriptor(file.clone());
        }
        for (proto, rust) in &self.externs {
            builder.extern_path(proto, rust);
            builder.exclude([proto]);
        }
        builder.exclude([".google.api", ".seawall.api"]);
        builder.emit_fields();
        let failed = |e| Error::one(format!("pbjson: {e}"), "");
        let all = builder
            .generate(&["."], |_| Ok(Vec::new()))
            .map_err(failed)?;
        let named = all.into_iter().filter_map(|(package, code)| {
            // It names a package as Rust would its modules.
            let written = package.to_string().replace("r#", "");
            let snake = |p: &str| p.split('.').map(names::snake).collect::<Vec<_>>().join(".");
            let mut files = self
                .source
                .set
                .file
                .iter()
                .map(FileDescriptorProto::package);
            let package = files.find(|p| snake(p).replace("r#", "") == written)?;
            let code = String::from_utf8_lossy(&code);
            Some((package.to_owned(), emit::reserved_in_json(&code)))
        });
        Ok(named.collect())
    }

    /// What neither prost nor pbjson makes, by package.
    fn own(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut out: BTreeMap<String, String> = BTreeMap::new();
        let mut problems = Vec::new();
        let mut of = |package: &str, code: &str| {
            out.entry(package.to_owned()).or_default().push_str(code);
        };
        for bound in &self.services {
            let code = emit::service::emit(bound, self.source, &self.externs);
            of(bound.service.package_name(), &code);
        }
        let reached = self.reached();
        let ruled = emit::rules::ruled(&self.messages, self.source);
        for message in &self.messages {
            let package = message.package_name();
            let rules =
                emit::rules::emit(message, &ruled, self.source, &self.externs, &mut problems);
            of(package, &rules);
            if reached.contains(message.full_name()) {
                of(package, &emit::fields::emit(message, &self.externs));
            }
        }
        for e in self
            .source
            .pool
            .all_enums()
            .filter(|e| is_made(e.parent_file().name()))
        {
            of(
                e.package_name(),
                &emit::reasons::emit(&e, self.source, &mut problems),
            );
        }
        if problems.is_empty() {
            Ok(out)
        } else {
            Err(Error(problems))
        }
    }

    /// The messages that a path or a query sets fields of.
    fn reached(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (method, bindings) in self.services.iter().flat_map(|b| &b.methods) {
            if bindings.iter().any(http::Binding::sets_fields) {
                emit::fields::reach(&method.input(), &self.externs, &mut all);
            }
        }
        all
    }
}

fn is_made(file: &str) -> bool {
    const OPTIONS: [&str; 2] = ["google/api/", "seawall/api/"];
    !file.starts_with("google/protobuf/") && !OPTIONS.iter().any(|o| file.starts_with(o))
}

fn no_any(message: &MessageDescriptor, source: &Source) -> Vec<Problem> {
    let any = |kind: Kind| {
        kind.as_message()
            .is_some_and(|m| m.full_name() == "google.protobuf.Any")
    };
    let file = message.parent_file();
    let fields = message.fields().filter(|f| any(f.kind()));
    let told = fields.map(|field| {
        let what = format!(
            "{} is an Any, which has no JSON form here",
            field.full_name()
        );
        let at = At::new(file.name(), field.path());
        source.problem(
            at,
            what,
            "Use a oneof of messages, or google.protobuf.Struct",
        )
    });
    told.collect()
}

/// Modules of all packages, each in its place.
fn modules<'a>(packages: impl Iterator<Item = &'a String>) -> String {
    #[derive(Default)]
    struct Tree(BTreeMap<String, Tree>, Option<String>);
    fn print(tree: &Tree, out: &mut String) {
        if let Some(package) = &tree.1 {
            out.push_str(&format!("include!(\"{package}.rs\");\n"));
        }
        for (name, inner) in &tree.0 {
            out.push_str("#[allow(missing_docs, clippy::all)]\n");
            out.push_str(&format!("pub mod {} {{\n", names::snake(name)));
            print(inner, out);
            out.push_str("}\n");
        }
    }
    let mut tree = Tree::default();
    for package in packages {
        let mut at = &mut tree;
        for part in package.split('.').filter(|p| !p.is_empty()) {
            at = at.0.entry(part.to_owned()).or_default();
        }
        at.1 = Some(package.clone());
    }
    let mut out = String::new();
    print(&tree, &mut out);
    out
}
