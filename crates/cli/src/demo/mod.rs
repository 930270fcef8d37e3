//! `seawall demo`: what ten times the load does to a service, without Seawall and with it.
//!
//! The origin and the gateway are processes of their own, and the gateway is the very command a
//! user would type: what is shown is what they get, and the parts contend only for CPUs. The load
//! is a thread of this process, which otherwise only waits. Each run has a cold origin; arrivals
//! have the same seed in both, so both are offered the same requests at the same times.

mod child;
mod page;
mod picture;
mod progress;
mod report;
mod stage;
mod table;

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use seawall_gateway::StartError;
use seawall_sync::shutdown::Signals;

use crate::gateway;
use crate::{Failure, print};
use progress::Progress;
use report::Results;
use stage::{Schedule, Stage};
pub(crate) use table::count;

/// Watch ten times its load hit a service, without Seawall and with it.
///
/// Nothing has to be set up. An origin that can serve about 1,000 requests a second (20 at a time,
/// 20 ms each) is offered 0.5, then 10, then 0.5 times that, on loopback; then the same again with
/// the gateway in front. At the end a table compares the two, and a page shows them over time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  seawall demo                             under a minute, a table, and seawall-demo.html
  seawall demo --seconds 10                less of everything
  seawall demo --keep                      afterwards leave origin and gateway up, to try by hand
  seawall demo --json out.json --svg out.svg

How to read it:
  goodput    answers that came in full and in time (250 ms); what is of use to somebody
  recovery   from the end of the burst until 95 % of what is asked is answered again, for a whole
             second

Everything it starts ends with it; Ctrl-C ends it at any time.

Exit code: 0 when both runs are told, 1 when it cannot run, 2 for a wrong command line, 130 when
interrupted.")]
pub(crate) struct Args {
    /// Length of each of the two runs, 3 to 600 s: a fifth before the burst, two fifths in it.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(3..=600))]
    seconds: u16,
    /// Where to write the page.
    #[arg(long, value_name = "FILE", default_value = "seawall-demo.html")]
    html: PathBuf,
    /// Where to write all figures, for machines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write the picture alone.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Leave origin and gateway up at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Address the gateway accepts calls on [default: 127.0.0.1 and a free port].
    #[arg(long, value_name = "ADDR", value_parser = gateway::address)]
    listen: Option<SocketAddr>,
    /// Address of the gateway's metrics and explanations [default: 127.0.0.1 and a free port].
    #[arg(long, value_name = "ADDR", value_parser = gateway::address)]
    admin: Option<SocketAddr>,
    /// What this process is to be: the demo starts itself again.
    #[arg(long, hide = true)]
    role: Option<child::Role>,
    /// What the role needs to know.
    #[arg(hide = true, requires = "role")]
    role_args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(role) = args.role {
        return child::play(role, &args.role_args);
    }
    // Better now than after a minute.
    for file in [Some(&args.html), args.json.as_ref(), args.svg.as_ref()] {
        file.map_or(Ok(()), |file| writable(file))?;
    }
    bindable("the listener", args.listen)?;
    bindable("the admin listener", args.admin)?;
    seawall_bench::system::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let done = runtime.block_on(async {
        let mut signals = Signals::new()
            .map_err(|error| Failure::new(format!("cannot catch signals: {error}")))?;
        // Children end when what holds them is dropped, whichever side wins.
        let shown = Cell::new(false);
        tokio::select! {
            done = show(args, &shown) => done,
            // Left up, and now no longer wanted.
            _ = signals.next() => if shown.get() { Ok(()) } else {
                Err(Failure {
                    text: "interrupted; everything it had started has ended".into(),
                    code: 130,
                })
            },
        }
    });
    // The load's thread may still be at work, and need not finish.
    runtime.shutdown_background();
    done
}

async fn show(args: &Args, shown_all: &Cell<bool>) -> Result<(), Failure> {
    let progress = Progress::new();
    let capacity = stage::capacity().await?;
    let schedule = Schedule::new(capacity, f64::from(args.seconds));
    let mut bare = Stage::without().await?;
    let without = bare.run(&schedule, &progress).await?;
    drop(bare);
    let mut protected = Stage::with(args.listen, args.admin).await?;
    let with = protected.run(&schedule, &progress).await?;
    progress.finish();

    let results = Results::new(&schedule, without, with);
    let colour = std::io::stdout().is_terminal() && progress::colour();
    let mut told = format!("\n{}\n", table::table(&results, colour));
    write(&args.html, &page::page(&results))?;
    told += &format!("page: {}\n", shown(&args.html));
    if let Some(file) = &args.svg {
        write(file, &picture::standalone(&results))?;
        told += &format!("picture: {}\n", shown(file));
    }
    if let Some(file) = &args.json {
        write(file, &results.json())?;
        told += &format!("figures: {}\n", shown(file));
    }
    if args.keep {
        told += &protected.invitation();
    }
    print(&told)?;
    shown_all.set(true);
    if args.keep {
        protected.stay().await
    } else {
        Ok(())
    }
}

fn shown(file: &Path) -> String {
    let whole = std::fs::canonicalize(file);
    whole.as_deref().unwrap_or(file).display().to_string()
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| cannot_write(file, &error))
}

fn writable(file: &Path) -> Result<(), Failure> {
    let existed = file.exists();
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .map_err(|error| cannot_write(file, &error))?;
    if !existed {
        // It was ours, and is empty; a leftover would be the lesser evil.
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

fn bindable(what: &str, address: Option<SocketAddr>) -> Result<(), Failure> {
    let Some(address) = address else {
        return Ok(());
    };
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(gateway::remedy(&StartError::Bind {
            address,
            what: what.into(),
            error,
        }))),
    }
}

fn cannot_write(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!(
        "cannot write {}: {error}; name another file with --html, --json or --svg",
        file.display()
    ))
}
