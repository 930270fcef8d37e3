//! The cache itself: reads, writes, and what happens between them.
//!
//! Decisions:
//!
//! - *A load belongs to nobody.* It runs on a task of its own, once for a key in a process and, under
//!   a lease, once in the fleet; a caller who leaves takes nobody's answer along. Elsewhere it runs on
//!   the first caller's context, and that one's cancellation is everyone's error.
//! - *A load is of a generation.* Who asks after an invalidation does not join a load that was begun
//!   before it, which may have read what the write replaced.
//! - *A stale answer says so*, and why there was none better is counted. What a write has replaced is
//!   never given to a strong reader, failed load or not.
//! - *A load that fails is not repeated at the rate of the callers*: where there is a stale value, it
//!   serves them for a moment; where there is none, they share the one that is under way.
//! - *A bound on everything*: a loader has a time limit, a caller its deadline, a value its size.

mod answer;
mod behind;
mod builder;
mod fence;
mod flying;
#[cfg(test)]
mod hot_tests;
mod leased;
pub(crate) mod load;
mod many;
mod offer;
mod read;
mod remote;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
mod work;
mod write;

use std::fmt;
use std::sync::{Arc, OnceLock};

use seawall::clock::Clock;
use seawall_sync::flight::Detached;

pub use answer::{Answer, Read, Source};
pub use behind::{BehindSettings, WriteBehind};
pub use builder::Builder;
pub use fence::Fence;
pub use read::Loader;

use crate::coherence::Hearing;
use crate::filter::Filter;
use crate::guard::Guard;
use crate::hot::Hot;
use crate::local::{Coarse, Local, Writes};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::store::Subscription;
use flying::{FlightKey, Landed};
use remote::Remote;

/// Values by key, loaded once and kept: in process, and in Redis where one is given.
///
/// Cheap to clone; clones are one cache.
///
/// ```
/// use seawall_cache::Cache;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
///
/// let users = Cache::<u64, String>::builder("users").build();
/// // In a service: a query. `None` is a user that does not exist.
/// let load = async |id: u64| Ok::<_, std::io::Error>(Some(format!("user {id}")));
///
/// let user = users.get_or_load(&7, move || load(7)).await?;
/// assert_eq!(user.as_deref().map(String::as_str), Some("user 7"));
/// assert!(users.get(&7).is_some());
/// users.invalidate(&7).await;
/// assert!(users.get(&7).is_none());
/// # Ok::<(), seawall_cache::Error>(()) }).unwrap();
/// ```
pub struct Cache<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    name: Arc<str>,
    settings: Settings,
    clock: Clock,
    coarse: Coarse,
    local: Local<K, V>,
    writes: Writes,
    flights: Detached<FlightKey, Landed<V>>,
    metrics: Arc<Metrics>,
    loader: Option<Box<read::Bound<K, V>>>,
    guard: Option<Guard>,
    filter: Option<Filter>,
    hot: Option<Hot<K, V>>,
    remote: Option<Arc<Remote<V>>>,
    /// Of what others do to what is held.
    hearing: OnceLock<(Hearing, Option<Subscription>)>,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        Self { shared }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.shared.name)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl<K: crate::Key, V: Send + Sync + 'static> Cache<K, V> {
    /// A cache to be set up. Its name is that of its metrics and, in Redis, of its keys.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder<K, V> {
        Builder::new(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// About how many entries it holds in process.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.shared.local.len()
    }

    /// The filter before it, if there is one.
    #[must_use]
    pub fn filter(&self) -> Option<&Filter> {
        self.shared.filter.as_ref()
    }

    /// The bytes of the keys that are hot, as this process has found or was told; empty where
    /// [`Builder::hot`] was not asked for.
    #[must_use]
    pub fn hot_keys(&self) -> Vec<bytes::Bytes> {
        let hot = self.shared.hot.as_ref();
        hot.map_or_else(Vec::new, |hot| hot.keys(self.shared.clock.now()))
    }

    /// Whether it holds about none in process.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
