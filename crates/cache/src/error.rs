//! Why there is no value.

use std::sync::Arc;
use std::time::Duration;

use seawall::Rejection;
use seawall_sync::flight::FlightError;

/// An error of the application's own: what a loader or a write failed with.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a value could neither be found nor loaded, or a write not be made.
///
/// Cheap to clone: all who waited for a load get the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The loader failed.
    #[error("loading failed: {0}")]
    Load(#[source] Cause),
    /// The write that the cache was to follow failed; the cache forgets the key all the same, since
    /// a write that failed may have been made.
    #[error("writing failed: {0}")]
    Write(#[source] Cause),
    /// The loader panicked. The key is free: the next caller tries again.
    #[error("the loader panicked: {0}")]
    Panicked(Arc<str>),
    /// The loader had not returned after `load_timeout`, and was dropped.
    #[error(
        "the loader did not return within {0:?}: find out what it waits for, or raise load_timeout"
    )]
    LoadTimeout(Duration),
    /// The caller's time is up. The load goes on for others.
    #[error("the caller's deadline passed while the value was being loaded")]
    Deadline,
    /// What the database may see is used up by others, or by those that matter more.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The value takes more bytes than `max_value`. A value that was loaded is handed out and not
    /// kept; one that was to be put is refused.
    #[error("a value of {bytes} bytes is above max_value, {limit}: raise it, or split the value")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What it may take.
        limit: usize,
    },
    /// The codec cannot write the value.
    #[error("the value cannot be encoded: {0}")]
    NotEncoded(#[source] Cause),
    /// The loader asks this cache for the key it is to load.
    #[error("the loader of this key asks the cache for the same key, and would wait for itself")]
    WaitsForItself,
    /// The runtime that ran the load was shut down before its end.
    #[error("the runtime ended before the load did")]
    RuntimeEnded,
    /// The store did not take what it had to.
    #[error("the shared store did not answer: {0}")]
    Store(#[source] Cause),
    /// No loader is bound to the cache, and none was given.
    #[error("the cache has no loader: bind one with `Builder::loader`, or use `get_or_load`")]
    NoLoader,
}

impl From<FlightError> for Error {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Panicked { message } => Self::Panicked(message),
            FlightError::RuntimeEnded => Self::RuntimeEnded,
            FlightError::WaitsForItself => Self::WaitsForItself,
        }
    }
}

/// `error` as the [`Cause`] of another.
pub(crate) fn cause(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Cause {
    Arc::from(error.into())
}
