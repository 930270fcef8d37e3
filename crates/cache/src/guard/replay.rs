//! Delivers late what could not be delivered in time.
//!
//! In memory: what a process could not deliver dies with it when it is killed, and then the value in
//! Redis lives on for as long as it was to. Who cannot have that fences the key before the write
//! (`write_aside`) or is told of changes by the database itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;

use super::journal::{BUCKETS, Journal, Number, Work};

/// Delivered at once, in one round trip.
const BATCH: usize = 128;
/// From one attempt in vain to the next: doubled from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What delivering takes of a store. Whether it was acknowledged is the answer.
pub(crate) trait Deliver: Send + Sync {
    /// Invalidates a key and its copies, and tells everyone.
    fn invalidate(&self, key: &Bytes) -> impl Future<Output = bool> + Send;

    /// Voids everything that is shared, and tells everyone.
    fn raise_epoch(&self) -> impl Future<Output = bool> + Send;
}

/// Invalidations that were not delivered yet. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Undelivered {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    journal: Mutex<Journal>,
    /// The journal's [`distrusted`](Journal::distrusted), to be looked at without its lock.
    distrusted: AtomicU64,
    /// Someone is at it.
    delivering: AtomicBool,
}

/// The only one that delivers.
pub(super) struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    pub(super) fn take(taken: &'a AtomicBool) -> Option<Self> {
        (!taken.swap(true, SeqCst)).then_some(Self(taken))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

impl Undelivered {
    /// Keeps at most so many keys; for more the epoch is raised.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                journal: Mutex::new(Journal::new(limit)),
                distrusted: AtomicU64::new(0),
                delivering: AtomicBool::new(false),
            }),
        }
    }

    /// An invalidation was not delivered, or may not have been. From here on this process does not
    /// trust what the store says of the key; so this comes before the writer is answered. To be followed
    /// by a [`flush`](Self::flush) that nobody waits for.
    pub(crate) fn add(&self, key: Bytes, bucket: u16) {
        self.change(|journal| journal.add(key, usize::from(bucket)));
    }

    /// Whether what the store says of a key may predate an invalidation of this process. One load
    /// while everything is delivered.
    #[inline]
    pub(crate) fn distrusts(&self, key: &[u8], bucket: u16) -> bool {
        let bucket = usize::from(bucket) % BUCKETS;
        self.inner.distrusted.load(SeqCst) >> bucket & 1 == 1
            && self.inner.journal.lock().distrusts(key, bucket)
    }

    /// Keys that are to be delivered: for metrics.
    pub(crate) fn len(&self) -> usize {
        self.inner.journal.lock().len()
    }

    /// Whether there is nothing to deliver.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.distrusted.load(SeqCst) == 0
    }

    /// Delivers what there is, and ends when that is done; at once where another one is at it, who
    /// then delivers this, too. Cancel-safe: what is not acknowledged stays.
    pub(crate) async fn flush(&self, deliver: &impl Deliver) {
        // Again where something came while the one before was ending.
        while !self.is_empty() {
            let Some(_turn) = Turn::take(&self.inner.delivering) else {
                return;
            };
            self.deliver_all(deliver).await;
        }
    }

    async fn deliver_all(&self, deliver: &impl Deliver) {
        let mut pause = PAUSE.0;
        while let Some(work) = self.work() {
            let done = match work {
                Work::Keys(keys) => self.deliver_keys(deliver, keys).await,
                Work::Epoch(number) => {
                    let raised = deliver.raise_epoch().await;
                    self.change(|journal| raised.then(|| journal.raised(number)));
                    raised
                }
            };
            if done {
                pause = PAUSE.0;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    /// Whether any of them arrived. Those of a shard that is away go behind the others.
    async fn deliver_keys(&self, deliver: &impl Deliver, keys: Vec<(Bytes, Number)>) -> bool {
        let answers = join_all(keys.iter().map(|(key, _)| deliver.invalidate(key))).await;
        let arrived: Vec<_> = keys.iter().zip(&answers).filter(|(_, ok)| **ok).collect();
        self.change(|journal| {
            for ((key, number), _) in &arrived {
                journal.delivered(key, *number);
            }
            journal.postpone(keys.len() - arrived.len());
        });
        !arrived.is_empty()
    }

    fn work(&self) -> Option<Work> {
        self.inner.journal.lock().work(BATCH)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Journal) -> T) -> T {
        let mut journal = self.inner.journal.lock();
        let answer = change(&mut journal);
        self.inner.distrusted.store(journal.distrusted(), SeqCst);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Shop {
        away: AtomicBool,
        invalidated: Mutex<Vec<Bytes>>,
        raised: AtomicU64,
    }

    impl Deliver for Shop {
        async fn invalidate(&self, key: &Bytes) -> bool {
            let here = !self.away.load(SeqCst);
            if here {
                self.invalidated.lock().push(key.clone());
            }
            here
        }

        async fn raise_epoch(&self) -> bool {
            let here = !self.away.load(SeqCst);
            self.raised.fetch_add(u64::from(here), SeqCst);
            here
        }
    }

    fn key(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_delivered_within_half_a_second_of_the_return_and_distrusted_until_then()
    {
        let shop = Shop::default();
        let undelivered = Undelivered::new(1_000);
        shop.away.store(true, SeqCst);
        for number in 0..300 {
            undelivered.add(key(number), 0);
        }
        let away = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(undelivered.distrusts(&key(0), 0) && !undelivered.distrusts(b"other", 0));
            shop.away.store(false, SeqCst);
            tokio::time::sleep(Duration::from_millis(501)).await;
            assert!(undelivered.is_empty() && !undelivered.distrusts(&key(0), 0));
        };
        // Each invalidation has one of these.
        let others = async { tokio::join!(undelivered.flush(&shop), undelivered.flush(&shop)) };
        tokio::join!(undelivered.flush(&shop), others, away);
        let mut invalidated = shop.invalidated.lock().clone();
        invalidated.sort();
        let mut keys: Vec<_> = (0..300).map(key).collect();
        keys.sort();
        assert_eq!(invalidated, keys);
        assert_eq!(shop.raised.load(SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_it_keeps_voids_everything_once() {
        let shop = Shop::default();
        let undelivered = Undelivered::new(10);
        for number in 0..30 {
            undelivered.add(key(number), 0);
        }
        assert!(undelivered.distrusts(b"whatever", 0));
        undelivered.flush(&shop).await;
        assert!(undelivered.is_empty());
        assert_eq!(shop.invalidated.lock().len(), 10);
        assert_eq!(shop.raised.load(SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_during_its_own_delivery_is_delivered_again() {
        struct Slow(Undelivered, AtomicU64);
        impl Deliver for Slow {
            async fn invalidate(&self, key: &Bytes) -> bool {
                if self.1.fetch_add(1, SeqCst) == 0 {
                    self.0.add(key.clone(), 0);
                }
                true
            }
            async fn raise_epoch(&self) -> bool {
                true
            }
        }
        let undelivered = Undelivered::new(10);
        undelivered.add(key(1), 0);
        let slow = Slow(undelivered.clone(), AtomicU64::new(0));
        undelivered.flush(&slow).await;
        assert_eq!(slow.1.load(SeqCst), 2);
    }
}
