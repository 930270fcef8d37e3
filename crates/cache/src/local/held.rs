//! An entry in process.

use std::sync::Arc;
use std::time::Duration;

use seawall::Tick;

use super::Generation;
use crate::expiry::{EARLIEST, lead};

/// What is held of a key.
pub(crate) struct Held<V> {
    /// `None`: known to be absent.
    pub(crate) value: Option<Arc<V>>,
    /// What it was loaded under.
    pub(crate) generation: Generation,
    pub(crate) life: Life,
}

impl<V> Clone for Held<V> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            ..*self
        }
    }
}

/// When an entry is what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// From here on readers draw whether to load early.
    pub(crate) early: Tick,
    /// Up to here it is fresh.
    pub(crate) fresh: Tick,
    /// Up to here it is kept.
    pub(crate) stale: Tick,
    /// Before this, loading it again is not tried: it has just failed.
    pub(crate) retry: Tick,
    /// What loading it took.
    pub(crate) load: Duration,
}

impl Life {
    /// Of what was loaded until `now` and took `load`.
    pub(crate) fn new(
        now: Tick,
        fresh: Duration,
        stale: Duration,
        load: Duration,
        beta: f64,
    ) -> Self {
        let end = now + fresh;
        Self {
            early: end - lead(load, EARLIEST * beta),
            fresh: end,
            stale: end + stale,
            retry: Tick::ZERO,
            load,
        }
    }
}
