//! What callers of one key share while it is being loaded.

use bytes::Bytes;
use seawall::Criticality;

use super::answer::Answer;
use crate::error::Error;
use crate::local::Generation;

/// What has one load at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) bytes: Bytes,
    /// Who asks after an invalidation does not join a load from before it.
    pub(super) generation: Generation,
    /// Apart from others: whoever matters more than the one whose load was turned away.
    pub(super) apart: Option<Criticality>,
}

/// What came of it.
pub(super) struct Landed<V> {
    pub(super) result: Result<Answer<V>, Error>,
    /// How much it mattered to the one who began it.
    pub(super) criticality: Criticality,
}

impl<V> Clone for Landed<V> {
    fn clone(&self) -> Self {
        Self {
            result: self.result.clone(),
            criticality: self.criticality,
        }
    }
}
