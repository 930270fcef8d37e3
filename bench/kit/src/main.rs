//! `examples/echo` by gRPC or by JSON over HTTP: its generated service with all of a service's
//! middleware, or the same answer by bare tonic and bare axum.
//!
//! Not part of `seawall-bench`, which the `seawall` command is built with: a gateway has no use for
//! tonic and axum.

mod echo;

use std::net::SocketAddr;

use ::echo::v1;
use axum::routing::get;
use clap::{Parser, ValueEnum};
use seawall::layer::{Methods, Stack};
use seawall::telemetry::{Log, LogSettings};
use tonic::transport::Server;

/// Serves until it is ended.
#[derive(Debug, Parser)]
struct Args {
    /// Where.
    #[arg(long)]
    listen: SocketAddr,
    /// What.
    #[arg(long, value_enum)]
    server: Kind,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// tonic as it is.
    Tonic,
    /// The generated service below the stack, by tonic.
    TonicStack,
    /// axum as it is.
    Axum,
    /// The generated service below the stack, by axum.
    AxumStack,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.workers)
        .enable_all()
        .build()?;
    runtime.block_on(serve(&args))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    // Every default, and a log that somebody reads.
    let (log, _guard) = Log::start(std::io::sink(), LogSettings::default())?;
    let stack = || -> anyhow::Result<Stack> {
        let builder = Stack::builder(Methods::new(v1::echo::METHODS)?);
        Ok(builder.log(log.clone()).build()?)
    };
    let router = axum::Router::new().route("/v1/say/{text}", get(echo::say));
    let service = v1::echo::service(::echo::Echo);
    match args.server {
        Kind::Tonic => {
            let server = Server::builder().add_service(echo::Echo);
            Ok(server.serve(args.listen).await?)
        }
        Kind::TonicStack => {
            let routes = service.grpc;
            let server = Server::builder().layer(stack()?).add_routes(routes);
            Ok(server.serve(args.listen).await?)
        }
        Kind::Axum => {
            let listener = tokio::net::TcpListener::bind(args.listen).await?;
            Ok(axum::serve(listener, router).await?)
        }
        Kind::AxumStack => {
            let listener = tokio::net::TcpListener::bind(args.listen).await?;
            let router = service.http.into_router().layer(stack()?);
            Ok(axum::serve(listener, router).await?)
        }
    }
}
