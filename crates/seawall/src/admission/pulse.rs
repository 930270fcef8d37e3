//! The thread that moves a gate along when no call does.
//!
//! A thread rather than a task: the gate must end waits in time whichever runtime the callers
//! are on, and most of all when that runtime is busy. It sleeps while nobody waits.

use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::Thread;
use std::time::Duration;

use super::Inner;

/// How long the thread sleeps at most, so that it notices when its gate is gone.
const IDLE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pulse {
    thread: Option<Thread>,
    asleep: Arc<AtomicBool>,
}

impl Pulse {
    pub(super) fn none() -> Self {
        Self {
            thread: None,
            asleep: Arc::default(),
        }
    }

    pub(super) fn start(inner: Weak<Inner>) -> Self {
        let asleep = Arc::new(AtomicBool::new(true));
        let flag = asleep.clone();
        let thread = std::thread::Builder::new()
            .name("seawall-pulse".to_owned())
            .spawn(move || beat(&inner, &flag));
        // Without the thread waits still end when calls come and go; only their time limit is
        // kept less exactly.
        Self {
            thread: thread.ok().map(|handle| handle.thread().clone()),
            asleep,
        }
    }

    /// Wakes the thread if it sleeps. One load otherwise.
    pub(super) fn rouse(&self) {
        if self.asleep.load(SeqCst)
            && self.asleep.swap(false, SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.unpark();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

fn beat(inner: &Weak<Inner>, asleep: &AtomicBool) {
    // The gate is not there before its constructor returns.
    let mut seen = false;
    loop {
        let next = match inner.upgrade() {
            Some(gate) => {
                seen = true;
                gate.tick()
            }
            None if seen => return,
            None => Some(Duration::from_millis(1)),
        };
        match next {
            Some(time) => std::thread::park_timeout(time),
            None => {
                asleep.store(true, SeqCst);
                // A wait that began before the flag was set found it clear and did not unpark.
                let waiting = inner
                    .upgrade()
                    .is_some_and(|gate| gate.gate.next_tick().is_some());
                if !waiting {
                    std::thread::park_timeout(IDLE);
                }
                asleep.store(false, SeqCst);
            }
        }
    }
}
