//! One origin: where it is and the pool of connections to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;

use crate::pool::Pool;

/// How long a resolved address is used before it is asked for again.
const RESOLVE_AFTER: Duration = Duration::from_secs(5);

/// The protocol spoken with an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, but HTTP/2 with prior knowledge for gRPC.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// What an operator says of an origin.
#[derive(Clone, Debug)]
pub(crate) struct OriginSettings {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// Connections over all cores.
    pub(crate) max_connections: usize,
    /// How long a connection is kept without a request.
    pub(crate) idle: Duration,
    pub(crate) connect: Duration,
    /// From the request's last byte to the response's headers.
    pub(crate) response_head: Duration,
    /// The longest pause in a response's body.
    pub(crate) response_body_idle: Duration,
}

/// An origin and everything that is kept for it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) settings: OriginSettings,
    /// `host:port`, for requests that come without a host.
    pub(crate) authority: HeaderValue,
    pub(crate) pool: Arc<Pool>,
}

impl Origin {
    pub(crate) fn new(settings: OriginSettings, cores: usize) -> Arc<Self> {
        let host = &settings.host;
        let authority = if host.contains(':') {
            format!("[{host}]:{}", settings.port)
        } else {
            format!("{host}:{}", settings.port)
        };
        let authority = HeaderValue::try_from(authority)
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let pool = Pool::new(&settings, cores);
        Arc::new(Self {
            settings,
            authority,
            pool,
        })
    }
}

/// A host and port, resolved as seldom as possible; the last good answer outlives a failing one.
#[derive(Debug)]
pub(crate) struct Address {
    host: String,
    port: u16,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    /// `None`: for ever.
    until: Option<Instant>,
}

impl Address {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let known = match host.parse() {
            Ok(ip) => Known {
                addresses: [SocketAddr::new(ip, port)].into(),
                until: None,
            },
            Err(_) => Known {
                addresses: Arc::default(),
                until: Some(Instant::now()),
            },
        };
        Self {
            host: host.to_owned(),
            port,
            known: Mutex::new(known),
        }
    }

    /// The addresses to try, in order.
    pub(crate) async fn resolve(&self) -> io::Result<Arc<[SocketAddr]>> {
        {
            let mut known = self.known.lock();
            match &mut known.until {
                Some(until) if *until <= Instant::now() => {
                    // One asks; the others use what there is meanwhile.
                    if !known.addresses.is_empty() {
                        known.until = Some(Instant::now() + RESOLVE_AFTER);
                    }
                }
                _ => return Ok(known.addresses.clone()),
            }
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let mut known = self.known.lock();
        match found.map(Iterator::collect::<Arc<[SocketAddr]>>) {
            Ok(found) if !found.is_empty() => {
                *known = Known {
                    addresses: found.clone(),
                    until: Some(Instant::now() + RESOLVE_AFTER),
                };
                Ok(found)
            }
            _ if !known.addresses.is_empty() => Ok(known.addresses.clone()),
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            )),
            Err(error) => Err(error),
        }
    }
}
