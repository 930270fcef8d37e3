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
use crate::coherence::{Coherence, Waiting};
use crate::store::{Notice, Token};

/// Lists of one name.
pub(super) enum Store {
    Memory(Memory),
    #[cfg(feature = "redis")]
    Redis(Box<Shared>),
}

/// Lists in this process: all of it works, for one process.
pub(super) struct Memory {
    lists: moka::sync::Cache<Bytes, Arc<Mutex<Index>>>,
    clock: Clock,
    coherence: Coherence,
}

impl Memory {
    pub(super) fn new(lists: u64, clock: Clock) -> Self {
        Self {
            lists: moka::sync::Cache::new(lists),
            clock,
            coherence: Coherence::local(),
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

    fn tell(&self, key: &Bytes, told: bool) {
        if told {
            self.coherence.tell(&Notice::Filled(key.clone()));
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
                memory.tell(which.key, told);
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
                memory.tell(which.key, told);
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
                memory.tell(which.key, told);
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
                memory.tell(which.key, true);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.invalidate(which).await,
        }
    }

    /// Ready when something was loaded of the list or given up after this call, or may have been.
    pub(super) fn waiting(&self, key: &Bytes) -> Waiting {
        match self {
            Self::Memory(memory) => memory.coherence.waiting(key),
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.waiting(key),
        }
    }

    /// Waits for what was asked to wait for: while notices are heard until the other's lease has run
    /// out, otherwise for a moment.
    pub(super) async fn wait(&self, waiting: Waiting, left: Duration) {
        let heard = match self {
            Self::Memory(_) => true,
            #[cfg(feature = "redis")]
            Self::Redis(shared) => shared.hears(),
        };
        let most = if heard { left } else { left.min(POLL) };
        // Not all at once.
        let most = most
            .max(Duration::from_millis(1))
            .mul_f64(1.0 + 0.5 * fastrand::f64());
        let _ = tokio::time::timeout(most, waiting).await;
    }
}

/// While notices are not heard, a list that another process loads is asked after so often.
const POLL: Duration = Duration::from_millis(20);
