//! The cache: aside, in front, and never a stampede.
//!
//! What goes wrong with a cache goes wrong in the database behind it: a key expires and ten thousand
//! callers load it at once, a key that never existed is asked for all night, Redis dies and takes the
//! database along, a slow read puts back what a write has just replaced. Here one caller in the fleet
//! loads a key, under a lease; whatever was loaded under a lease that an invalidation has revoked is
//! not kept; and what reaches the database is bounded whatever the cache does.

mod codec;
#[allow(dead_code, reason = "its first users are being written")]
mod coherence;
mod filter;
#[allow(dead_code)]
mod hot;
mod key;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "its first users are being written")]
pub mod redis;
#[allow(dead_code, reason = "its first users are being written")]
mod store;

pub use codec::{Codec, Json, NotDecoded, Raw};
pub use filter::{
    Built, Fill, Filter, FilterCounts, FilterError, FilterSize, Overfull, Presence, Rebuild,
};
pub use hot::HotSettings;
pub use key::Key;
