//! The signals that ask a program to end.

use std::io;

/// SIGTERM, SIGINT, and SIGHUP (a terminal that closes is no reason to cut calls); elsewhere than
/// on Unix, Ctrl-C. Caught from the moment this is made, so make it before anything listens.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    kinds: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// The system does not let us.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                kinds: [
                    signal(SignalKind::terminate())?,
                    signal(SignalKind::interrupt())?,
                    signal(SignalKind::hangup())?,
                ],
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        {
            let [terminate, interrupt, hangup] = &mut self.kinds;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
