//! Concurrency primitives that the rest of the house stands on.
//!
//! What every request writes is sharded ([`Sharded`]), what every request reads is a copy-on-write
//! [`Snapshot`], and what every request would allocate comes from a [`Pool`]. Messages go to
//! consumers of different speed by a [`topic`]. Nothing here knows another crate of the
//! workspace.
//!
//! With the feature `rt`, on tokio: stages that push back (`pipeline`), several futures as one
//! (`combine`), and lanes on threads of their own (`threads`).

#[cfg(feature = "rt")]
pub mod combine;
#[cfg(feature = "rt")]
pub mod pipeline;
mod pool;
mod primitives;
mod sharded;
mod snapshot;
#[cfg(feature = "rt")]
pub mod threads;
pub mod topic;
mod waiters;

pub use crossbeam_utils::CachePadded;
pub use pool::{Pool, Pooled, Recycle};
pub use sharded::{Shard, Sharded};
pub use snapshot::{SaveError, Snapshot, SnapshotMap, Table, Versioned};
