//! The gutter's reserve: what stands in for Redis in this process while it is away.
//!
//! Small, bounded by a number of its own, and short-lived: nobody tells this process what others
//! write meanwhile, so nothing is called fresh for longer than two seconds. It may be kept for
//! longer, for who prefers a stale value to a refusal. Empty while all is well, and emptied when
//! Redis is back.

use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;
use seawall_policy::Tick;

/// No value of the reserve is fresh for longer.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(2);

/// A value and until when it is what.
#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    fresh_until: Tick,
    kept_until: Tick,
}

/// What the reserve holds of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept<V> {
    /// To be answered.
    Fresh(V),
    /// To be answered to who prefers it to a refusal.
    Stale(V),
}

#[derive(Clone)]
pub(crate) struct Reserve<V> {
    entries: Cache<Bytes, Entry<V>>,
    life: Duration,
    stale: Duration,
}

impl<V: Clone + Send + Sync + 'static> Reserve<V> {
    /// At most so many entries, fresh for `life` (at most 2 s) and kept `stale` longer.
    pub(crate) fn new(entries: u64, life: Duration, stale: Duration) -> Self {
        let life = life.min(LIFE_MAX);
        // What lives for longer than a thousand years is refused by moka.
        let kept = life.saturating_add(stale).min(Duration::from_secs(86_400));
        Self {
            entries: Cache::builder()
                .max_capacity(entries)
                .time_to_live(kept)
                .build(),
            life,
            stale: kept.saturating_sub(life),
        }
    }

    /// One hash, one lookup.
    pub(crate) fn get(&self, key: &[u8], now: Tick) -> Option<Kept<V>> {
        let entry = self.entries.get(key)?;
        if now < entry.fresh_until {
            Some(Kept::Fresh(entry.value))
        } else if now < entry.kept_until {
            Some(Kept::Stale(entry.value))
        } else {
            None
        }
    }

    /// Keeps what was loaded, as long as `valid` says so after it has been put in: an invalidation
    /// since the load began either finds it here or is found by `valid`.
    pub(crate) fn insert(&self, key: Bytes, value: V, now: Tick, valid: impl FnOnce() -> bool) {
        let entry = Entry {
            value,
            fresh_until: now + self.life,
            kept_until: now + self.life + self.stale,
        };
        self.entries.insert(key.clone(), entry);
        if !valid() {
            self.entries.invalidate(&key);
        }
    }

    /// Redis is back, or everything is void.
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
        let reserve = reserve();
        reserve.insert(Bytes::from("a"), 1, Tick::ZERO, || true);
        let at = |ms| reserve.get(b"a", Tick::from_millis(ms));
        assert_eq!(at(1_999), Some(Kept::Fresh(1)));
        assert_eq!(at(2_000), Some(Kept::Stale(1)));
        assert_eq!(at(11_999), Some(Kept::Stale(1)));
        assert_eq!(at(12_000), None);
    }

    #[test]
    fn what_is_void_or_was_cleared_is_gone() {
        let reserve = reserve();
        let get = |key: &[u8]| reserve.get(key, Tick::ZERO);
        reserve.insert(Bytes::from("a"), 1, Tick::ZERO, || false);
        assert_eq!(get(b"a"), None);
        reserve.insert(Bytes::from("a"), 1, Tick::ZERO, || true);
        assert_eq!(get(b"a"), Some(Kept::Fresh(1)));
        reserve.clear();
        assert_eq!(get(b"a"), None);
    }

    #[test]
    fn it_holds_no_more_than_its_own_number() {
        let reserve = reserve();
        for key in 0..100_u8 {
            reserve.insert(Bytes::copy_from_slice(&[key]), 0, Tick::ZERO, || true);
        }
        reserve.entries.run_pending_tasks();
        assert!(reserve.entries.entry_count() <= 4);
    }
}
