//! `seawall proto`: definitions, and what answers them.
//!
//! A definition is written once and then belongs to its author, and so does the code that answers
//! it. So nothing is overwritten and nothing made here has to be made again: what follows from a
//! definition by rule is made by the build, and what does not is written by hand, from a first draft.

mod add;
mod draft;
mod place;
mod server;

use std::path::PathBuf;

use clap::Subcommand;

use crate::{Failure, print};

/// Add definitions to a project, and begin to answer them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, in a project made by `seawall new`:
  seawall proto add api/proto/shop/v1/orders.proto       a definition to begin with
  seawall proto server api/proto/shop/v1/orders.proto    a service that has yet to answer it

Nothing is ever overwritten. Exit code: 0 when it is done, 1 when it is not, 2 for a wrong command
line.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Proto,
}

#[derive(Debug, Subcommand)]
enum Proto {
    /// Write a definition to begin with: a service, its messages, routes, rules and errors.
    ///
    /// The path says what is in it: `api/proto/shop/v1/orders.proto` is the service `Orders` of the
    /// package `shop.v1`. The next build compiles it; there is nothing to register.
    Add {
        /// The file to write, below a directory `proto` of a crate: api/proto/shop/v1/orders.proto
        path: PathBuf,
    },
    /// Write a service that answers a definition: every method, each with UNIMPLEMENTED at first.
    ///
    /// Goes to src/service/. Where that file is already there it stays as it is, and what is told is
    /// which methods of the definition it does not have yet, ready to be copied.
    Server {
        /// The definition: api/proto/shop/v1/orders.proto
        path: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let told = match &args.command {
        Proto::Add { path } => add::run(path),
        Proto::Server { path } => server::run(path),
    };
    print(&told.map_err(Failure::new)?)
}
