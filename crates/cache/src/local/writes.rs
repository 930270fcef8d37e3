//! Writes under way in this process, where no store keeps account of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// By key: how many, and whether there has been more than one since the first of them began.
#[derive(Default)]
pub(crate) struct Writes(Arc<Mutex<HashMap<Bytes, Under>>>);

struct Under {
    count: u32,
    overlapped: bool,
}

/// A write, until it is dropped.
#[must_use = "a write ends with its drop"]
pub(crate) struct Writing {
    writes: Writes,
    bytes: Bytes,
}

impl Writes {
    pub(crate) fn begin(&self, bytes: Bytes) -> Writing {
        let mut writes = self.0.lock();
        let new = Under {
            count: 0,
            overlapped: false,
        };
        let under = writes.entry(bytes.clone()).or_insert(new);
        under.count += 1;
        under.overlapped |= under.count > 1;
        Writing {
            writes: Self(self.0.clone()),
            bytes,
        }
    }
}

impl Writing {
    /// Whether another write was under way at any time of this one: nobody knows which the database
    /// made last.
    pub(crate) fn overlapped(&self) -> bool {
        let writes = self.writes.0.lock();
        writes.get(&self.bytes).is_none_or(|under| under.overlapped)
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut writes = self.writes.0.lock();
        if let Some(under) = writes.get_mut(&self.bytes) {
            under.count -= 1;
            if under.count == 0 {
                writes.remove(&self.bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_that_overlap_knows_and_the_next_is_alone() {
        let writes = Writes::default();
        let key = || Bytes::from("key");
        let first = writes.begin(key());
        assert!(!first.overlapped());
        let second = writes.begin(key());
        assert!(first.overlapped() && second.overlapped());
        drop(second);
        assert!(first.overlapped());
        drop(first);
        assert!(writes.0.lock().is_empty());
        assert!(!writes.begin(key()).overlapped());
    }
}
