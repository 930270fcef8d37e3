//! What one core owns, and what all cores share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use seawall::admission::Key;
use seawall::clock::Clock;
use seawall::sync::Snapshot;
use seawall_policy::{Criticality, Rejection, Tick};

use crate::access;
use crate::cache::Cache;
use crate::counters::{Counters, Fault};
use crate::notice::Notice;
use crate::plan::{Names, Plan};
use crate::pool::Pool;
use crate::recent::{Recent, Turned};
use crate::router::Target;
use crate::signals::Signals;
use crate::site::Listening;
use crate::sweep::Sweep;
use crate::tls::Certificates;

/// Sleeping itself costs as much as a wake-up or two; for less than this it does not pay.
const COALESCE_MIN: Duration = Duration::from_micros(200);

/// What every core reads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// For all who are not a core: each of those has a copy.
    pub(crate) plan: Snapshot<Plan>,
    /// Where calls come in now.
    pub(crate) listening: Snapshot<Vec<Arc<Listening>>>,
    /// What this plan and the last few call things, the newest first.
    pub(crate) names: Mutex<VecDeque<Names>>,
    /// Pools that no plan leads to any more, until the last of their connections is closed.
    pub(crate) retired: Mutex<Vec<Arc<Pool>>>,
    pub(crate) reloads: Reloads,
    pub(crate) draining: AtomicBool,
    pub(crate) access: access::Writer,
    pub(crate) signals: Signals,
    pub(crate) shortage: Notice,
    pub(crate) books: Vec<Book>,
    pub(crate) cache: Cache,
    pub(crate) certificates: Arc<Certificates>,
}

impl Shared {
    /// While every origin turns calls away, lets events gather before this thread looks at them;
    /// one that does not is not made to wait. Blocks the thread, for 1 ms at most.
    pub(crate) fn coalesce(&self) {
        let plan = self.plan.load();
        let waits = plan.origins.iter().map(|o| o.admission.coalesce());
        if let Some(wait) = waits.min().filter(|wait| *wait >= COALESCE_MIN) {
            std::thread::sleep(wait);
        }
    }
}

/// How often the configuration was to be replaced, and whether it was.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    pub(crate) done: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// What one core writes and the admin listener reads.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) counters: Counters,
    pub(crate) recent: Recent,
}

/// Every bit of the result depends on every bit of the input (SplitMix64's finaliser).
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What belongs to one core: its thread alone writes here on the hot path.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Snapshot<Plan>,
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
            plan: Snapshot::new(shared.plan.load().copy()),
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
        let z = self
            .random
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        mix(z)
    }

    /// Remembers a rejection for `/explain`.
    #[allow(clippy::too_many_arguments, reason = "one value each")]
    pub(crate) fn remember(
        &self,
        at: Tick,
        plan: &Plan,
        target: &Target,
        key: Key,
        criticality: Criticality,
        rejection: Rejection,
        shadow: bool,
    ) {
        self.shared.books[self.index].recent.add(Turned {
            at,
            plan: plan.number,
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
        for origin in &self.plan.load().origins {
            for (_, set) in origin.sets() {
                set.fleet.close_idle(self.index);
            }
        }
    }
}
