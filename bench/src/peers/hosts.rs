//! The peers before a service of several hosts, each told of them as its documentation advises.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use seawall_testkit::{Recipe, Server, free_port};

use super::{Peer, Running, WORKERS, envoy, seawall_binary};

/// The gateway with a time limit for each attempt, which it does not have unless told.
pub const PER_TRY: Peer = Peer::Library("seawall-per-try");

/// What a proxy is told of a service of several hosts.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where they listen; at least one.
    pub hosts: Vec<SocketAddr>,
    /// How long callers wait.
    pub patience: Duration,
}

impl Service {
    /// Starts `peer` before them and waits until it accepts connections.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or shows what it wrote.
    pub fn start(&self, peer: Peer) -> anyhow::Result<Running> {
        let (recipe, admin) = match peer {
            Peer::Seawall | PER_TRY => {
                let config = include_str!("../../peers/seawall-hosts.toml");
                let config = match peer {
                    PER_TRY => &config.replace("# @note@", "retry.per_try_timeout = \"250ms\""),
                    _ => config,
                };
                let (recipe, admin) = gateway(&seawall_binary()?, config)?;
                (recipe, Some(admin))
            }
            Peer::Nginx => {
                let config = include_str!("../../peers/nginx-hosts.conf");
                (Recipe::nginx(config), None)
            }
            Peer::Envoy => {
                let config = include_str!("../../peers/envoy-hosts.yaml");
                let recipe = Recipe::envoy(envoy::install()?, config, WORKERS);
                (recipe, None)
            }
            other => bail!("{} has no configuration for several hosts", other.name()),
        };
        let recipe = recipe
            .set("hosts", self.lines(peer))
            .set("first", self.hosts.first().context("no hosts")?)
            .set("patience", self.patience.as_millis())
            .set("seconds", self.patience.as_secs_f64())
            .set("workers", WORKERS);
        start(peer.name(), &recipe, admin)
    }

    /// The list of hosts as the peer writes it.
    fn lines(&self, peer: Peer) -> String {
        let mut lines = String::new();
        for host in &self.hosts {
            let (ip, port) = (host.ip(), host.port());
            // Writing to a string cannot fail.
            let _ = match peer {
                Peer::Nginx => writeln!(lines, "        server {host};"),
                Peer::Envoy => writeln!(
                    lines,
                    "        - endpoint: {{address: {{socket_address: \
                     {{address: {ip}, port_value: {port}}}}}}}"
                ),
                _ => write!(lines, "\"{host}\", "),
            };
        }
        lines
    }
}

/// The gateway of this binary with this configuration, which listens on `@port@`.
///
/// # Errors
/// Shows what it wrote.
pub fn start_gateway(binary: &Path, config: &str) -> anyhow::Result<Running> {
    let name = binary.display().to_string();
    // It is started in a directory of its own.
    let binary = binary.canonicalize().with_context(|| name.clone())?;
    let (recipe, admin) = gateway(&binary, config)?;
    start(&name, &recipe, Some(admin))
}

fn gateway(binary: &Path, config: &str) -> anyhow::Result<(Recipe, SocketAddr)> {
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let recipe = Recipe::command(binary, "build it with: cargo xtask bench")
        .file("seawall.toml", config)
        .arguments(&["gateway", "--config", "@dir@/seawall.toml"])
        .arguments(&["--admin", &admin.to_string()]);
    Ok((recipe, admin))
}

fn start(name: &str, recipe: &Recipe, admin: Option<SocketAddr>) -> anyhow::Result<Running> {
    let server = Server::start(recipe).with_context(|| format!("{name} cannot start"))?;
    Ok(Running {
        address: server.address(),
        server: Some(server),
        admin,
    })
}
