//! What one core owns, and what all cores share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::limits::Limits;
use crate::origin::Origin;
use crate::sweep::Sweep;
use seawall::clock::Clock;

/// What every core reads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) origins: Vec<Arc<Origin>>,
    pub(crate) draining: AtomicBool,
    /// Client connections that are open.
    pub(crate) connections: AtomicUsize,
}

/// What belongs to one core: its thread alone writes here on the hot path.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) sweep: Arc<Sweep>,
}

impl Core {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, clock: Clock) -> Arc<Self> {
        let sweep = Sweep::new(clock.clone());
        Arc::new(Self {
            index,
            shared,
            clock,
            sweep,
        })
    }

    pub(crate) fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Descriptors or connections are short: gives up what is only kept in store.
    pub(crate) fn make_room(&self) {
        for origin in &self.shared.origins {
            origin.pool.close_idle(self.index);
        }
    }
}
