//! The cache: aside, in front, and never a stampede.
//!
//! What goes wrong with a cache goes wrong in the database behind it: a key expires and ten thousand
//! callers load it at once, a key that never existed is asked for all night, Redis dies and takes the
//! database along, a slow read puts back what a write has just replaced. Here one caller in the fleet
//! loads a key, under a lease; whatever was loaded under a lease that an invalidation has revoked is
//! not kept; and what reaches the database is bounded whatever the cache does.

mod cache;
mod codec;
#[allow(dead_code, reason = "its first users are being written")]
mod coherence;
mod error;
mod expiry;
mod filter;
#[allow(dead_code, reason = "its first users are being written")]
mod guard;
mod hot;
mod key;
#[allow(dead_code, reason = "its first users are being written")]
mod lease;
mod local;
mod metrics;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "its first users are being written")]
pub mod redis;
mod settings;
#[allow(
    dead_code,
    unused_imports,
    reason = "its first users are being written"
)]
mod store;

pub use cache::{Answer, Builder, Cache, Loader, Read, Source};
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
