//! The files of a project.

use super::checkout::Checkout;
use super::template::Filling;

/// Path in the project, template, and the part it belongs to.
type Template = (&'static str, &'static str, Option<&'static str>);

macro_rules! template {
    ($file:literal) => {
        template!($file, $file, None)
    };
    ($file:literal, $source:literal, $part:expr) => {
        (
            $file,
            include_str!(concat!("../../templates/new/", $source)),
            $part,
        )
    };
}

/// A manifest or an ignore file of that name would be taken for this repository's own.
const TEMPLATES: &[Template] = &[
    template!(".dockerignore", "dockerignore.in", None),
    template!(".gitignore", "gitignore.in", None),
    template!("Cargo.toml", "Cargo.toml.in", None),
    template!("Dockerfile"),
    template!("README.md"),
    template!("api/Cargo.toml", "api/Cargo.toml.in", None),
    template!("api/build.rs"),
    template!(
        "api/proto/{{crate}}/v1/notes.proto",
        "api/proto/notes.proto",
        None
    ),
    template!("api/src/lib.rs"),
    template!("clippy.toml", "clippy.toml.in", None),
    template!("config.toml"),
    template!("src/admin/mod.rs", "src/admin/mod.rs", Some("admin")),
    template!("src/biz/mod.rs"),
    template!("src/biz/notes.rs"),
    template!("src/biz/notes/tests.rs"),
    template!("src/config.rs"),
    template!("src/data/mod.rs"),
    template!("src/data/notes.rs"),
    template!("src/job/mod.rs", "src/job/mod.rs", Some("job")),
    template!("src/lib.rs"),
    template!("src/main.rs"),
    template!("src/pkg/clock.rs"),
    template!("src/pkg/mod.rs"),
    template!("src/server/mod.rs"),
    template!("src/service/mod.rs"),
    template!("src/service/notes.rs"),
    template!("tests/layers.rs"),
    template!("tests/service/contract.rs"),
    template!("tests/service/main.rs"),
    template!("tests/service/smoke.rs"),
    template!("tests/service/support.rs"),
];

/// Every file of the project, by path.
pub(super) fn project(name: &str, checkout: &Checkout, parts: &[&str]) -> Vec<(String, String)> {
    let krate = name.replace('-', "_");
    let variable = krate.to_uppercase();
    let seawall = toml_string(&checkout.root);
    let values = [
        ("name", name),
        ("crate", &*krate),
        ("VARIABLE", &*variable),
        ("seawall", &*seawall),
    ];
    let filling = Filling {
        values: &values,
        parts,
    };
    let wanted = |part: &Option<&str>| part.is_none_or(|part| parts.contains(&part));
    let templates = TEMPLATES.iter().filter(|(_, _, part)| wanted(part));
    let mut files: Vec<_> = templates
        .map(|(file, template, _)| {
            let file = filling.fill(file).trim_end().to_owned();
            (file, filling.fill(template))
        })
        .collect();
    files.extend(
        checkout
            .lock
            .clone()
            .map(|lock| ("Cargo.lock".to_owned(), lock)),
    );
    files
}

/// What stands between the quotes of a string in TOML.
fn toml_string(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, sign| {
        match sign {
            '"' | '\\' => safe.extend(['\\', sign]),
            sign if sign.is_control() => safe.push_str(&format!("\\u{:04X}", u32::from(sign))),
            sign => safe.push(sign),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_a_path_in_a_manifest() {
        let strange = "/a \"b\"\\c\nd/é";
        let line = format!("path = \"{}/x\"", toml_string(strange));
        let table: toml::Table = line.parse().unwrap();
        assert_eq!(table["path"].as_str(), Some(&*format!("{strange}/x")));
    }

    /// A version that the lock file does not have would be looked for elsewhere.
    #[test]
    fn versions_are_those_that_this_workspace_is_tested_with() {
        let workspace: toml::Table = include_str!("../../../../Cargo.toml").parse().unwrap();
        let ours = &workspace["workspace"]["dependencies"];
        let version = |value: &toml::Value| {
            let version = value.get("version").unwrap_or(value);
            version.as_str().map(str::to_owned)
        };
        let checkout = Checkout {
            root: "/seawall".into(),
            lock: None,
        };
        let files = project("shop", &checkout, &["job", "admin"]);
        let mut seen = 0;
        for (_, text) in files
            .iter()
            .filter(|(file, _)| file.ends_with("Cargo.toml"))
        {
            let manifest: toml::Table = text.parse().unwrap();
            for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let Some(names) = manifest.get(section).and_then(|table| table.as_table()) else {
                    continue;
                };
                for (name, value) in names {
                    if let Some(theirs) = version(value) {
                        assert_eq!(Some(theirs), version(&ours[name]), "{name}");
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen > 3);
    }
}
