//! The cache: aside, in front, and never a stampede.
//!
//! What goes wrong with a cache goes wrong in the database behind it: a key expires and ten thousand
//! callers load it at once, a key that never existed is asked for all night, Redis dies and takes the
//! database along, a slow read puts back what a write has just replaced. Here one caller in the fleet
//! loads a key, under a lease; whatever was loaded under a lease that an invalidation has revoked is
//! not kept; and what reaches the database is bounded whatever the cache does.

#[cfg(feature = "app")]
mod admin;
mod cache;
mod codec;
mod coherence;
mod error;
mod expiry;
mod filter;
mod guard;
mod hot;
pub mod http;
mod key;
mod lease;
pub mod list;
mod local;
mod metrics;
#[cfg(feature = "redis")]
pub mod redis;
pub mod report;
mod settings;
mod store;

/// What shows that the leases' protocol holds: every interleaving of a model, and real races.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing {
    pub use crate::lease::check::{
        Covered, Fault, Reader, Setup, Violation, Writer, check, setups,
    };
    #[cfg(feature = "redis")]
    pub use crate::store::race::{Keep, Raced};

    /// Runs so many races of a write and two slow reads on a Redis.
    ///
    /// # Errors
    /// It does not answer.
    #[cfg(feature = "redis")]
    pub async fn race(
        redis: &crate::redis::Redis,
        races: usize,
        keep: Keep,
    ) -> Result<Raced, crate::redis::Fault> {
        use crate::store::{RedisStore, Store};

        let store = Store::redis(RedisStore::new(redis.clone(), "race"));
        crate::store::race::race(&store, races, keep).await
    }
}

#[cfg(feature = "app")]
pub use admin::Caches;
pub use cache::{Answer, BehindSettings, Builder, Cache, Fence, Loader, Read, Source, WriteBehind};
pub use codec::{Codec, Json, NotDecoded, Raw};
pub use error::{Cause, Error};
pub use filter::{
    Built, Fill, Filter, FilterCounts, FilterError, FilterSize, Overfull, Presence, Rebuild,
};
pub use guard::{Guard, GuardSettings, GuardTotal, GuardTotals, LoadPass};
pub use hot::HotSettings;
pub use key::Key;
pub use metrics::{Event, Metrics};
pub use settings::Settings;
pub use store::Memory;
