//! What becomes of calls that an upstream fails.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_policy::retry::Why;

/// Counts of one upstream. Only failures are written here, so it is shared by all cores.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// Attempts after a call's first.
    pub(crate) retries: AtomicU64,
    /// Failed attempts that no other followed, by the reason.
    pub(crate) stopped: [AtomicU64; Why::ALL.len()],
    /// Answers that stood in for the upstream's.
    pub(crate) fallbacks: AtomicU64,
}

impl Tries {
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn stopped(&self, why: Why) {
        self.stopped[why as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn fell_back(&self) {
        self.fallbacks.fetch_add(1, Relaxed);
    }
}
