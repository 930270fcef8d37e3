//! Where an upstream's endpoints come from, and how they change.
//!
//! A [`Source`] is a static list, a file, SRV records or a service in etcd ([`etcd`]); what it names by a name follows that name's
//! addresses. [`Discovery`] asks, for all upstreams together; [`Endpoints`] is what one upstream
//! holds: the list of now, wait-free to read, and a way to wait for the next. Decisions:
//!
//! - *The last good answer stays, for ever.* No such name, no answer, a resolver in trouble, a file
//!   half written: each is a reason to ask again, sooner and sooner less often, and none to send the
//!   calls nowhere. Whether an endpoint still lives is for health checks to say.
//! - *Answers are added up* (`known.rs`). One that rotates or shows only a part changes nothing; what
//!   is really gone goes after three answers and a grace of 30 s. The price: after a move, the old
//!   address is tried for that long, as long as ejection lets it.
//! - *A TTL is advice between 5 and 60 s.* Below, DNS would be asked more often than it can change;
//!   above, a move would go unseen.
//! - *A name of a thousand addresses is a subset of 128* (`max_endpoints`): those of the lowest
//!   hash, so that it is always the same, and another on another machine.
//! - *Nothing churns.* A list is published where it differs from the last, sorted, so that the order
//!   of an answer means nothing.
//! - *Who is looked for makes itself known* by a [`Registry`], and is kept known.
//! - *What is pure is apart*: what answers add up to (`known`, `board`), when to ask again (`pace`)
//!   and what texts mean (`target`, `list`) know no clock and no socket.
//!
//! ```
//! use seawall::discovery::Discovery;
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//!
//! let discovery = Discovery::default();
//! let endpoints = discovery.start("localhost:8080".parse()?);
//! let list = endpoints.ready().await?;
//! assert_eq!(list[0].address.to_string(), "127.0.0.1:8080");
//! assert_eq!(list[0].host.as_deref(), Some("localhost"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! The feature `dns` (on by default) brings hickory-resolver, about 45 crates: programs that protect
//! a server and call nobody build without it. Static addresses, files of addresses, `localhost` and
//! the hosts file need it not; other names are then [`DnsError::NotBuilt`].

mod answer;
mod board;
#[cfg(feature = "dns")]
mod dns;
mod endpoint;
mod endpoints;
pub mod etcd;
mod filed;
mod hosts;
mod known;
mod list;
mod pace;
mod registry;
mod resolver;
mod search;
mod settings;
mod source;
mod target;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Tick;
use tokio::sync::watch;

pub use answer::{DnsError, RecordKind};
pub use endpoint::Endpoint;
pub use endpoints::{DiscoveryError, Endpoints, State};
pub use list::ListError;
pub use registry::{
    Address, AddressError, Instance, Registering, Registration, RegistrationState, Registry,
};
pub use settings::{Families, Settings};
pub use source::{Source, SourceError};
pub use target::{Host, Target, TargetError};

use board::{Board, Rules};
use endpoints::{Health, Shared};
use filed::Filed;
use resolver::{Lookup, Resolver};
use search::{Feed, FileFeed, Search};

/// Looks for endpoints, for any number of upstreams; cheap to clone.
///
/// Upstreams that name the same host share its answers and when it is asked again, so one of them
/// costs a thousand. Keep it across a reload: an upstream that is started anew while DNS fails then
/// begins with the last good answer.
#[derive(Clone)]
pub struct Discovery {
    resolver: Resolver,
    rules: Rules,
    file_interval: Duration,
    #[cfg(feature = "etcd")]
    etcd: etcd::Hub,
}

impl Default for Discovery {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Discovery {
    /// Reads and asks nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        #[cfg(feature = "dns")]
        let lookup = dns::Dns::new(&settings);
        #[cfg(not(feature = "dns"))]
        let lookup = resolver::NotBuilt;
        Self::with(&settings, Box::new(lookup))
    }

    fn with(settings: &Settings, lookup: Box<dyn Lookup>) -> Self {
        let resolver = Resolver::new(settings, lookup);
        Self {
            #[cfg(feature = "etcd")]
            etcd: etcd::Hub::new(settings.etcd.clone(), settings.grace, resolver.ticks()),
            resolver,
            rules: Rules {
                grace: settings.grace,
                most: settings.max_endpoints.max(1),
                subset: settings.subset,
            },
            file_interval: settings
                .file_interval
                .clamp(Duration::from_millis(10), Duration::from_secs(86_400)),
        }
    }

    /// Starts looking. Returns at once, with an empty list but for a static list of addresses, which
    /// is there at once and needs no task; [`Endpoints::ready`] waits for the first answers.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time, unless all is static.
    #[must_use]
    pub fn start(&self, source: Source) -> Endpoints {
        let mut board = Board::new(self.rules);
        let shown: Arc<str> = source.to_string().into();
        let due = Tick::ZERO;
        let feed = match source {
            Source::Static(targets) => {
                board.set_targets(targets);
                Feed::None
            }
            Source::File(path) => Feed::File(FileFeed {
                file: Filed::new(path),
                every: self.file_interval,
                due,
            }),
            Source::Srv(name) => Feed::Srv { name, due },
            #[cfg(feature = "etcd")]
            Source::Etcd(service) => Feed::Etcd(self.etcd.feed(&service)),
            #[cfg(not(feature = "etcd"))]
            Source::Etcd(_) => Feed::NotBuilt,
        };
        let ticks = self.resolver.ticks();
        let known = matches!(feed, Feed::None) && board.names().next().is_none();
        let list = if known { board.endpoints() } else { Vec::new() };
        let nothing = known && list.is_empty();
        let health = Health {
            errors: nothing
                .then_some(DiscoveryError::Empty)
                .into_iter()
                .collect(),
            failing_since: nothing.then(|| ticks.now()),
            answered: (known && !nothing).then(|| ticks.now()),
        };
        let shared = Arc::new(Shared::new(list, health.clone(), ticks));
        let (first, been) = watch::channel(known);
        if known {
            return Endpoints::new(shared, been, None);
        }
        let search = Search {
            board,
            feed,
            resolver: self.resolver.clone(),
            shared: shared.clone(),
            first,
            health,
            due: BTreeMap::new(),
            errors: BTreeMap::new(),
            source: shown,
        };
        let task = tokio::spawn(search.run());
        Endpoints::new(shared, been, Some(task.abort_handle()))
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
