//! Dialling, and what can go wrong with it.

use std::io;

use tokio::net::TcpStream;

use super::Pool;

/// Why there is no connection to the origin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name does not resolve.
    #[error("cannot resolve the origin's name: {0}")]
    Resolve(io::Error),
    /// Refused, unreachable, out of descriptors.
    #[error("cannot connect to the origin: {0}")]
    Connect(io::Error),
    /// No answer to the connection attempt within the limit.
    #[error("the origin did not accept a connection within `connect_timeout`")]
    Slow,
    /// Every connection was in use for as long as one may wait.
    #[error("all connections to the origin stayed in use; see `max_connections`")]
    Exhausted,
    /// HTTP/2 could not be agreed on.
    #[error("the origin does not speak HTTP/2: {0}")]
    Handshake(hyper::Error),
}

impl Pool {
    pub(crate) async fn dial(&self) -> Result<TcpStream, DialError> {
        let attempt = async {
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
        };
        tokio::time::timeout(self.connect(), attempt)
            .await
            .unwrap_or(Err(DialError::Slow))
    }
}
