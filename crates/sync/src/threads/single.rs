//! A thread that runs one future.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{Builder, JoinHandle};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::cpus::{self, Reservation};
use super::{Cpus, ThreadsError, check_name};
use crate::AmbientExt as _;

/// A thread with a current-thread runtime of its own, which runs one future and what that spawns:
/// one per core is a server that has nothing to steal and shares no worker.
///
/// Dropped, it cancels its future at its next await, and waits for nothing; [`join`](Self::join)
/// waits for its end instead.
///
/// ```
/// use seawall_sync::threads::{Cpus, Single};
///
/// let (send, receive) = std::sync::mpsc::channel();
/// let work = async move { send.send(7).unwrap() };
/// let core = Single::start("core-0", Cpus::Shared, work, || {})?;
/// assert_eq!(receive.recv(), Ok(7));
/// core.join().unwrap();
/// # Ok::<(), seawall_sync::threads::ThreadsError>(())
/// ```
pub struct Single {
    thread: JoinHandle<()>,
    end: DropGuard,
}

impl Single {
    /// Starts the thread, with tokio's timers and, where the program enables it, its I/O. Ambient
    /// values of the caller follow.
    ///
    /// `idle` is called on the thread each time before it sleeps because nothing is left to do: for
    /// what may be put off until then. It must not block.
    ///
    /// # Errors
    ///
    /// [`ThreadsError`] when a CPU cannot be reserved or the thread not started.
    #[track_caller]
    pub fn start(
        name: impl Into<String>,
        cpus: Cpus,
        work: impl Future<Output = ()> + Send + 'static,
        idle: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, ThreadsError> {
        let name = check_name(name.into())?;
        let reservation = match cpus {
            Cpus::Shared => None,
            Cpus::Exclusive => Some(Reservation::new(1)?),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(idle)
            .build()
            .map_err(ThreadsError::Start)?;
        let end = CancellationToken::new();
        let work = end
            .clone()
            .run_until_cancelled_owned(work.in_current_call());
        let run = move || {
            let _cpus = Confined::new(reservation);
            // Dropped first, so that what was spawned ends before the CPU is given back.
            let runtime = runtime;
            runtime.block_on(work);
        };
        let thread = Builder::new().name(name).spawn(run);
        Ok(Self {
            thread: thread.map_err(ThreadsError::Start)?,
            end: end.drop_guard(),
        })
    }

    /// Waits until the future has ended, and the thread with it. Blocks the calling thread: not for
    /// async code.
    ///
    /// # Errors
    ///
    /// The payload of its panic.
    pub fn join(self) -> std::thread::Result<()> {
        let Self { thread, end } = self;
        let joined = thread.join();
        drop(end);
        joined
    }
}

impl fmt::Debug for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single")
            .field("name", &self.thread.thread().name())
            .finish_non_exhaustive()
    }
}

/// Keeps the calling thread where it may run, until its end.
struct Confined(Option<Reservation>);

impl Confined {
    fn new(reservation: Option<Reservation>) -> Self {
        match &reservation {
            // Refused only where what the process may use has changed; it runs all the same.
            Some(own) => drop(own.confine()),
            None => cpus::share(&Arc::new(AtomicUsize::new(0))),
        }
        Self(reservation)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if self.0.is_none() {
            cpus::leave();
        }
    }
}
