//! Concurrency primitives that the rest of the house stands on.
//!
//! What every request writes is sharded ([`Sharded`]), what every request reads is a copy-on-write
//! [`Snapshot`], and what every request would allocate comes from a [`Pool`]. Concurrent calls of
//! one key become one in a [`Flight`], messages go to consumers of different speed by a [`topic`],
//! and ambient values follow a call into its tasks ([`ambient`]). Locks tell what is waited for
//! ([`lock`]). Nothing here knows another crate
//! of the workspace.
//!
//! With the feature `rt`, on tokio: tasks that end together (`group`), work that computes
//! (`blocking`), stages that push back (`pipeline`), several futures as one (`combine`), lanes on
//! threads of their own (`threads`), a board of what is being worked on (`tasks`), and a program that
//! ends by one path (`shutdown`).

pub mod ambient;
#[cfg(feature = "rt")]
pub mod blocking;
#[cfg(feature = "rt")]
pub mod combine;
pub mod flight;
#[cfg(feature = "rt")]
pub mod group;
#[cfg(feature = "rt")]
pub mod leak;
pub mod lock;
mod panics;
#[cfg(feature = "rt")]
pub mod pipeline;
mod pool;
mod primitives;
mod sharded;
#[cfg(feature = "rt")]
pub mod shutdown;
mod snapshot;
#[cfg(feature = "rt")]
pub mod tasks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(feature = "rt")]
pub mod threads;
pub mod topic;
mod waiters;

pub use ambient::{Ambient, AmbientExt};
#[cfg(feature = "rt")]
pub use blocking::Blocking;
pub use crossbeam_utils::CachePadded;
pub use flight::Flight;
#[cfg(feature = "rt")]
pub use group::Group;
pub use lock::{Mutex, RwLock};
pub use pool::{Held, Pool, Pooled, PooledOwned, Recycle};
pub use sharded::{Shard, Sharded};
#[cfg(feature = "rt")]
pub use shutdown::Shutdown;
pub use snapshot::{SaveError, Snapshot, SnapshotMap, Table, Versioned};
#[cfg(feature = "rt")]
pub use tokio_util::sync::CancellationToken;

/// Longer than any program runs, and still to be added to the time of now.
pub(crate) const FOREVER: std::time::Duration = std::time::Duration::from_secs(30 * 365 * 86_400);
