//! `seawall new`: a service to begin with.
//!
//! Everything is in this command: nothing is fetched, and no tool has to be there but cargo. The
//! project is put together in memory, written beside its place and renamed, so that it is there
//! whole or not at all, and nothing is ever overwritten.

mod checkout;
mod files;
mod name;
mod stage;
mod template;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use seawall_sync::shutdown::Signals;

use crate::Failure;
use checkout::Checkout;
pub(crate) use name::KEYWORDS;
use stage::Stage;
pub(crate) use template::Filling;

/// Make a service: gRPC and HTTP from one definition, in layers, protected by default.
///
/// The directory NAME is made here, and holds a project that compiles, passes its tests and starts
/// with `cargo run`: nothing else to install or to type. Its layers, from the outside in:
///
/// api/           the definition in protobuf; both transports, errors and rules are made from it
/// src/server/    what is served
/// src/service/   from messages to the business and back
/// src/biz/       the business, and the ports it needs; knows neither transport nor database
/// src/data/      the ports' implementations; here on SQLite
/// src/pkg/       what is not about the business
/// src/main.rs    puts them together, in one place
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "\
Examples:
  seawall new shop                     a service in ./shop
  seawall new shop --with job,admin    with scheduled work, and an API for operators

Then:
  cd shop
  cargo test
  cargo run

Until Seawall's crates are published, the project depends on the checkout that this command was
built from, and takes the versions of other crates from its Cargo.lock.

Exit code: 0 when the project is there; 1 when it is not, and then nothing of it is left; 2 for a
wrong command line; 130 when interrupted.")]
pub(crate) struct Args {
    /// What the project is called: a word of lower-case letters, digits, `-` and `_`.
    name: String,
    /// Parts that not every service needs.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    with: Vec<Part>,
    /// The checkout of Seawall that the project depends on [default: the one this was built from].
    #[arg(long, value_name = "DIR")]
    seawall_path: Option<PathBuf>,
}

/// A part that not every service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// `src/job/`: scheduled work.
    Job,
    /// `src/admin/`: an API for operators, on the admin listener.
    Admin,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Admin => "admin",
        }
    }
}

/// How long cargo may look at the new project; it only saves the first build some work.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    name::check(&args.name).map_err(Failure::new)?;
    let checkout = Checkout::find(args.seawall_path.as_deref()).map_err(Failure::new)?;
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(format!("cannot tell the current directory: {error}")))?;
    free(&here.join(&args.name))?;
    let parts: Vec<_> = args.with.iter().map(|part| part.name()).collect();
    let (name, parent) = (args.name.clone(), here.clone());
    let whole = files::project(&name, &checkout, &parts);
    interruptible(move |stop| write(&name, &parent, &whole, stop))?;
    crate::print(&told(&args.name, &parts, &here))
}

/// Runs `work` on a thread of its own. A signal has it stop and clean up.
fn interruptible(
    work: impl FnOnce(&AtomicBool) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let mut work = tokio::task::spawn_blocking(move || work(&seen));
        let done = tokio::select! {
            done = &mut work => done,
            _ = signals.next() => {
                stop.store(true, Ordering::Relaxed);
                work.await
            }
        };
        done.unwrap_or_else(|error| Err(Failure::new(format!("a defect in Seawall: {error}"))))
    })
}

fn write(
    name: &str,
    parent: &Path,
    files: &[(String, String)],
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "; go to a directory that you may write to"
            }
            ErrorKind::StorageFull => "; make room",
            _ => "",
        };
        let parent = parent.display();
        Failure::new(format!("cannot write {name} to {parent}: {error}{remedy}"))
    };
    let go_on = || {
        if stop.load(Ordering::Relaxed) {
            let text = format!("interrupted; nothing is left of {name}");
            return Err(Failure { text, code: 130 });
        }
        Ok(())
    };
    let stage = Stage::new(parent, name).map_err(failed)?;
    for (file, text) in files {
        go_on()?;
        stage.write(file, text).map_err(failed)?;
    }
    settle_lock(stage.path(), stop);
    go_on()?;
    let target = parent.join(name);
    free(&target)?;
    stage.keep(&target).map_err(failed)
}

/// Has cargo strike from the lock file what this project does not use. Without cargo, or without an
/// index at hand, the first build does the same.
fn settle_lock(project: &Path, stop: &AtomicBool) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let child = Command::new(cargo)
        .args(["update", "--workspace", "--offline", "--quiet"])
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut child) = child {
        let end = Instant::now() + PATIENCE;
        while running(&mut child) {
            if stop.load(Ordering::Relaxed) || Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            sleep(LOOK);
        }
    }
}

fn running(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

/// Fails where something is at `target`, but for an empty directory.
fn free(target: &Path) -> Result<(), Failure> {
    let shown = target.display();
    let taken = |what: &str| {
        let text = format!(
            "{shown} {what}, and nothing is ever overwritten; choose another name, or move it away"
        );
        Err(Failure::new(text))
    };
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::new(format!("cannot look at {shown}: {error}"))),
        Ok(found) if !found.is_dir() => taken("is there already"),
        Ok(_) => match fs::read_dir(target).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => taken("is not empty"),
            Err(error) => Err(Failure::new(format!("cannot look into {shown}: {error}"))),
        },
    }
}

/// The manifest of a workspace around `here`.
fn outer_workspace(here: &Path) -> Option<PathBuf> {
    let mut manifests = here.ancestors().map(|above| above.join("Cargo.toml"));
    manifests.find(|manifest| {
        let text = fs::read_to_string(manifest).unwrap_or_default();
        text.lines()
            .any(|line| line.trim().starts_with("[workspace"))
    })
}

fn told(name: &str, parts: &[&str], here: &Path) -> String {
    let with = match parts {
        [] => String::new(),
        parts => format!(" with {}", parts.join(" and ")),
    };
    let outer = outer_workspace(here).map_or(String::new(), |manifest| {
        let root = manifest.parent().unwrap_or(here);
        let project = here.join(name);
        let project = project.strip_prefix(root).unwrap_or(&project);
        format!(
            "\nIt is a workspace of its own inside that of {}.\n\
             If that one takes it for a member, write there: exclude = [\"{}\"]\n",
            manifest.display(),
            project.display()
        )
    });
    format!(
        "{name} is there{with}. Next:\n\
         \n\
         \x20 cd {name}\n\
         \x20 cargo test    # the first build takes a minute or two\n\
         \x20 cargo run     # http://127.0.0.1:8000, gRPC on 127.0.0.1:9000\n\
         \n\
         README.md says where things are, and how to go on.\n{outer}"
    )
}
