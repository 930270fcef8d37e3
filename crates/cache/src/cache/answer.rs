//! What a read returns.

use std::sync::Arc;

/// How much a reader wants the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Read {
    /// Waits for what is being loaded, and never gets what a write has replaced. A value that has
    /// merely expired it gets where loading fails.
    #[default]
    Strong,
    /// Gets at once what there is within the stale window, while it is loaded anew.
    Weak,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// This process.
    Local,
    /// This process, where the key is kept for being asked for by everyone.
    Hot,
    /// Redis.
    Redis,
    /// The reserve, while Redis fails.
    Reserve,
    /// The loader.
    Loaded,
    /// The filter: there is no such key.
    Filter,
}

/// A read's answer.
#[derive(Debug)]
pub struct Answer<V> {
    /// `None`: there is no such thing.
    pub value: Option<Arc<V>>,
    /// Where it came from.
    pub source: Source,
    /// Whether it had expired or, for a weak reader, been replaced.
    pub stale: bool,
}

impl<V> Clone for Answer<V> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            ..*self
        }
    }
}
