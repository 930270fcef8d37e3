//! Concurrency primitives that the rest of the house stands on.
//!
//! What every request writes is sharded ([`Sharded`]), what every request reads is a copy-on-write
//! [`Snapshot`]. Tasks end together in a [`Group`](group), concurrent calls of one key become one in
//! a [`Flight`], ambient values follow a call into its tasks ([`ambient`]), and a program ends by one
//! path ([`shutdown`]). Nothing here knows another crate of the workspace.

pub mod ambient;
#[cfg(feature = "rt")]
pub mod blocking;
pub mod flight;
#[cfg(feature = "rt")]
pub mod group;
#[cfg(feature = "rt")]
pub mod leak;
mod lock;
mod panics;
mod sharded;
#[cfg(feature = "rt")]
pub mod shutdown;
mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use ambient::{Ambient, AmbientExt};
#[cfg(feature = "rt")]
pub use blocking::Blocking;
pub use crossbeam_utils::CachePadded;
pub use flight::Flight;
#[cfg(feature = "rt")]
pub use group::Group;
pub use sharded::{Shard, Sharded};
#[cfg(feature = "rt")]
pub use shutdown::Shutdown;
pub use snapshot::Snapshot;
#[cfg(feature = "rt")]
pub use tokio_util::sync::CancellationToken;
