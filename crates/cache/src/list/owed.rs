//! Lists that were changed while they could not be told.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use parking_lot::Mutex;

/// More than a second's writes of a busy process; beyond, the writer is told by its error alone.
const MOST: usize = 65_536;

/// Keys of lists that this process must not believe before they are invalidated.
#[derive(Debug, Default)]
pub(super) struct Owed {
    keys: Mutex<HashSet<Bytes>>,
    /// For the usual case, that there are none.
    count: AtomicUsize,
    /// Whether someone tells them.
    telling: AtomicBool,
}

impl Owed {
    pub(super) fn owe(&self, key: &Bytes) {
        let mut keys = self.keys.lock();
        if keys.len() < MOST {
            keys.insert(key.clone());
        }
        self.count.store(keys.len(), SeqCst);
    }

    pub(super) fn owes(&self, key: &Bytes) -> bool {
        self.count.load(SeqCst) > 0 && self.keys.lock().contains(key)
    }

    pub(super) fn paid(&self, key: &Bytes) {
        let mut keys = self.keys.lock();
        keys.remove(key);
        self.count.store(keys.len(), SeqCst);
    }

    /// Some that are owed.
    pub(super) fn some(&self, most: usize) -> Vec<Bytes> {
        if self.count.load(SeqCst) == 0 {
            return Vec::new();
        }
        self.keys.lock().iter().take(most).cloned().collect()
    }

    /// Whether it is the caller's to tell them.
    pub(super) fn begin(&self) -> bool {
        !self.telling.swap(true, SeqCst)
    }

    /// Whether there is nothing left to tell, and so nobody who tells.
    pub(super) fn end(&self) -> bool {
        let keys = self.keys.lock();
        if keys.is_empty() {
            self.telling.store(false, SeqCst);
        }
        keys.is_empty()
    }
}
