//! Where a project finds Seawall.
//!
//! Until its crates are published, a project depends by path on the checkout that made it: the one
//! this command was built from. Its `Cargo.lock` goes along, so that a project is built with the
//! versions that the checkout is tested with, and without asking anyone for newer ones.

use std::fs;
use std::path::{Path, PathBuf};

/// Where this command was built.
const BUILT_FROM: &str = env!("CARGO_MANIFEST_DIR");
/// What a checkout has, seen from its root.
const CRATES: [&str; 3] = ["crates/seawall", "crates/build", "crates/testkit"];

/// A checkout of Seawall.
#[derive(Debug)]
pub(super) struct Checkout {
    /// Its root, absolute.
    pub(super) root: String,
    /// Its `Cargo.lock`, where it has one.
    pub(super) lock: Option<String>,
}

impl Checkout {
    /// The one that `named` is, or else the one this command was built from.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, String> {
        let built_from = Path::new(BUILT_FROM);
        let root = match named {
            Some(path) => path.to_owned(),
            // crates/cli
            None => built_from
                .ancestors()
                .nth(2)
                .unwrap_or(built_from)
                .to_owned(),
        };
        let shown = root.display().to_string();
        let remedy = match named {
            Some(_) => "name the root of a checkout, which has crates/seawall in it",
            None => {
                "this command was built from there; name a checkout that is still there: --seawall-path DIR"
            }
        };
        let missing = CRATES
            .iter()
            .find(|name| !root.join(name).join("Cargo.toml").is_file());
        if let Some(missing) = missing {
            return Err(format!(
                "no Seawall at {shown} ({missing} is missing); {remedy}"
            ));
        }
        let absolute: PathBuf = fs::canonicalize(&root)
            .map_err(|error| format!("cannot use {shown}: {error}; {remedy}"))?;
        let lock = fs::read_to_string(absolute.join("Cargo.lock")).ok();
        let Ok(root) = absolute.into_os_string().into_string() else {
            return Err(format!(
                "{shown} is not UTF-8, which Cargo.toml cannot hold; {remedy}"
            ));
        };
        Ok(Self { root, lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_the_one_it_was_built_from_unless_another_is_named() {
        let own = Checkout::find(None).unwrap();
        assert!(Path::new(&own.root).is_absolute());
        assert!(own.lock.unwrap().contains("name = \"seawall\""));
        let same = Checkout::find(Some(Path::new("../.."))).unwrap();
        assert_eq!(same.root, own.root);

        let empty = tempfile::tempdir().unwrap();
        let told = Checkout::find(Some(empty.path())).unwrap_err();
        for part in [
            &*empty.path().display().to_string(),
            "crates/seawall is missing",
            "name the root",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
