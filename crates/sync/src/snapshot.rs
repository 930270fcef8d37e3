//! A value that is read on every request and replaced now and then.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A copy-on-write value: readers never wait, a writer swaps in a whole new value.
///
/// Used for configuration. A reader keeps what it loaded until it drops the guard, so one request
/// never sees two configurations.
///
/// ```
/// use seawall_sync::Snapshot;
///
/// let limit = Snapshot::new(10);
/// let before = limit.load();
/// limit.store(20);
/// assert_eq!((**before, **limit.load()), (10, 20));
/// ```
#[derive(Debug)]
pub struct Snapshot<T>(ArcSwap<T>);

impl<T> Snapshot<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// The value of now, without counting a reference; hold it briefly. Wait-free.
    #[inline]
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// The value of now, to keep across an await.
    pub fn load_full(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value for everyone who loads after this call.
    pub fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}
