//! Running cargo and other programs, shown before they start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The checkout's root.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// cargo as it was called.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    command
}

/// Runs it with its output on the terminal; says whether it succeeded and how long it took.
pub(crate) fn shown(command: &mut Command) -> Result<Duration, String> {
    let line = line(command);
    eprintln!("\n$ {line}");
    let start = Instant::now();
    let status = command
        .status()
        .map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if status.success() {
        Ok(start.elapsed())
    } else {
        Err(format!("`{line}`: {status}"))
    }
}

/// What one would type.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
