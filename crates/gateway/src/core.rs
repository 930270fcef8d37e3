//! What one core owns, and what all cores share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use seawall::admission::Key;
use seawall::clock::Clock;
use seawall_policy::{Criticality, Rejection, Tick};

use crate::access;
use crate::counters::{Counters, Fault};
use crate::notice::Notice;
use crate::origin::Origin;
use crate::recent::{Recent, Turned};
use crate::router::{Router, Target};
use crate::signals::Signals;
use crate::sweep::Sweep;
use crate::tls::Certificates;
use crate::under_way::Marks;

/// Sleeping itself costs as much as a wake-up or two; for less than this it does not pay.
const COALESCE_MIN: Duration = Duration::from_micros(200);

/// What every core reads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) origins: Vec<Arc<Origin>>,
    pub(crate) router: Router,
    /// Count calls whose time is up, but let them pass.
    pub(crate) deadline_shadow: bool,
    pub(crate) drain_timeout: Duration,
    pub(crate) draining: AtomicBool,
    pub(crate) access: access::Writer,
    pub(crate) signals: Signals,
    pub(crate) shortage: Notice,
    /// `None` where no key is configured.
    pub(crate) under_way: Option<Marks>,
    pub(crate) books: Vec<Book>,
    pub(crate) certificates: Certificates,
}

impl Shared {
    /// While every origin turns calls away, lets events gather before this thread looks at them;
    /// one that does not is not made to wait. Blocks the thread, for 1 ms at most.
    pub(crate) fn coalesce(&self) {
        let waits = self.origins.iter().map(|o| o.admission.coalesce());
        if let Some(wait) = waits.min().filter(|wait| *wait >= COALESCE_MIN) {
            std::thread::sleep(wait);
        }
    }
}

/// What one core writes and the admin listener reads.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) counters: Counters,
    pub(crate) recent: Recent,
}

/// What belongs to one core: its thread alone writes here on the hot path.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) sweep: Arc<Sweep>,
    random: AtomicU64,
}

impl Core {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Arc<Self> {
        let clock = shared.clock.clone();
        let sweep = Sweep::new(clock.clone());
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), index);
        Arc::new(Self {
            index,
            shared,
            clock,
            sweep,
            random: AtomicU64::new(seed),
        })
    }

    pub(crate) fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.books[self.index].counters
    }

    /// 64 random bits that nobody's safety hangs on (SplitMix64).
    pub(crate) fn random(&self) -> u64 {
        let mut z = self
            .random
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Remembers a rejection for `/explain`.
    pub(crate) fn remember(
        &self,
        at: Tick,
        target: &Target,
        key: Key,
        criticality: Criticality,
        rejection: Rejection,
        shadow: bool,
    ) {
        self.shared.books[self.index].recent.add(Turned {
            at,
            origin: target.origin as u16,
            route: target.route,
            key,
            criticality,
            rejection,
            shadow,
        });
    }

    /// A connection cannot be accepted.
    #[cold]
    pub(crate) fn tell_shortage(&self, error: &std::io::Error) {
        self.counters().fault(Fault::Shortage);
        if let Some(held_back) = self.shared.shortage.due(self.clock.now()) {
            tracing::warn!(
                %error,
                held_back,
                "a connection cannot be accepted: raise the limit of descriptors (`ulimit -n`), or lower `max_connections`"
            );
        }
    }

    /// Descriptors are short: gives up the connections that are only kept in store.
    pub(crate) fn make_room(&self) {
        for origin in &self.shared.origins {
            origin.pool.close_idle(self.index);
        }
    }
}
