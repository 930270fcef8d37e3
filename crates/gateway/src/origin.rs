//! One origin: where it is, the connections to it, and who may go there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::uri::Scheme;
use parking_lot::Mutex;
use seawall::admission::Admission;
use seawall::config::{Protocol, Upstream};
use seawall::signals::PeakGauge;

use crate::notice::Notices;
use crate::pool::Pool;
use crate::tls::Connector;

/// How long a resolved address is used before it is asked for again.
const RESOLVE_AFTER: Duration = Duration::from_secs(5);

/// An origin and everything that is kept for it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) name: String,
    protocol: Protocol,
    /// From the request to the response's headers.
    pub(crate) response_timeout: Duration,
    /// The longest pause in a response's body.
    pub(crate) body_timeout: Duration,
    /// A response of unknown length that lasts longer is a stream.
    pub(crate) stream_after: Duration,
    /// `host:port`, for requests that come without a host.
    pub(crate) authority: HeaderValue,
    pub(crate) scheme: Scheme,
    pub(crate) pool: Arc<Pool>,
    pub(crate) admission: Admission,
    /// How long calls wait in the queue, whatever comes of it.
    pub(crate) queueing: PeakGauge,
    pub(crate) notices: Notices,
}

impl Origin {
    pub(crate) fn new(
        name: &str,
        upstream: &Upstream,
        admission: Admission,
        cores: usize,
        tls: Option<Connector>,
    ) -> Arc<Self> {
        let authority = upstream
            .url
            .authority()
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        Arc::new(Self {
            name: name.to_owned(),
            protocol: upstream.protocol,
            response_timeout: upstream.response_timeout,
            body_timeout: upstream.body_timeout,
            stream_after: upstream.stream_after,
            authority: authority.unwrap_or_else(|| HeaderValue::from_static("localhost")),
            scheme: if tls.is_some() {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            pool: Pool::new(upstream, cores, tls),
            admission,
            queueing: crate::signals::delay(),
            notices: Notices::default(),
        })
    }

    /// Which protocol a request goes on in; `None` if that is still to be [learnt](Pool::learn).
    pub(crate) fn speaks_http2(&self, grpc: bool) -> Option<bool> {
        match self.protocol {
            Protocol::Auto if grpc => Some(true),
            Protocol::Auto => self.pool.offers_http2(),
            Protocol::H1 => Some(false),
            Protocol::H2 => Some(true),
        }
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
    pub(crate) fn of(upstream: &Upstream) -> Self {
        let port = upstream.port();
        let host = upstream
            .url
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']');
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
