//! `seawall proto server`: a service that has yet to answer its definition.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use heck::ToSnakeCase as _;
use prost_reflect::{FileDescriptor, ServiceDescriptor};

use super::draft::{Draft, ident};
use super::place::Place;

pub(super) fn run(path: &Path) -> Result<String, String> {
    let place = Place::of(path)?;
    if !place.file.is_file() {
        let shown = place.file.display();
        return Err(format!(
            "{shown} is not there; `seawall proto add {shown}` writes one to begin with"
        ));
    }
    let layer = place.project.join("src/service");
    if !layer.is_dir() {
        let layer = layer.display();
        return Err(format!(
            "there is no directory {layer}: go to the root of a project that `seawall new` made"
        ));
    }
    let file = read(&place)?;
    let services: Vec<_> = file.services().collect();
    if services.is_empty() {
        let shown = place.file.display();
        return Err(format!(
            "{shown} defines no service; add one: `service Orders {{ … }}`"
        ));
    }
    let told: Result<Vec<_>, _> = services
        .iter()
        .map(|service| answer(&layer, service))
        .collect();
    told.map(|told| told.join("\n"))
}

fn read(place: &Place) -> Result<FileDescriptor, String> {
    let pool = seawall_build::descriptors(&[&place.file], &[&place.root])
        .map_err(|error| error.to_string())?;
    pool.get_file_by_name(&place.import)
        .ok_or_else(|| format!("{} is not among what was read", place.import))
}

/// Writes the draft of a service, or tells what is missing in the one that is there.
fn answer(layer: &Path, service: &ServiceDescriptor) -> Result<String, String> {
    let draft = Draft::of(service);
    let file = layer.join(format!("{}.rs", service.name().to_snake_case()));
    let shown = file.display();
    let failed = |error: std::io::Error| format!("cannot write {shown}: {error}");
    match File::create_new(&file) {
        Ok(mut new) => {
            if let Err(error) = new.write_all(draft.file().as_bytes()) {
                let _ = fs::remove_file(&file);
                return Err(failed(error));
            }
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let there = fs::read_to_string(&file)
                .map_err(|error| format!("cannot read {shown}: {error}"))?;
            return Ok(missing(&shown.to_string(), &draft, &there));
        }
        Err(error) => return Err(failed(error)),
    }
    let module = ident(&service.name().to_snake_case());
    let declared = declare(&layer.join("mod.rs"), &module);
    let first = match declared {
        Ok(()) => String::new(),
        Err(why) => format!("\x20 pub mod {module};    // in src/service/mod.rs: {why}\n"),
    };
    Ok(format!(
        "{shown} answers {} with UNIMPLEMENTED, until you write it. Next:\n\
         \n{first}\
         \x20 {}    // in src/server/mod.rs: it is served\n",
        service.full_name(),
        draft.mount(),
    ))
}

/// What the definition has and the source has not.
fn missing(shown: &str, draft: &Draft, there: &str) -> String {
    let methods: Vec<_> = draft
        .methods
        .iter()
        .filter(|method| !defines(there, &method.name))
        .map(|method| method.text.as_str())
        .collect();
    match methods.len() {
        0 => format!("{shown} is there already, and has every method. Nothing was changed.\n"),
        count => format!(
            "{shown} is there already and was not changed. It lacks {count} of the methods; put them into its `impl`:\n\
             \n{}",
            methods.join("\n")
        ),
    }
}

/// Whether there is a function of that name: a word match would be fooled by `get` in `get_all`.
fn defines(source: &str, name: &str) -> bool {
    let start = format!("fn {name}");
    let mut rest = source;
    while let Some(at) = rest.find(&start) {
        rest = &rest[at + start.len()..];
        if rest.starts_with(['(', '<', ' ']) {
            return true;
        }
    }
    false
}

/// Adds `pub mod NAME;` where rustfmt would have it.
fn declare(file: &Path, module: &str) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let declared = declared(&text, module).ok_or("it declares no other to put it beside")?;
    // Renamed into place: who reads it meanwhile reads the old or the new.
    let beside = file.with_extension("rs.partial");
    fs::write(&beside, declared)
        .and_then(|()| fs::rename(&beside, file))
        .map_err(|error| {
            let _ = fs::remove_file(&beside);
            error.to_string()
        })
}

fn declared(text: &str, module: &str) -> Option<String> {
    let line = format!("pub mod {module};");
    if text.lines().any(|other| other == line) {
        return Some(text.to_owned());
    }
    let is_mod = |line: &&str| line.starts_with("pub mod ") && line.ends_with(';');
    let lines: Vec<_> = text.lines().collect();
    let first = lines.iter().position(is_mod)?;
    let block = lines[first..].iter().take_while(|line| is_mod(line));
    let before = block.take_while(|other| ***other < *line).count();
    let mut lines = lines;
    lines.insert(first + before, &line);
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_declared_where_rustfmt_would_have_it() {
        let text = "//! Doc.\n\npub mod b;\npub mod d;\n\npub mod z;\n";
        let put = |module| declared(text, module).unwrap();
        assert_eq!(put("a"), text.replace("pub mod b", "pub mod a;\npub mod b"));
        assert_eq!(put("c"), text.replace("pub mod d", "pub mod c;\npub mod d"));
        assert_eq!(put("e"), text.replace("d;\n", "d;\npub mod e;\n"));
        assert_eq!(put("b"), text);
        assert_eq!(declared("//! Doc.\n", "a"), None);
    }

    #[test]
    fn a_method_is_known_by_its_whole_name() {
        let source = "async fn get_all(&self) {} fn list<T>() {}";
        assert!(defines(source, "get_all") && defines(source, "list"));
        assert!(!defines(source, "get") && !defines(source, "all"));
    }
}
