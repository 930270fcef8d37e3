//! An address, resolved where it is a name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall::config::Upstream;

/// How long a resolved address is used before it is asked for again.
const RESOLVE_AFTER: Duration = Duration::from_secs(5);

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

    /// One that needs no resolving.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            known: Mutex::new(Known {
                addresses: [address].into(),
                until: None,
            }),
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
