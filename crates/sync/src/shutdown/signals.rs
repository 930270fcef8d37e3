//! The signals that ask a program to end.

use std::io;

/// SIGTERM, SIGINT, and SIGHUP (a terminal that closes is no reason to cut calls); elsewhere than
/// on Unix, Ctrl-C. Caught from the moment this is made, so make it before anything listens.
///
/// On Linux a signal that the process was started to ignore stays ignored, as with `nohup`.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    kinds: Vec<tokio::signal::unix::Signal>,
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
            let ignored = ignored();
            let kinds = [
                SignalKind::terminate(),
                SignalKind::interrupt(),
                SignalKind::hangup(),
            ];
            let heeded = kinds
                .into_iter()
                .filter(|kind| ignored & (1 << (kind.as_raw_value() - 1)) == 0);
            Ok(Self {
                kinds: heeded.map(signal).collect::<Result<_, _>>()?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        std::future::poll_fn(|cx| {
            // Each is polled, so that each wakes.
            let came = self.kinds.iter_mut().map(|kind| kind.poll_recv(cx));
            match came.filter(std::task::Poll::is_ready).count() {
                0 => std::task::Poll::Pending,
                _ => std::task::Poll::Ready(()),
            }
        })
        .await;
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The signals that this process ignores, a bit each from 1. Those that this process catches by now
/// are not among them, so a second [`Signals`] heeds what the first does.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
