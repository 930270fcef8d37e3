//! The signals that ask a program to end.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

/// What comes this soon after a signal belongs to it: systemd's `SendSIGHUP=yes` sends SIGHUP right
/// after SIGTERM, and a terminal that closes may send both.
const ECHO: Duration = Duration::from_millis(500);

/// A signal that asks a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// SIGHUP.
    Hangup,
}

/// Where signals come from: the system, or who stands for it.
pub(super) trait Source: Send {
    /// The next one; waits for ever where there is none any more. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Signal> + Send;
}

impl Source for Signals {
    fn next(&mut self) -> impl Future<Output = Signal> + Send {
        Self::next(self)
    }
}

impl Source for UnboundedReceiver<Signal> {
    async fn next(&mut self) -> Signal {
        match self.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Tells a signal that asks anew from one that belongs to what was asked already.
pub(super) struct Asking<S> {
    next: S,
    asked: Option<Instant>,
}

impl<S: Source> Asking<S> {
    pub(super) fn new(next: S) -> Self {
        Self { next, asked: None }
    }

    /// Whether there was one yet.
    pub(super) fn have_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The first signal; after that, one that says that somebody will not wait. A hangup does not.
    /// Cancel-safe as far as the source is.
    pub(super) async fn next(&mut self) {
        loop {
            let signal = self.next.next().await;
            let now = Instant::now();
            let anew = |asked| signal != Signal::Hangup && now.duration_since(asked) >= ECHO;
            if self.asked.is_none_or(anew) {
                self.asked = Some(now);
                return;
            }
        }
    }
}

/// SIGTERM, SIGINT, and SIGHUP (a terminal that closes is no reason to cut calls); elsewhere than
/// on Unix, Ctrl-C. Caught from the moment this is made, so make it before anything listens.
///
/// On Linux a signal that the process was started to ignore stays ignored, as with `nohup`.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    kinds: Vec<(Signal, tokio::signal::unix::Signal)>,
    #[cfg(not(unix))]
    interrupt: bool,
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
        Self::only(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup])
    }

    /// Begins to catch these alone; the others stay as they are. For a program to which one
    /// of them means something else than its end, as SIGHUP does to one that reads its configuration
    /// anew: see [`Shutdown::leave_hangup`](super::Shutdown::leave_hangup). Elsewhere than on Unix
    /// there is Ctrl-C, and `wanted` without [`Signal::Interrupt`] waits for ever.
    ///
    /// # Errors
    /// The system does not let us.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn only(wanted: &[Signal]) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let ignored = ignored();
            let kinds = [
                (Signal::Terminate, SignalKind::terminate()),
                (Signal::Interrupt, SignalKind::interrupt()),
                (Signal::Hangup, SignalKind::hangup()),
            ];
            let heeded = kinds
                .into_iter()
                .filter(|(which, _)| wanted.contains(which))
                .filter(|(_, kind)| ignored & (1 << (kind.as_raw_value() - 1)) == 0)
                .map(|(which, kind)| Ok((which, signal(kind)?)));
            Ok(Self {
                kinds: heeded.collect::<io::Result<_>>()?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {
            interrupt: wanted.contains(&Signal::Interrupt),
        })
    }

    /// The next one; of several that have come, the first in the order of [`Signal`] stands for all.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        return std::future::poll_fn(|cx| {
            let mut came = None;
            // Each is polled, so that each wakes.
            for (which, signal) in &mut self.kinds {
                if signal.poll_recv(cx).is_ready() {
                    came.get_or_insert(*which);
                }
            }
            came.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await;
        #[cfg(not(unix))]
        {
            if !self.interrupt || tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Signal::Interrupt
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
