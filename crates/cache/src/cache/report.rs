//! What a cache tells of itself.

use super::{Cache, Shared};
use crate::Key;
use crate::report::{CacheReport, Counts, HotKey, Kind, text};

impl<K: Key, V: Send + Sync + 'static> Cache<K, V> {
    /// What it holds and has counted, whether it hears of others, and which keys are hot; about as
    /// long as a few hundred loads of atomics take.
    #[must_use]
    pub fn report(&self) -> CacheReport {
        self.shared.report()
    }
}

impl<K: Key, V: Send + Sync + 'static> Shared<K, V> {
    pub(crate) fn report(&self) -> CacheReport {
        let now = self.clock.now();
        let hot = self.hot.as_ref().map(|hot| hot.rates(now));
        let mut hot_keys: Vec<_> = hot
            .into_iter()
            .flatten()
            .map(|(key, rate)| HotKey {
                key: text(&key),
                rate,
            })
            .collect();
        hot_keys.sort_by(|a, b| b.rate.total_cmp(&a.rate));
        CacheReport {
            name: self.name.to_string(),
            kind: Kind::Values,
            entries: self.local.len(),
            bytes: None,
            counts: Counts::of(&self.metrics),
            hot_keys,
            redis: self.remote.as_ref().map(|remote| remote.report(now)),
        }
    }
}

#[cfg(feature = "app")]
mod seen {
    use std::sync::Weak;

    use super::{Cache, CacheReport, Key, Shared};
    use crate::admin::Seen;
    use crate::guard::Guard;

    impl<K: Key, V: Send + Sync + 'static> Cache<K, V> {
        pub(crate) fn guard(&self) -> Option<&Guard> {
            self.shared.guard.as_ref()
        }

        /// To be looked at while it is there.
        pub(crate) fn seen(&self) -> impl Seen + use<K, V> {
            std::sync::Arc::downgrade(&self.shared)
        }
    }

    impl<K: Key, V: Send + Sync + 'static> Seen for Weak<Shared<K, V>> {
        fn report(&self) -> Option<CacheReport> {
            Some(self.upgrade()?.report())
        }
    }
}
