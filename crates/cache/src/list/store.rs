//! Where lists are kept: in this process, or in Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use seawall::clock::Clock;
use seawall_policy::Tick;

use super::ask::{Counted, Ended, Filled, Moved, Paged, Ranked, Terms, millis};
use super::error::CacheFault as Fault;
use super::index::Index;
use super::position::Position;
#[cfg(feature = "redis")]
use super::shared::Shared;
use crate::cache::Source;
use crate::store::Token;

/// Lists of one name.
pub(super) enum Store {
    Memory(Memory),
    #[cfg(feature = "redis")]
    Redis(Shared),
}

/// Lists in this process: all of it works, for one process.
pub(super) struct Memory {
    lists: moka::sync::Cache<Bytes, Arc<Mutex<Index>>>,
    clock: Clock,
    told: tokio::sync::Notify,
}

impl Memory {
    pub(super) fn new(lists: u64, clock: Clock) -> Self {
        Self {
            lists: moka::sync::Cache::new(lists),
            clock,
            told: tokio::sync::Notify::new(),
        }
    }

    fn with<T>(&self, key: &Bytes, terms: &Terms, ask: impl FnOnce(&mut Index, u64) -> T) -> T {
        let list = self
            .lists
            .get_with_by_ref(key, || Arc::new(Mutex::new(Index::new(*terms))));
        let mut index = list.lock();
        // Under the lock, so that a list's times do not run backwards.
        let now = millis(self.clock.now().since(Tick::ZERO));
        ask(&mut index, now)
    }

    fn tell(&self, told: bool) {
        if told {
            self.told.notify_waiters();
        }
    }
}

/// Which list, and by which terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which<'a> {
    pub(super) key: &'a Bytes,
    pub(super) terms: &'a Terms,
}

impl Store {
    /// Where what is known was found.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Memory(_) => Source::Local,
            #[cfg(feature = "redis")]
            Self::Redis(_) => Source::Redis,
        }
    }

    pub(super) async fn page(
        &self,
        which: Which<'_>,
        token: Token,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Paged, Fault> {
        match self {
            Self::Memory(memory) => Ok(memory.with(which.key, which.terms, |index, now| {
                index.page(now, token, after, limit)
            })),
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.page(which, token, after, limit).await,
        }
    }

    pub(super) async fn fill(
        &self,
        which: Which<'_>,
        token: Token,
        (items, end): (&[Position], bool),
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Filled, Fault> {
        match self {
            Self::Memory(memory) => {
                let (filled, told) = memory.with(which.key, which.terms, |index, now| {
                    index.fill(now, token, items, end, after, limit)
                });
                memory.tell(told);
                Ok(filled)
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.fill(which, token, (items, end), after, limit).await,
        }
    }

    pub(super) async fn release(&self, which: Which<'_>, token: Token) -> Result<(), Fault> {
        match self {
            Self::Memory(memory) => {
                let told = memory.with(which.key, which.terms, |index, now| {
                    index.release(now, token)
                });
                memory.tell(told);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.release(which, token).await,
        }
    }

    pub(super) async fn count(&self, which: Which<'_>, token: Token) -> Result<Counted, Fault> {
        match self {
            Self::Memory(memory) => {
                Ok(memory.with(which.key, which.terms, |index, now| index.count(now, token)))
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.count(which, token).await,
        }
    }

    pub(super) async fn fill_count(
        &self,
        which: Which<'_>,
        token: Token,
        count: u64,
    ) -> Result<(), Fault> {
        match self {
            Self::Memory(memory) => {
                let (_, told) = memory.with(which.key, which.terms, |index, now| {
                    index.fill_count(now, token, count)
                });
                memory.tell(told);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.fill_count(which, token, count).await,
        }
    }

    pub(super) async fn rank(&self, which: Which<'_>, member: &Bytes) -> Result<Ranked, Fault> {
        match self {
            Self::Memory(memory) => {
                Ok(memory.with(which.key, which.terms, |index, now| index.rank(now, member)))
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.rank(which, member).await,
        }
    }

    pub(super) async fn change(&self, which: Which<'_>, moved: &Moved) -> Result<(), Fault> {
        match self {
            Self::Memory(memory) => {
                memory.with(which.key, which.terms, |index, now| {
                    index.change(now, moved.clone());
                });
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.change(which, moved).await,
        }
    }

    pub(super) async fn begin(
        &self,
        which: Which<'_>,
        token: Token,
        moved: &Moved,
    ) -> Result<(), Fault> {
        match self {
            Self::Memory(memory) => {
                memory.with(which.key, which.terms, |index, now| {
                    index.begin(now, token, moved.clone());
                });
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.begin(which, token, moved).await,
        }
    }

    pub(super) async fn settle(
        &self,
        which: Which<'_>,
        token: Token,
        moved: &Moved,
        ended: Ended,
    ) -> Result<(), Fault> {
        match self {
            Self::Memory(memory) => {
                memory.with(which.key, which.terms, |index, now| {
                    index.settle(now, token, moved.clone(), ended);
                });
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.settle(which, token, moved, ended).await,
        }
    }

    pub(super) async fn invalidate(&self, which: Which<'_>) -> Result<(), Fault> {
        match self {
            Self::Memory(memory) => {
                memory.with(which.key, which.terms, |index, now| index.invalidate(now));
                memory.tell(true);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.invalidate(which).await,
        }
    }

    /// Waits until something was loaded or given up, or may have been; for `left` at most.
    pub(super) async fn wait(&self, left: Duration) {
        let at_most = left.min(POLL).max(Duration::from_millis(1));
        let jittered = at_most.mul_f64(0.5 + 0.5 * fastrand::f64());
        match self {
            Self::Memory(memory) => {
                let told = memory.told.notified();
                let _ = tokio::time::timeout(jittered, told).await;
            }
            #[cfg(feature = "redis")]
            Self::Redis(_) => tokio::time::sleep(jittered).await,
        }
    }
}

/// A list that another process loads is asked after so often.
const POLL: Duration = Duration::from_millis(20);
