//! Programs the tests need and the Debian packages that hold them.

use std::path::Path;
use std::process::Command;

use crate::run::shown;

/// A program and its package.
const NEEDED: &[(&str, &str)] = &[
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("h2load", "nghttp2-client"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("python3", "python3-venv"),
    ("etcd", "etcd-server"),
    ("nats-server", "nats-server"),
    ("mariadbd", "mariadb-server"),
    ("redis-server", "redis-server"),
];

/// Where servers lie, which is not always in a user's `PATH`.
const EXTRA: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Installs what is missing when this is root; else tells the line to type.
pub(crate) fn ensure() -> Result<(), String> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| !installed(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let line = format!("apt-get install --yes --no-install-recommends {packages}");
    if !is_root() {
        return Err(format!(
            "the tests need servers that are missing; type\n\n    sudo {line}\n"
        ));
    }
    // The lists of a bare machine are empty or old.
    shown(Command::new("apt-get").args(["update", "--quiet"]))?;
    shown(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // A server that starts itself would hold ports that are no business of ours.
            .env("RUNLEVEL", "1"),
    )?;
    let still: Vec<_> = NEEDED
        .iter()
        .filter(|(program, _)| !installed(program))
        .collect();
    if still.is_empty() {
        Ok(())
    } else {
        Err(format!("installed {packages}, and yet missing: {still:?}"))
    }
}

fn installed(program: &str) -> bool {
    if program == "python3" {
        // Debian ships python3 without what virtual environments need.
        let venv = Command::new(program)
            .args(["-m", "ensurepip", "--version"])
            .output();
        return venv.is_ok_and(|output| output.status.success());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(
            EXTRA
                .iter()
                .map(|directory| Path::new(directory).to_owned()),
        )
        .any(|directory| directory.join(program).exists())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
