//! The first level: what a process holds itself, by `moka`, whose admission by frequency keeps a scan
//! from sweeping out what is asked for.
//!
//! *It never holds what an invalidation has replaced.* Checking again after an insert, and removing
//! what changed meanwhile, leaves an instant in which a reader gets what should not be there; and it
//! needs the key, where a message from another process brings its bytes. Here each entry carries the
//! generation it was loaded under ([`generations`]), and is good while that is still its key's: an
//! invalidation is one addition, and whatever is inserted late was void before it came. It costs a hit
//! one load from a table of some hundred kilobytes; entries that share a place in it are voided
//! together, and there are four places to an entry.
//!
//! *What is void stays in memory* until it is asked for, replaced, or evicted; moka's own limits bound
//! it.

mod coarse;
mod generations;
mod held;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall::Tick;

pub(crate) use coarse::Coarse;
pub(crate) use generations::{Generation, Generations};
pub(crate) use held::{Held, Life};

use crate::Key;

/// moka takes no longer one.
const LONGEST: Duration = Duration::from_secs(900 * 365 * 86_400);

/// What weighs an entry.
pub(crate) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u32 + Send + Sync>;

/// Entries by key, with their generations.
pub(crate) struct Local<K, V> {
    entries: moka::sync::Cache<K, Held<V>, ahash::RandomState>,
    generations: Generations,
    /// Nothing held here is good from this tick on; moved on by whoever hears of invalidations.
    good_until: AtomicU64,
}

impl<K: Key, V: Send + Sync + 'static> Local<K, V> {
    pub(crate) fn new(capacity: u64, longest: Duration, weigher: Option<Weigher<K, V>>) -> Self {
        let mut builder = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .time_to_live(longest.min(LONGEST));
        let entries = if weigher.is_some() { 10_000 } else { capacity };
        if let Some(weigher) = weigher {
            builder = builder.weigher(move |key, held: &Held<V>| {
                let value = held.value.as_deref();
                value.map_or(1, |value| weigher(key, value))
            });
        }
        Self {
            entries: builder.build_with_hasher(ahash::RandomState::new()),
            generations: Generations::new(entries),
            good_until: AtomicU64::new(u64::MAX),
        }
    }

    /// What is held of `key`, fresh or not, if it is good.
    #[inline]
    pub(crate) fn get(&self, key: &K, now: Tick) -> Option<Held<V>> {
        let held = self.entries.get(key)?;
        let good = self.generations.is(held.generation) && now.0 < self.good_until.load(Relaxed);
        (good && now < held.life.stale).then_some(held)
    }

    /// Keeps `held`. Void at once where its generation has passed.
    pub(crate) fn insert(&self, key: K, held: Held<V>) {
        self.entries.insert(key, held);
    }

    pub(crate) fn generations(&self) -> &Generations {
        &self.generations
    }

    #[allow(dead_code, reason = "called by who hears of invalidations")]
    /// Nothing held is good from `tick` on, unless this is called again.
    pub(crate) fn good_until(&self, tick: Tick) {
        self.good_until.store(tick.0, Relaxed);
    }

    /// Everything that is held, or being loaded, is void.
    pub(crate) fn void(&self) {
        self.generations.pass_all();
        self.entries.invalidate_all();
    }

    /// Drops what is held of `key`, which is void already, to have its memory back.
    pub(crate) fn forget(&self, key: &K) {
        self.entries.invalidate(key);
    }

    /// About how many entries are held.
    pub(crate) fn len(&self) -> u64 {
        self.entries.entry_count()
    }
}
