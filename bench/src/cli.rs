//! The command line.

use std::io::Write as _;

use clap::{Parser, Subcommand};
use seawall_bench::bare::{self, BareArgs};
use seawall_bench::compare::{self, ClientArgs, CompareArgs, OverloadArgs, WorkerArgs};
use seawall_bench::load::{self, LoadArgs};
use seawall_bench::origin::{Config, Origin};
use seawall_bench::system;

/// Open-loop load, a limited origin, and Seawall side by side with its peers.
#[derive(Debug, Parser)]
#[command(name = "seawall-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves HTTP with a known, limited capacity; prints its address as the first line.
    Origin(Config),
    /// Offers load at a stated rate, whatever the server does, and reports what came of it.
    Load(LoadArgs),
    /// Compares goodput and what it costs under overload, with a limited origin.
    Overload(OverloadArgs),
    /// Compares what passing a request on costs when nothing is wrong.
    Proxy(CompareArgs),
    /// Measures what a decision costs by itself.
    Policy(CompareArgs),
    /// Measures what the caller's half costs: breaker, balance, retry budget, and the gateway with them.
    Client(ClientArgs),
    /// Compares what callers see of hosts that die, hang, slow down or fail, and of reloads.
    Faults(CompareArgs),
    /// Compares what a service's middleware costs with bare tonic and bare axum.
    Kit(CompareArgs),
    /// Measures what customers see of a shop of several services under overload and restarts.
    Shop(CompareArgs),
    /// Measures what reaches the database when the cache in front of it misbehaves, and what a hit costs.
    Cache(CompareArgs),
    /// One of the processes of `cache`'s stampede.
    #[command(hide = true)]
    CacheWorker(WorkerArgs),
    /// Measures the concurrency kit beside other libraries, in process.
    Sync(CompareArgs),
    /// Runs the least proxy hyper can make, the reference of `proxy`.
    Bare(BareArgs),
}

pub(crate) fn run() -> anyhow::Result<()> {
    let cli = Cli::parse();
    system::raise_descriptor_limit();
    match cli.command {
        Command::Origin(config) => {
            let origin = Origin::start(config)?;
            let mut out = std::io::stdout();
            writeln!(out, "{}", origin.address())?;
            out.flush()?;
            Ok(origin.wait()?)
        }
        Command::Overload(args) => compare::overload(&args),
        Command::Proxy(args) => compare::proxy(&args),
        Command::Policy(args) => compare::policy(&args),
        Command::Client(args) => compare::client(&args),
        Command::Faults(args) => compare::faults(&args),
        Command::Kit(args) => compare::kit(&args),
        Command::Shop(args) => compare::shop(&args),
        Command::Cache(args) => compare::cache(&args),
        Command::CacheWorker(args) => compare::cache_worker(&args),
        Command::Sync(args) => compare::sync(&args),
        Command::Bare(args) => Ok(bare::serve(&args)?),
        Command::Load(args) => {
            let report = load::run(&args.plan()?)?;
            let mut out = std::io::stdout().lock();
            if args.json {
                writeln!(out, "{:#}", report.json())?;
            } else {
                write!(out, "{report}")?;
            }
            Ok(())
        }
    }
}
