//! One listener, as its connections see it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seawall::config::{Listener, Network};
use seawall::context::Trust;
use seawall::sync::Snapshot;
use seawall_policy::Tick;

use crate::notice::Notice;
use crate::tls::Acceptor;

/// What holds for every connection of one listener.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: Arc<str>,
    pub(crate) trust: Trust,
    trusted_proxies: Vec<Network>,
    /// A request's line and headers, in bytes; more is answered with 431.
    pub(crate) max_header_bytes: usize,
    /// Headers a request may have; more are answered with 431.
    pub(crate) max_headers: usize,
    /// A request's headers must be complete this long after their first byte.
    pub(crate) header_timeout: Duration,
    /// The longest pause in a request's body.
    pub(crate) body_timeout: Duration,
    /// The longest that the client may leave unread what it was given.
    pub(crate) write_timeout: Duration,
    /// Bytes a second that a client must move, either way, while we wait for it; 0: any.
    pub(crate) min_rate: u64,
    /// How long a connection may be without a request.
    pub(crate) idle_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_concurrent_streams: u32,
    /// `None`: in the clear.
    pub(crate) tls: Option<Acceptor>,
    count: Arc<Count>,
}

/// What goes on through a reload.
#[derive(Debug, Default)]
struct Count {
    open: AtomicUsize,
    full: Notice,
}

/// A listener that accepts. What holds for new connections may change; those that are open keep
/// what held when they came.
#[derive(Debug)]
pub(crate) struct Listening {
    /// As configured: a port 0 stays 0. It is what a listener is known by; its name may change.
    pub(crate) address: SocketAddr,
    pub(crate) site: Snapshot<Site>,
}

impl Listening {
    pub(crate) fn new(name: &str, listener: &Listener, tls: Option<Acceptor>) -> Arc<Self> {
        Arc::new(Self {
            address: listener.address,
            site: Snapshot::new(Site::new(name, listener, tls)),
        })
    }

    /// What holds for a connection that is accepted now.
    pub(crate) fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    pub(crate) fn change(&self, name: &str, listener: &Listener, tls: Option<Acceptor>) {
        self.site.update(|site| site.again(name, listener, tls));
    }

    pub(crate) fn name(&self) -> Arc<str> {
        self.site.load().name.clone()
    }

    /// Whether it is where a listener of this name is to be.
    pub(crate) fn is_at(&self, name: &str, address: SocketAddr) -> bool {
        // A free port is another each time.
        self.address == address && (address.port() != 0 || *self.name() == *name)
    }
}

impl Site {
    pub(crate) fn new(name: &str, listener: &Listener, tls: Option<Acceptor>) -> Self {
        Self {
            name: name.into(),
            trust: listener.trust,
            trusted_proxies: listener.trusted_proxies.clone(),
            max_header_bytes: usize::try_from(listener.max_header_bytes).unwrap_or(usize::MAX),
            max_headers: listener.max_headers as usize,
            header_timeout: listener.header_timeout,
            body_timeout: listener.body_timeout,
            write_timeout: listener.write_timeout,
            min_rate: listener.min_rate,
            idle_timeout: listener.idle_timeout,
            max_connections: listener.max_connections as usize,
            max_concurrent_streams: listener.max_concurrent_streams,
            tls,
            count: Arc::default(),
        }
    }

    /// The same listener under other settings.
    fn again(&self, name: &str, listener: &Listener, tls: Option<Acceptor>) -> Self {
        Self {
            count: self.count.clone(),
            ..Self::new(name, listener, tls)
        }
    }

    /// Whether what this address says of those before it is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(address))
    }

    /// It has all the connections it may.
    #[cold]
    pub(crate) fn tell_full(&self, now: Tick) {
        if self.count.full.due(now).is_some() {
            let (listener, max_connections) = (&*self.name, self.max_connections);
            tracing::warn!(
                listener,
                max_connections,
                "every connection that may be is open; others wait to be accepted"
            );
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.count.open.load(Ordering::Acquire)
    }

    pub(crate) fn opened(&self) {
        self.count.open.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn closed(&self) {
        self.count.open.fetch_sub(1, Ordering::AcqRel);
    }
}
