//! The last rejections, for `/explain`.

use parking_lot::Mutex;
use seawall::admission::Key;
use seawall_policy::{Criticality, Rejection, Tick};

/// How many each core remembers.
const KEPT: usize = 64;

/// One rejection. Plain data, so that remembering it costs a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turned {
    pub(crate) at: Tick,
    /// Which plan the numbers below belong to.
    pub(crate) plan: u32,
    pub(crate) origin: u16,
    /// The route of the configuration; where there is none, `key` says what was learned.
    pub(crate) route: Option<u16>,
    pub(crate) key: Key,
    pub(crate) criticality: Criticality,
    pub(crate) rejection: Rejection,
    /// Decided and counted, but not enforced.
    pub(crate) shadow: bool,
}

/// One core's last rejections. The lock is contended only by a reader of `/explain`.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<(Vec<Turned>, usize)>);

impl Recent {
    pub(crate) fn add(&self, turned: Turned) {
        let (kept, next) = &mut *self.0.lock();
        if kept.len() < KEPT {
            kept.push(turned);
        } else {
            kept[*next] = turned;
        }
        *next = (*next + 1) % KEPT;
    }

    pub(crate) fn collect(&self, into: &mut Vec<Turned>) {
        into.extend_from_slice(&self.0.lock().0);
    }
}
