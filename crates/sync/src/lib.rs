//! Concurrency primitives that the rest of the house stands on.
//!
//! What every request writes is sharded ([`Sharded`]), what every request reads is a copy-on-write
//! [`Snapshot`]. Nothing here knows another crate of the workspace.

#[cfg(feature = "rt")]
pub mod combine;
#[cfg(feature = "rt")]
mod pipeline;
mod pool;
mod primitives;
mod sharded;
mod snapshot;
mod topic;

pub use crossbeam_utils::CachePadded;
#[cfg(feature = "rt")]
pub use pipeline::{
    OnError, Order, Pipeline, PipelineControl, PipelineError, PipelineOptions, Running,
    StageProgress,
};
pub use pool::{Pool, Pooled, Recycle};
pub use sharded::{Shard, Sharded};
pub use snapshot::{SaveError, Snapshot, SnapshotMap, Table, Versioned};
pub use topic::{Full, Publisher, RecvError, Subscriber, Topic, WhenBehind};
