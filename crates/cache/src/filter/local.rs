//! The filter of one process: a generation at work, and one beside it while it is built.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};

use futures_util::Stream;
use seawall_sync::Snapshot;
use tokio::time::Instant;

use super::bits::{Bits, hash};
use super::rebuild::{Built, FilterError, Rebuild, scan};
use super::size::{Fill, FilterSize};
use crate::Key;

#[derive(Default)]
struct Generations {
    now: Option<Arc<Bits>>,
    next: Option<Arc<Bits>>,
}

pub(super) struct Local {
    generations: Snapshot<Generations>,
    building: AtomicBool,
}

impl Local {
    pub(super) fn new() -> Self {
        Self {
            generations: Snapshot::new(Generations::default()),
            building: AtomicBool::new(false),
        }
    }

    /// Whether the key may be there; `None` until first built.
    #[inline]
    pub(super) fn contains(&self, hash: u64) -> Option<bool> {
        let generations = self.generations.load();
        Some(generations.now.as_ref()?.contains(hash))
    }

    pub(super) fn insert(&self, hash: u64) {
        loop {
            let version = self.generations.version();
            let generations = self.generations.load();
            let both = [&generations.now, &generations.next];
            both.into_iter()
                .flatten()
                .for_each(|bits| bits.insert(hash));
            // A build that began meanwhile has a generation that does not know the key.
            if self.generations.version() == version {
                return;
            }
        }
    }

    pub(super) fn fill(&self) -> Option<Fill> {
        let now = self.generations.load().now.clone();
        now.map(|bits| bits.fill())
    }

    pub(super) async fn rebuild<K: Key, E: Into<Box<dyn Error + Send + Sync>>, S>(
        &self,
        size: FilterSize,
        keys: impl FnOnce() -> S,
        how: Rebuild,
    ) -> Result<Built, FilterError>
    where
        S: Stream<Item = Result<K, E>>,
    {
        if self.building.swap(true, AcqRel) {
            return Err(FilterError::UnderWay);
        }
        let start = Instant::now();
        let next = Arc::new(Bits::new(how.size.unwrap_or(size)));
        let building = Building(self);
        self.generations.update(|old| Generations {
            now: old.now.clone(),
            next: Some(next.clone()),
        });
        tokio::time::sleep(how.settle).await;
        let each = |key: &[u8]| next.insert(hash(key));
        let keys = scan(keys(), how.rate, each).await?;
        let fill = next.fill();
        self.generations.store(Generations {
            now: Some(next),
            next: None,
        });
        drop(building);
        Ok(Built {
            keys,
            fill,
            took: start.elapsed(),
        })
    }
}

/// A build that may be cancelled: the old generation stays, the new one goes.
struct Building<'a>(&'a Local);

impl Drop for Building<'_> {
    fn drop(&mut self) {
        self.0.generations.update(|old| Generations {
            now: old.now.clone(),
            next: None,
        });
        self.0.building.store(false, Release);
    }
}
