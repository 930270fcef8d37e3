//! The gateways with a cache, each keeping everything for ten minutes.

use std::net::SocketAddr;

use anyhow::bail;
use seawall_testkit::{Recipe, Server, free_port};

use super::{Peer, Running, WORKERS, seawall_binary};

/// Starts `peer` with its cache on, and waits until it accepts connections.
///
/// # Errors
/// Says what is missing and how to install it, or shows what it wrote.
pub fn start_cached(peer: Peer, upstream: SocketAddr) -> anyhow::Result<Running> {
    let recipe = match peer {
        Peer::Seawall => {
            let admin = format!("127.0.0.1:{}", free_port()?);
            Recipe::command(seawall_binary()?, "build it with: cargo xtask bench")
                .file(
                    "seawall.toml",
                    include_str!("../../peers/seawall-cache.toml"),
                )
                .arguments(&["gateway", "--admin", &admin])
                .arguments(&["--config", "@dir@/seawall.toml"])
        }
        Peer::Nginx => Recipe::nginx(include_str!("../../peers/nginx-cache.conf")),
        other => bail!("{} has no configuration with a cache", other.name()),
    };
    let recipe = recipe.set("upstream", upstream).set("workers", WORKERS);
    let server = Server::start(&recipe)?;
    Ok(Running {
        address: server.address(),
        server: Some(server),
        admin: None,
    })
}
