//! The gutter's reserve: what stands in for Redis in this process while it is away.
//!
//! Small, bounded by a number of its own, and short-lived: nobody tells this process what others
//! write meanwhile, so nothing is called fresh for longer than two seconds. It may be kept for
//! longer, for who prefers a stale value to a refusal. Empty while all is well, and emptied when
//! Redis is back.
//!
//! Each entry carries the generation it was loaded under, as in the first level
//! ([`crate::local`]): what an invalidation has replaced, and what is put in too late, is void.

use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;
use seawall::Tick;

use crate::local::{Generation, Generations};

/// No value of the reserve is fresh for longer.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(2);
/// And none is kept for longer.
const KEPT_MAX: Duration = Duration::from_secs(86_400);

/// A value and until when it is what.
#[derive(Clone)]
struct Entry<V> {
    value: V,
    generation: Generation,
    fresh: Tick,
    stale: Tick,
}

/// What the reserve holds of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept<V> {
    /// To be answered.
    Fresh(V),
    /// To be answered to who prefers it to a refusal.
    Stale(V),
}

pub(crate) struct Reserve<V> {
    entries: Cache<Bytes, Entry<V>>,
    life: Duration,
    kept: Duration,
}

impl<V: Clone + Send + Sync + 'static> Reserve<V> {
    /// At most so many entries, fresh for `life` (at most 2 s) and kept for `stale` more.
    pub(crate) fn new(entries: u64, life: Duration, stale: Duration) -> Self {
        let life = life.min(LIFE_MAX);
        let kept = life.saturating_add(stale).min(KEPT_MAX);
        let entries = Cache::builder().max_capacity(entries).time_to_live(kept);
        Self {
            entries: entries.build(),
            life,
            kept,
        }
    }

    /// What it holds of `key` that no invalidation has replaced. One hash, one lookup.
    pub(crate) fn get(&self, key: &[u8], known: &Generations, now: Tick) -> Option<Kept<V>> {
        let entry = self.entries.get(key)?;
        if now >= entry.stale || !known.is(entry.generation) {
            return None;
        }
        match now < entry.fresh {
            true => Some(Kept::Fresh(entry.value)),
            false => Some(Kept::Stale(entry.value)),
        }
    }

    /// Keeps what was loaded under `generation`.
    pub(crate) fn insert(&self, key: Bytes, value: V, generation: Generation, now: Tick) {
        let entry = Entry {
            value,
            generation,
            fresh: now + self.life,
            stale: now + self.kept,
        };
        self.entries.insert(key, entry);
    }

    /// Redis is back.
    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve() -> Reserve<u32> {
        Reserve::new(4, Duration::from_secs(60), Duration::from_secs(10))
    }

    #[test]
    fn a_value_is_fresh_for_two_seconds_at_most_and_then_stale_for_as_long_as_allowed() {
        let (reserve, known) = (reserve(), Generations::new(0));
        reserve.insert(Bytes::from("a"), 1, known.of(b"a"), Tick::ZERO);
        let at = |ms| reserve.get(b"a", &known, Tick::from_millis(ms));
        assert_eq!(at(1_999), Some(Kept::Fresh(1)));
        assert_eq!(at(2_000), Some(Kept::Stale(1)));
        assert_eq!(at(11_999), Some(Kept::Stale(1)));
        assert_eq!(at(12_000), None);
    }

    #[test]
    fn what_was_invalidated_or_cleared_is_gone() {
        let (reserve, known) = (reserve(), Generations::new(0));
        let get = |key: &[u8]| reserve.get(key, &known, Tick::ZERO);
        let before = known.of(b"a");
        reserve.insert(Bytes::from("a"), 1, before, Tick::ZERO);
        reserve.insert(Bytes::from("b"), 2, known.of(b"b"), Tick::ZERO);
        known.pass(b"a");
        assert_eq!((get(b"a"), get(b"b")), (None, Some(Kept::Fresh(2))));
        // Loaded before the invalidation, and late.
        reserve.insert(Bytes::from("a"), 1, before, Tick::ZERO);
        assert_eq!(get(b"a"), None);
        reserve.clear();
        assert_eq!(get(b"b"), None);
    }

    #[test]
    fn it_holds_no_more_than_its_own_number() {
        let (reserve, known) = (reserve(), Generations::new(0));
        for key in 0..100_u8 {
            let key = Bytes::copy_from_slice(&[key]);
            let generation = known.of(&key);
            reserve.insert(key, 0, generation, Tick::ZERO);
        }
        reserve.entries.run_pending_tasks();
        assert!(reserve.entries.entry_count() <= 4);
    }
}
