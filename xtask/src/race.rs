//! `cargo xtask race`: ThreadSanitizer over what runs on several threads.
//!
//! It needs a nightly toolchain, which is not on every machine, so it is no part of
//! `cargo xtask test`. Without one nothing is checked, and the command fails rather than pretend.
//!
//! The standard library comes compiled without the sanitizer, so what synchronises inside it is
//! not seen: false reports, where ordinary code depends on it. Four things keep them out. Some are
//! suppressed, each with its argument, in `xtask/race-suppressions.txt`. tokio is built with its
//! feature `parking_lot`, whose mutexes are compiled here and seen, where std's contended path is
//! not. Tests run one at a time, since what they share is the harness's. And tests join their
//! threads one by one, which is seen, as the end of a `thread::scope` is not.
//!
//! Silence means something only from a check that can speak: the first steps are a race that must
//! be caught and the same program without it.

mod gateway;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run::{line, root, shown, summary, target};

/// The sanitizer's runtime is to be had for this target; a target also keeps it off build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const FLAGS: [&str; 2] = [
    "-Zsanitizer=thread",
    "-Cunsafe-allow-abi-mismatch=sanitizer",
];
/// With what a process exits whose race was reported.
const CAUGHT: i32 = 66;

/// How to look for data races.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The nightly toolchain to build with; its sources are not needed.
    #[arg(long, value_name = "NAME", default_value = "nightly")]
    toolchain: String,
    /// Seconds of load on the gateway by each protocol.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// What the steps share.
struct Race<'a> {
    args: &'a Args,
    /// Everything built with the sanitizer.
    folder: PathBuf,
}

type Step = (&'static str, fn(&Race<'_>) -> Result<Duration, String>);

const STEPS: &[Step] = &[
    ("fixture: a race", |race| race.fixture("racy", true, true)),
    ("fixture: none", |race| race.fixture("ordered", false, true)),
    ("tests", |race| race.tests()),
    ("gateway", gateway::under_load),
];

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let race = Race {
        args,
        folder: target().join("race"),
    };
    race.ready()?;
    // Nothing that follows would mean anything.
    shown(&mut race.compile_fixture()).map_err(|error| nothing_checked(&error))?;
    let results: Vec<_> = STEPS
        .iter()
        .map(|(name, step)| (*name, step(&race)))
        .collect();
    // Reported without the suppressions, or they have outlived their reason.
    if race.fixture("arc", false, false).is_ok() {
        eprintln!(
            "\nan `Arc`'s drop is no longer reported: try without xtask/race-suppressions.txt"
        );
    }
    summary(&results, STEPS.len())
}

/// Says what a failure before the first step leaves open.
fn nothing_checked(why: &str) -> String {
    format!(
        "{why}\nnothing was checked for data races: not the tests of seawall-sync and \
         seawall-policy, and not the gateway under load"
    )
}

impl Race<'_> {
    fn ready(&self) -> Result<(), String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(nothing_checked(&format!("this runs on {TARGET} only")));
        }
        let name = &self.args.toolchain;
        let found = Command::new("rustup")
            .args(["run", name, "rustc", "--version", "--verbose"])
            .output()
            .is_ok_and(|output| {
                // A stable compiler under that name would refuse the flags, and less clearly.
                let text = String::from_utf8_lossy(&output.stdout);
                output.status.success() && text.contains("-nightly")
            });
        let remedy = format!(
            "there is no nightly toolchain `{name}`; `rustup toolchain install nightly` installs one"
        );
        found.then_some(()).ok_or_else(|| nothing_checked(&remedy))
    }

    /// A program of the toolchain, with where to look for suppressions.
    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new("rustup");
        command.args(["run", &self.args.toolchain, program]);
        command.current_dir(root());
        sanitized(&mut command);
        command
    }

    /// cargo, building with the sanitizer. Slightly optimised, or the tests take minutes.
    fn cargo(&self, task: &str) -> Command {
        let mut command = self.tool("cargo");
        command.args([task, "--locked", "--target", TARGET]);
        command.env("CARGO_TARGET_DIR", &self.folder);
        command.env("RUSTFLAGS", FLAGS.join(" "));
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        command
    }

    /// What cargo built.
    fn built(&self, program: &str) -> PathBuf {
        self.folder.join(TARGET).join("debug").join(program)
    }

    fn tests(&self) -> Result<Duration, String> {
        let mut sync = self.cargo("test");
        sync.args(["--package", "seawall-sync", "--all-features"]);
        sync.args(["--features", "tokio/parking_lot"]);
        let mut policy = self.cargo("test");
        policy.args(["--package", "seawall-policy", "--all-features"]);
        let mut took = Duration::ZERO;
        for mut command in [sync, policy] {
            command.args([
                "--lib",
                "--tests",
                "--no-fail-fast",
                "--",
                "--test-threads=1",
                // The sanitizer holds a signal back until its thread makes a call that it watches;
                // the test's own thread sleeps in one that it does not.
                "--skip=a_signal_of_the_system",
            ]);
            took += shown(&mut command)?;
        }
        Ok(took)
    }

    fn compile_fixture(&self) -> Command {
        let mut command = self.tool("rustc");
        command.args(["--edition=2024", "-g", "--target", TARGET]);
        command.args(FLAGS).arg("--out-dir").arg(&self.folder);
        command.arg("xtask/fixtures/racy.rs");
        command
    }

    /// Runs the fixture as `part`: whether its race is reported is as it should be.
    fn fixture(&self, part: &str, race: bool, suppress: bool) -> Result<Duration, String> {
        let start = Instant::now();
        let mut command = Command::new(self.folder.join("racy"));
        command.arg(part);
        if suppress {
            sanitized(&mut command);
        }
        let line = line(&command);
        let output = command
            .output()
            .map_err(|error| format!("cannot run `{line}`: {error}"))?;
        match (output.status.code(), race) {
            (Some(CAUGHT), true) | (Some(0), false) => Ok(start.elapsed()),
            (Some(0), true) => Err(format!("`{line}`: the race was not caught")),
            (Some(CAUGHT), false) => Err(format!("`{line}`: a race was reported; there is none")),
            _ => Err(format!("`{line}`: {}", output.status)),
        }
    }
}

/// Lets a program built with the sanitizer find the suppressions.
fn sanitized(command: &mut Command) {
    let file = root().join(Path::new("xtask/race-suppressions.txt"));
    let mut options = std::ffi::OsString::from("suppressions=");
    options.push(file);
    command.env("TSAN_OPTIONS", options);
}
