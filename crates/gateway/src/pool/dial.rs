//! Dialling, and what can go wrong with it.

use std::io;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Pool;
use crate::tls::{Offer, TlsFailure};

/// Why there is no connection to the origin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name does not resolve.
    #[error("cannot resolve the origin's name: {0}")]
    Resolve(io::Error),
    /// Refused, unreachable, out of descriptors.
    #[error("cannot connect to the origin: {0}")]
    Connect(io::Error),
    /// No answer to the connection attempt, or to the TLS handshake, within the limit.
    #[error("the origin did not accept a connection within `connect_timeout`, TLS included")]
    Slow,
    /// Every connection was in use for as long as one may wait.
    #[error("all connections to the origin stayed in use; see `max_connections`")]
    Exhausted,
    /// The certificate, or another part of TLS.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// HTTP/2 could not be agreed on.
    #[error("the origin does not speak HTTP/2: {0}")]
    Handshake(hyper::Error),
}

/// A connection on which nothing has been said.
#[derive(Debug)]
pub(crate) enum Dialled {
    Plain(TcpStream),
    /// With whether ALPN chose HTTP/2.
    Tls(Box<TlsStream<TcpStream>>, bool),
}

impl Pool {
    /// Opens a connection, TLS included, within the connect limit.
    pub(crate) async fn dial(&self, offer: Offer) -> Result<Dialled, DialError> {
        let tls = self.tls.lock().clone();
        let attempt = async {
            let stream = self.dial_plain().await?;
            let Some(tls) = &tls else {
                return Ok(Dialled::Plain(stream));
            };
            // A handshake's state is some kilobytes.
            let (stream, http2) = Box::pin(tls.connect(stream, offer)).await?;
            Ok(Dialled::Tls(Box::new(stream), http2))
        };
        tokio::time::timeout(self.connect(), attempt)
            .await
            .unwrap_or(Err(DialError::Slow))
    }

    async fn dial_plain(&self) -> Result<TcpStream, DialError> {
        let addresses = self.address.resolve().await.map_err(DialError::Resolve)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in addresses.iter() {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Worth trying on without it.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(DialError::Connect(last))
    }
}
