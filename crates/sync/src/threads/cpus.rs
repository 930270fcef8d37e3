//! Which lane may run on which CPUs.
//!
//! A reservation keeps the threads of all other lanes off its CPUs, whether they started before or
//! after: the threads of sharing lanes are known here, and moved whenever what is free changes.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::ThreadsError;

struct Registry {
    /// What the process may use, as far as reservations have had to ask.
    allowed: Option<Vec<usize>>,
    reserved: BTreeSet<usize>,
    sharing: Vec<(system::Thread, Arc<AtomicUsize>)>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    allowed: None,
    reserved: BTreeSet::new(),
    sharing: Vec::new(),
});

impl Registry {
    fn free(&self) -> Vec<usize> {
        let allowed = self.allowed.iter().flatten().copied();
        allowed.filter(|cpu| !self.reserved.contains(cpu)).collect()
    }

    fn move_sharing(&self) {
        let free = self.free();
        for (thread, strays) in &self.sharing {
            if system::confine(thread, &free).is_err() {
                strays.fetch_add(1, Relaxed);
            }
        }
    }
}

/// CPUs that one lane has to itself; given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation(Vec<usize>);

impl Reservation {
    /// The highest free CPUs, of which one at least is left to the others.
    pub(super) fn new(wanted: usize) -> Result<Self, ThreadsError> {
        let mut registry = REGISTRY.lock();
        if registry.allowed.is_none() {
            registry.allowed = Some(system::allowed().map_err(ThreadsError::Affinity)?);
        }
        let free = registry.free();
        if wanted >= free.len() {
            return Err(ThreadsError::TooFewCpus {
                wanted,
                free: free.len(),
            });
        }
        // Interrupts and other programs tend to be on the first.
        let cpus = free[free.len() - wanted..].to_vec();
        registry.reserved.extend(&cpus);
        registry.move_sharing();
        Ok(Self(cpus))
    }

    pub(super) fn cpus(&self) -> &[usize] {
        &self.0
    }

    /// Confines the calling thread to these CPUs.
    pub(super) fn confine(&self) -> io::Result<()> {
        system::confine(&system::current(), &self.0)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        self.0.iter().for_each(|cpu| {
            registry.reserved.remove(cpu);
        });
        registry.move_sharing();
    }
}

/// The calling thread shares what is not reserved. Counts in `strays` when it cannot be moved.
pub(super) fn share(strays: &Arc<AtomicUsize>) {
    let mut registry = REGISTRY.lock();
    let thread = system::current();
    // Nothing to keep off until something has been reserved.
    if registry.allowed.is_some() && system::confine(&thread, &registry.free()).is_err() {
        strays.fetch_add(1, Relaxed);
    }
    registry.sharing.push((thread, Arc::clone(strays)));
}

/// The calling thread ends.
pub(super) fn leave() {
    let current = system::current();
    let mut registry = REGISTRY.lock();
    registry.sharing.retain(|(thread, _)| *thread != current);
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::process::{Pid, getpid};
    use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

    pub(super) type Thread = Pid;

    pub(super) fn current() -> Thread {
        gettid()
    }

    /// What the main thread may use: the caller may itself be confined to a lane.
    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        let set = sched_getaffinity(Some(getpid()))?;
        Ok((0..CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect())
    }

    pub(super) fn confine(thread: &Thread, cpus: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(*cpu));
        Ok(sched_setaffinity(Some(*thread), &set)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::thread::{self, ThreadId};

    pub(super) type Thread = ThreadId;

    pub(super) fn current() -> Thread {
        thread::current().id()
    }

    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn confine(_: &Thread, _: &[usize]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
