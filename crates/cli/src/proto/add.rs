//! `seawall proto add`: a definition to begin with.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use heck::{ToShoutySnakeCase as _, ToSnakeCase as _, ToUpperCamelCase as _};

use super::place::Place;
use crate::new::Filling;

const TEMPLATE: &str = include_str!("../../templates/proto/service.proto");

pub(super) fn run(path: &Path) -> Result<String, String> {
    let place = Place::of(path)?;
    let text = definition(&place);
    let shown = place.file.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("{shown} is there already, and nothing is ever overwritten; name another file")
        }
        _ => format!("cannot write {shown}: {error}"),
    };
    if let Some(parent) = place.file.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = File::create_new(&place.file).map_err(failed)?;
    if let Err(error) = file.write_all(text.as_bytes()) {
        let _ = fs::remove_file(&place.file);
        return Err(failed(error));
    }
    Ok(format!(
        "{shown} is there, and the next `cargo build` compiles it. Next:\n\
         \n\
         \x20 edit it                        # what it is about: messages, routes, rules, errors\n\
         \x20 seawall proto server {shown}    # a service that answers it\n"
    ))
}

fn definition(place: &Place) -> String {
    let plural = place.stem.as_str();
    let singular = singular(plural);
    // A message and a service of one package cannot share a name.
    let suffix = if singular == plural { "Service" } else { "" };
    let service = format!("{}{suffix}", plural.to_upper_camel_case());
    let version = place.package.last().map_or("v1", String::as_str);
    Filling {
        values: &[
            ("package", &*place.package()),
            ("version", version),
            ("Service", &*service),
            ("things", plural),
            ("words", &*plural.replace('_', " ")),
            ("thing words", &*singular.replace('_', " ")),
            ("things-path", &*plural.replace('_', "-")),
            ("Things", &*plural.to_upper_camel_case()),
            ("Thing", &*singular.to_upper_camel_case()),
            ("thing", &*singular.to_snake_case()),
            ("THING", &*singular.to_shouty_snake_case()),
        ],
        parts: &[],
    }
    .fill(TEMPLATE)
}

/// One of many, as far as English has rules; a wrong guess costs an edit.
fn singular(plural: &str) -> String {
    for (many, one) in [
        ("ies", "y"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
    ] {
        if let Some(stem) = plural.strip_suffix(many).filter(|stem| stem.len() > 1) {
            return format!("{stem}{one}");
        }
    }
    match plural.strip_suffix('s') {
        Some(stem) if stem.len() > 1 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => plural.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many() {
        for (many, one) in [
            ("orders", "order"),
            ("categories", "category"),
            ("boxes", "box"),
            ("addresses", "address"),
            ("stock", "stock"),
            ("status", "status"),
            ("order_lines", "order_line"),
            ("gas", "ga"),
            ("s", "s"),
            ("ties", "tie"),
        ] {
            assert_eq!(singular(many), one);
        }
    }
}
