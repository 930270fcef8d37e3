//! `seawall new` as its user meets it: what is made, and what is left of what is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::{SEAWALL, eventually, text};

/// Where the checkout stands in a snapshot.
const HERE: &str = "/checkout/of/seawall";
/// What `--with` adds.
const ADDED: [&str; 2] = ["src/admin/mod.rs", "src/job/mod.rs"];

fn new(directory: &Path, args: &[&str]) -> Output {
    Command::new(SEAWALL)
        .arg("new")
        .args(args)
        .current_dir(directory)
        // The first build does what cargo would do now.
        .env("CARGO", "/nonexistent/cargo")
        .output()
        .unwrap()
}

/// Every file below, but for the lock, by its path.
fn files(directory: &Path) -> BTreeMap<String, String> {
    fn collect(directory: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, files);
            } else if path.file_name().is_some_and(|name| name != "Cargo.lock") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                files.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(directory, directory, &mut files);
    files
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn generated(name: &str, more: &[&str]) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let output = new(dir.path(), &[&[name], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let here = checkout();
    let plain = |text: String| text.replace(here.to_str().unwrap(), HERE);
    let files = files(&dir.path().join(name)).into_iter();
    files.map(|(file, text)| (file, plain(text))).collect()
}

/// The output is kept as files, as a reader of a change sees what becomes of it: `snapshots/new` has
/// all parts, `snapshots/plain` what is otherwise without them. `SEAWALL_WRITE_SNAPSHOTS=1` writes them.
#[test]
fn what_is_made_is_as_the_snapshot() {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let (whole, plain) = (snapshots.join("new"), snapshots.join("plain"));
    let with = generated("shop", &["--with", "job,admin"]);
    let without = generated("shop", &[]);
    let differs = |(file, text): &(&String, &String)| with.get(*file) != Some(text);
    let different: BTreeMap<_, _> = without
        .iter()
        .filter(differs)
        .map(|(file, text)| (file.clone(), text.clone()))
        .collect();
    if std::env::var_os("SEAWALL_WRITE_SNAPSHOTS").is_some() {
        for (root, files) in [(&whole, &with), (&plain, &different)] {
            let _ = fs::remove_dir_all(root);
            for (file, text) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
    }
    for (root, made) in [(&whole, &with), (&plain, &different)] {
        let kept = files(root);
        let remedy =
            "see `git diff` after: SEAWALL_WRITE_SNAPSHOTS=1 cargo test -p seawall-cli --test new";
        let (kept_names, made_names) = (kept.keys(), made.keys());
        assert!(
            kept_names.eq(made_names),
            "other files than in {}; {remedy}",
            root.display()
        );
        for (file, text) in &kept {
            assert!(
                *text == made[file],
                "{file} is not as in {}; {remedy}",
                root.display()
            );
        }
    }
    let missing = with.keys().filter(|file| !without.contains_key(*file));
    assert!(
        missing.eq(ADDED.iter()),
        "only the parts' own files come and go"
    );
}

#[test]
fn nothing_of_a_template_is_left_in_what_is_made() {
    let files = generated("order-history", &["--with", "job"]);
    for (file, text) in &files {
        assert!(!text.contains("{{"), "{file}");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{file}");
    }
    assert!(files.contains_key("api/proto/order_history/v1/notes.proto"));
    assert!(files["src/main.rs"].contains("App::<Config>::new(\"order-history\")"));
    assert!(files["src/main.rs"].contains("use order_history::config::Config;"));
}

/// Names of any length: none may make a line that rustfmt would break.
#[test]
fn what_is_made_is_as_rustfmt_would_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let long = "abcdefghijklmnopqrstuvwxyz-01234";
    for (name, with) in [
        ("s", "job,admin"),
        ("zoo", "job"),
        (long, "job,admin"),
        ("plain", ""),
    ] {
        let with: &[&str] = if with.is_empty() {
            &[]
        } else {
            &["--with", with]
        };
        assert!(new(dir.path(), &[&[name], with].concat()).status.success());
        let roots = [
            "src/lib.rs",
            "src/main.rs",
            "api/src/lib.rs",
            "api/build.rs",
        ];
        let tests = ["tests/layers.rs", "tests/service/main.rs"];
        let formatted = Command::new("rustfmt")
            .args(["--check", "--edition", "2024"])
            .args(roots.iter().chain(&tests))
            .current_dir(dir.path().join(name))
            .output()
            .unwrap();
        assert!(
            formatted.status.success(),
            "{name}: {}",
            text(&formatted.stdout)
        );
    }
}

#[test]
fn a_project_has_the_lock_of_its_checkout() {
    let dir = tempfile::tempdir().unwrap();
    assert!(new(dir.path(), &["shop"]).status.success());
    let lock = |path: &Path| fs::read_to_string(path.join("Cargo.lock")).unwrap();
    assert_eq!(lock(&dir.path().join("shop")), lock(&checkout()));
}

#[test]
fn the_end_tells_what_to_type_next() {
    let dir = tempfile::tempdir().unwrap();
    let output = new(dir.path(), &["shop", "--with", "job"]);
    let told = text(&output.stdout);
    for part in [
        "shop is there with job.",
        "cd shop",
        "cargo test",
        "cargo run",
        "README.md",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    assert!(!told.contains("exclude"), "{told}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn inside_another_workspace_it_is_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let outer = dir.path().join("Cargo.toml");
    fs::write(&outer, "[workspace]\nmembers = []\n").unwrap();
    fs::create_dir(dir.path().join("services")).unwrap();
    let output = new(&dir.path().join("services"), &["shop"]);
    let told = text(&output.stdout);
    let manifest = dir.path().canonicalize().unwrap().join("Cargo.toml");
    for part in [manifest.to_str().unwrap(), "exclude = [\"services/shop\"]"] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    // cargo itself agrees: the root it finds is the project's.
    let located = Command::new(env!("CARGO"))
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .current_dir(dir.path().join("services/shop/api"))
        .output()
        .unwrap();
    let root = dir
        .path()
        .canonicalize()
        .unwrap()
        .join("services/shop/Cargo.toml");
    assert_eq!(text(&located.stdout).trim(), root.to_str().unwrap());
}

#[test]
fn a_name_that_cannot_be_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (name, part) in [
        ("", "empty"),
        ("..", "path"),
        ("/etc", "path"),
        ("a/b", "cd a && seawall new b"),
        ("match", "keyword"),
        ("tokio", "a crate that the project uses"),
        ("9lives", "try `lives`"),
        ("küche", "`ü`"),
    ] {
        let output = new(dir.path(), &[name]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {told}");
        assert!(
            told.starts_with("seawall: `") && told.contains(part),
            "{name}: {told}"
        );
    }
    assert_eq!(new(dir.path(), &[]).status.code(), Some(2));
    assert_eq!(
        new(dir.path(), &["shop", "--with", "jobs"]).status.code(),
        Some(2)
    );
    assert!(names(dir.path()).is_empty());
}

#[test]
fn what_is_there_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("full/src")).unwrap();
    fs::write(at("full/src/mine.rs"), "mine").unwrap();
    fs::write(at("file"), "mine").unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::create_dir(at("aside")).unwrap();
    symlink("aside", at("link")).unwrap();
    let before = names(dir.path());
    for name in ["full", "file", "dangling", "link"] {
        let output = new(dir.path(), &[name]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(
            told.contains("nothing is ever overwritten; choose"),
            "{name}: {told}"
        );
    }
    assert_eq!(names(dir.path()), before);
    assert_eq!(fs::read_to_string(at("full/src/mine.rs")).unwrap(), "mine");
    assert_eq!(names(&at("full")), ["src"]);

    fs::create_dir(at("empty")).unwrap();
    assert!(new(dir.path(), &["empty"]).status.success());
    assert!(at("empty/Cargo.toml").is_file());
}

#[test]
fn where_nothing_can_be_written_the_reason_is_told() {
    // Not even root writes there.
    let output = new(Path::new("/proc"), &["shop"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write shop to /proc: "), "{told}");
}

/// A path with a blank in it is one path still, in what cargo, docker and a shell read.
#[test]
fn a_checkout_may_be_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let strange = dir.path().join("my checkouts");
    fs::create_dir(&strange).unwrap();
    symlink(checkout().join("crates"), strange.join("crates")).unwrap();
    let strange = strange.canonicalize().unwrap();
    let path = strange.to_str().unwrap();
    let output = new(dir.path(), &["shop", "--seawall-path", path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let files = files(&dir.path().join("shop"));
    let manifest: toml::Table = files["Cargo.toml"].parse().unwrap();
    let seawall = &manifest["workspace"]["dependencies"]["seawall"]["path"];
    assert_eq!(seawall.as_str(), Some(&*format!("{path}/crates/seawall")));
    let named = files["Dockerfile"]
        .lines()
        .filter(|line| line.contains(path));
    let quoted = |line: &str| line.contains(&format!("[\"crates\", \"{path}/crates\"]"));
    assert!(named.clone().any(quoted));
    for line in named {
        let (before, _) = line.split_once(path).unwrap();
        assert!(before.matches('"').count() % 2 == 1, "no quotes: {line}");
    }
}

#[test]
fn a_checkout_that_is_none_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    let output = new(dir.path(), &["shop", "--seawall-path", empty]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("no Seawall at") && told.contains("name the root"),
        "{told}"
    );
    assert!(names(dir.path()).is_empty());

    let here = checkout();
    let output = new(
        dir.path(),
        &["shop", "--seawall-path", here.to_str().unwrap()],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// A cargo that takes its time stands in for a slow disk.
#[test]
fn an_interrupt_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (work, cargo) = (dir.path().join("work"), dir.path().join("cargo"));
    let seen = dir.path().join("seen");
    fs::create_dir(&work).unwrap();
    let script = format!("#!/bin/sh\npwd > {}\nexec sleep 60\n", seen.display());
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let child = Command::new(SEAWALL)
        .args(["new", "shop"])
        .current_dir(&work)
        .env("CARGO", &cargo)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("cargo is asked", || {
        fs::read_to_string(&seen).is_ok_and(|at| at.ends_with('\n'))
    });
    assert_eq!(names(&work).len(), 1, "it is at work");
    let id = child.id().to_string();
    let signalled = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(signalled.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(
        told.contains("interrupted; nothing is left of shop"),
        "{told}"
    );
    assert!(names(&work).is_empty());
}
