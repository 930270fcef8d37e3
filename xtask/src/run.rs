//! Running cargo and other programs, shown before they start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The checkout's root.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root().join("target"),
        |set| root().join(PathBuf::from(set)),
    )
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
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Prints how each step went, of `steps` that there are; an error unless all went well.
pub(crate) fn summary(
    results: &[(&str, Result<Duration, String>)],
    steps: usize,
) -> Result<(), String> {
    eprintln!("\n{:-^60}", " summary ");
    for (name, result) in results {
        match result {
            Ok(time) => eprintln!("  ok      {name:<16} {:>6.1} s", time.as_secs_f64()),
            Err(error) => eprintln!("  FAILED  {name:<16} {error}"),
        }
    }
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    match (failed, results.len() == steps) {
        (0, true) => Ok(()),
        _ => Err(format!("{failed} of {steps} steps failed")),
    }
}
