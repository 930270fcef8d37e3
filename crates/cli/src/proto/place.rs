//! Where a definition is, and what that says of it.

use std::path::{Component, Path, PathBuf};

use crate::new::KEYWORDS;

/// The place of a definition in a project.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file as it was named.
    pub(super) file: PathBuf,
    /// The directory that imports are seen from.
    pub(super) root: PathBuf,
    /// The file, seen from there.
    pub(super) import: String,
    /// The directory of the service whose API it is.
    pub(super) project: PathBuf,
    /// The proto package, in its parts.
    pub(super) package: Vec<String>,
    /// The file's name without its end.
    pub(super) stem: String,
}

const EXAMPLE: &str = "api/proto/shop/v1/orders.proto";

impl Place {
    /// Reads a path. It need not be there, but the crate must.
    pub(super) fn of(file: &Path) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}`: {why}; a path is as in `{EXAMPLE}`", file.display());
        if file.components().any(|part| part == Component::ParentDir) {
            return Err(wrong("it has `..` in it"));
        }
        if file.extension().is_none_or(|kind| kind != "proto") {
            return Err(wrong("it does not end with `.proto`"));
        }
        // The outermost: below it, `proto` may be a part of a package.
        let root = file
            .ancestors()
            .skip(1)
            .filter(|above| above.file_name().is_some_and(|name| name == "proto"))
            .filter(|above| beside(above).join("Cargo.toml").is_file())
            .last();
        let Some(root) = root else {
            let why = "it is not below a directory `proto` beside a Cargo.toml: go to the root of a project that `seawall new` made";
            return Err(wrong(why));
        };
        let below = file.strip_prefix(root).unwrap_or(file);
        let mut package = Vec::new();
        for part in below.parent().into_iter().flat_map(Path::components) {
            let part = part.as_os_str().to_string_lossy().into_owned();
            word(&part).map_err(|why| wrong(&why))?;
            package.push(part);
        }
        let stem = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        word(&stem).map_err(|why| wrong(&why))?;
        let version = package.last().is_some_and(|last| version(last));
        if package.len() < 2 || !version {
            return Err(wrong(
                "its directories are the package, whose last part is a version: `shop/v1`",
            ));
        }
        let api = beside(root);
        Ok(Self {
            file: file.to_owned(),
            root: root.to_owned(),
            import: below.to_string_lossy().into_owned(),
            // Shown to people: `src/…`, not `./src/…`.
            project: match beside(&api) {
                here if here == Path::new(".") => PathBuf::new(),
                other => other,
            },
            package,
            stem,
        })
    }

    /// The package as definitions write it: `shop.v1`.
    pub(super) fn package(&self) -> String {
        self.package.join(".")
    }
}

/// The directory that holds `path`; the current one for a path of one part.
fn beside(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) if path == Path::new(".") => "..".into(),
        _ => ".".into(),
    }
}

fn word(part: &str) -> Result<(), String> {
    let inside = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_';
    let first = part.starts_with(|sign: char| sign.is_ascii_lowercase());
    if !first || !part.chars().all(inside) || part.contains("__") || part.ends_with('_') {
        return Err(format!(
            "`{part}` is not a word of lower-case letters, digits and `_`"
        ));
    }
    if KEYWORDS.contains(&part) {
        return Err(format!("`{part}` is a keyword of Rust"));
    }
    if part == "google" || part == "seawall" {
        return Err(format!("definitions of `{part}` come with the build"));
    }
    Ok(())
}

/// `v1`, `v2beta1`.
fn version(part: &str) -> bool {
    let digits = part.strip_prefix('v').unwrap_or_default();
    digits.starts_with(|sign: char| sign.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_project_and_package() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path();
        std::fs::create_dir_all(project.join("api")).unwrap();
        std::fs::write(project.join("api/Cargo.toml"), "").unwrap();
        let at = |path: &str| Place::of(&project.join(path));

        let place = at("api/proto/shop/proto/v1/order_lines.proto").unwrap();
        assert_eq!(place.project, project);
        assert_eq!(place.root, project.join("api/proto"));
        assert_eq!(place.import, "shop/proto/v1/order_lines.proto");
        assert_eq!(
            (&*place.package(), &*place.stem),
            ("shop.proto.v1", "order_lines")
        );

        for (path, why) in [
            ("api/proto/shop/v1/orders.txt", "end with `.proto`"),
            ("api/proto/shop/v1/../v1/orders.proto", "`..`"),
            ("other/shop/v1/orders.proto", "`seawall new`"),
            ("proto/shop/v1/orders.proto", "`seawall new`"),
            ("api/proto/orders.proto", "a version"),
            ("api/proto/shop/orders.proto", "a version"),
            ("api/proto/v1/orders.proto", "a version"),
            ("api/proto/Shop/v1/orders.proto", "`Shop` is not a word"),
            (
                "api/proto/shop/v1/my-orders.proto",
                "`my-orders` is not a word",
            ),
            ("api/proto/type/v1/orders.proto", "`type` is a keyword"),
            ("api/proto/google/v1/orders.proto", "come with the build"),
        ] {
            let told = at(path).unwrap_err();
            assert!(
                told.contains(why) && told.contains(EXAMPLE),
                "{path}: {told}"
            );
        }
    }

    #[test]
    fn the_directory_that_holds_a_path_is_one() {
        for (path, holds) in [("api/proto", "api"), ("api", "."), (".", ".."), ("/a", "/")] {
            assert_eq!(beside(Path::new(path)), Path::new(holds), "{path}");
        }
    }
}
