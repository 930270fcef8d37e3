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
mod writes;

use std::sync::Arc;
use std::time::Duration;

use seawall::Tick;

pub(crate) use coarse::Coarse;
pub(crate) use generations::{Generation, Generations};
pub(crate) use held::{Held, Life};
pub(crate) use writes::{Writes, Writing};

use crate::Key;
use crate::coherence::Coherence;
use crate::settings::Settings;

/// moka takes no longer one.
const LONGEST: Duration = Duration::from_secs(900 * 365 * 86_400);

/// What weighs an entry.
pub(crate) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u32 + Send + Sync>;

/// Entries by key, with their generations.
pub(crate) struct Local<K, V> {
    entries: moka::sync::Cache<K, Held<V>, ahash::RandomState>,
    generations: Generations,
    coherence: Coherence,
    weigher: Option<Arc<Weigher<K, V>>>,
    /// What an entry may weigh.
    heaviest: usize,
}

impl<K: Key, V: Send + Sync + 'static> Local<K, V> {
    pub(crate) fn new(
        settings: &Settings,
        weigher: Option<Weigher<K, V>>,
        coherence: Coherence,
    ) -> Self {
        let capacity = settings.capacity;
        let longest = settings.ttl.max(settings.negative) + settings.stale;
        let weigher = weigher.map(Arc::new);
        let mut builder = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .time_to_live(longest.min(LONGEST));
        let entries = if weigher.is_some() { 10_000 } else { capacity };
        if let Some(weigher) = weigher.clone() {
            builder = builder.weigher(move |key, held: &Held<V>| {
                let value = held.value.as_deref();
                value.map_or(1, |value| weigher(key, value))
            });
        }
        Self {
            entries: builder.build_with_hasher(ahash::RandomState::new()),
            generations: Generations::new(entries),
            coherence,
            weigher,
            heaviest: settings.max_value,
        }
    }

    /// What is held of `key`, fresh or not, if it is good.
    #[inline]
    pub(crate) fn get(&self, key: &K, now: Tick) -> Option<Held<V>> {
        let held = self.entries.get(key)?;
        (self.is_good(&held, now) && now < held.life.stale).then_some(held)
    }

    /// Whether no invalidation has come since it was loaded, nor may have.
    #[inline]
    pub(crate) fn is_good(&self, held: &Held<V>, now: Tick) -> bool {
        self.generations.is(held.generation) && self.coherence.intact(now)
    }

    /// Keeps `held`, void at once where its generation has passed. Whether it is not too heavy.
    pub(crate) fn insert(&self, key: K, held: Held<V>) -> bool {
        let weight = match (&self.weigher, held.value.as_deref()) {
            (Some(weigher), Some(value)) => weigher(&key, value),
            _ => 0,
        };
        let light = weight as usize <= self.heaviest;
        match light {
            true => self.entries.insert(key, held),
            false => self.entries.invalidate(&key),
        }
        light
    }

    pub(crate) fn generations(&self) -> &Generations {
        &self.generations
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
