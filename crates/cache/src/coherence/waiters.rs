//! Who waits for what others do to a key.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// Waiters by key. Holds what waits now, and nothing of keys that nobody waits for.
#[derive(Default)]
pub(super) struct Waiters {
    shards: [Mutex<HashMap<Bytes, Vec<Arc<Mark>>>>; SHARDS],
    hasher: RandomState,
}

#[derive(Default)]
struct Mark {
    told: AtomicBool,
    waker: AtomicWaker,
}

impl Mark {
    fn tell(&self) {
        self.told.store(true, SeqCst);
        self.waker.wake();
    }
}

impl Waiters {
    fn shard(&self, key: &[u8]) -> &Mutex<HashMap<Bytes, Vec<Arc<Mark>>>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    pub(super) fn wait(self: &Arc<Self>, key: &Bytes) -> Waiting {
        let mark = Arc::<Mark>::default();
        let mut shard = self.shard(key).lock();
        shard.entry(key.clone()).or_default().push(mark.clone());
        Waiting {
            waiters: self.clone(),
            key: key.clone(),
            mark,
        }
    }

    pub(super) fn tell(&self, key: &[u8]) {
        let told = self.shard(key).lock().remove(key);
        // Not under the lock: a waker may run what it wakes.
        for mark in told.into_iter().flatten() {
            mark.tell();
        }
    }

    pub(super) fn tell_all(&self) {
        for shard in &self.shards {
            let told = std::mem::take(&mut *shard.lock());
            for mark in told.into_values().flatten() {
                mark.tell();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let count = |shard: &Mutex<HashMap<_, Vec<_>>>| -> usize {
            shard.lock().values().map(Vec::len).sum()
        };
        self.shards.iter().map(count).sum()
    }
}

/// Ready when something was done to its key since it was made, or may have been. Cancel-safe; a drop
/// ends the waiting.
#[must_use = "a waiter hears nothing before it is made, nor after its drop"]
pub(crate) struct Waiting {
    waiters: Arc<Waiters>,
    key: Bytes,
    mark: Arc<Mark>,
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Registered before the look: whoever tells after the look finds it.
        self.mark.waker.register(cx.waker());
        match self.mark.told.load(SeqCst) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut shard = self.waiters.shard(&self.key).lock();
        if let Some(marks) = shard.get_mut(&self.key) {
            marks.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
            if marks.is_empty() {
                shard.remove(&self.key);
            }
        }
    }
}
