//! The response cache: what an upstream has answered, kept for who asks the same (RFC 9111).
//!
//! Off unless a route has a `cache` table. A hit is answered before admission: no place, no queue,
//! no task, no copy of the body. A miss makes one call to the upstream, whoever else asks for the
//! same meanwhile waits for that one ([`flight`]), and is let go the moment it turns out that the
//! answer is somebody's own. The call is a [`fill`], a task of its own: that its first caller leaves
//! ends it for nobody else. It passes through everything that any call does: admission, breaker,
//! retries; where it fails, a stale answer may stand in.
//!
//! What nothing of one user may reach another by, [`seawall_cache::http`] decides; here, what is not
//! part of the key is not sent on by what is kept: a request with a header that is known to steer
//! services past their URL goes by the cache.

mod ask;
mod count;
mod fill;
mod flight;
mod follow;
mod key;
mod page;
mod purge;
mod rules;
mod status;
mod store;

pub(crate) use ask::{Look, look};
pub(crate) use count::{Counts, Event};
pub(crate) use flight::{Copied, Pieces};
pub(crate) use follow::follow;
pub(crate) use purge::{Purge, Written};
pub(crate) use rules::Rules;
pub(crate) use status::went_by;

use std::sync::atomic::AtomicU64;

use flight::Flights;
use store::Store;

/// What is kept, and what is being fetched to be kept. Of the process, not of a plan: a reload keeps
/// it.
#[derive(Debug)]
pub(crate) struct Cache {
    store: Store,
    flights: Flights,
    /// Orders to forget, and what was forgotten for them.
    pub(crate) purges: [AtomicU64; 2],
}

impl Cache {
    /// One that keeps `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            store: Store::new(size),
            flights: Flights::default(),
            purges: Default::default(),
        }
    }

    /// Entries, and the bytes that they take.
    pub(crate) fn holds(&self) -> (u64, u64) {
        self.store.holds()
    }
}
