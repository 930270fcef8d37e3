//! Where entries live that several processes share: what may be asked of an entry, and the answers.
//!
//! An entry is a value, a lease, or both. One caller at a time holds a key's lease; what it loaded is
//! taken only while it still does; an invalidation takes the lease away, also where there is no value
//! yet, so that what was read before a write cannot be put back after it. There is no clock of a
//! client in any of it: times are lengths, counted where the entry lives.

mod memory;
mod notice;
#[cfg(all(feature = "redis", any(test, feature = "testing")))]
pub(crate) mod race;
#[cfg(feature = "redis")]
mod remote;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use memory::Memory;
pub(crate) use memory::Subscription;
pub(crate) use notice::Notice;
#[cfg(feature = "redis")]
pub(crate) use remote::{RedisStore, channel};

#[cfg(feature = "redis")]
pub(crate) use crate::redis::Fault;

/// How long a copy of a hot key lives, at most: whoever renews it reads the main entry, and may find
/// that it is time to load early.
pub(crate) const COPY: Duration = Duration::from_secs(10);

/// Names a lease or a fence; drawn at random by who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// A reader asks for a value, or for the lease to load it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    /// The lease it takes if one is to be had.
    pub(crate) token: Token,
    /// How long the lease lasts.
    pub(crate) lease: Duration,
    /// `-β·ln(r)` of XFetch: with a fresh life left of less than this many times what the last load
    /// took, the reader takes the lease and loads early. 0: never.
    pub(crate) early: f64,
    /// How many copies of the key its readers know of: an invalidation by someone who does not is
    /// told so. 0: none.
    pub(crate) copies: u16,
}

/// What is kept for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// `None`: known to be absent.
    pub(crate) value: Option<Bytes>,
    /// How long it is fresh for; zero: it is stale.
    pub(crate) fresh: Duration,
    /// What loading it took.
    pub(crate) load: Duration,
    /// A write has replaced it: never for a strong reader.
    pub(crate) invalidated: bool,
}

/// The answer to [`Fetch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Fresh: nothing to do.
    Hit(Stored),
    /// The lease is the caller's: to load and fill, or to release. What is kept meanwhile, fresh
    /// where the load is early.
    Granted(Option<Stored>),
    /// Another one loads. Who waits is told: by `Filled`, `Released` or `Invalidated`; and not later
    /// than `left`, when the lease has run out.
    Busy {
        /// What is kept meanwhile.
        stored: Option<Stored>,
        /// What is left of the other's lease.
        left: Duration,
    },
    /// A write is under way: to be loaded for oneself, and not kept.
    Fenced(Option<Stored>),
}

/// What a lease's holder has loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill<'a> {
    /// The lease it was loaded under.
    pub(crate) token: Token,
    /// `None`: there is no such thing.
    pub(crate) value: Option<&'a [u8]>,
    /// How long it is fresh for.
    pub(crate) fresh: Duration,
    /// How much longer it is kept, for who prefers a stale value to none.
    pub(crate) stale: Duration,
    /// What loading it took.
    pub(crate) load: Duration,
}

/// A value that a write has written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put<'a> {
    /// `None`: there is no such thing any more.
    pub(crate) value: Option<&'a [u8]>,
    /// How long it is fresh for.
    pub(crate) fresh: Duration,
    /// How much longer it is kept, for who prefers a stale value to none.
    pub(crate) stale: Duration,
    /// What loading it would take, for who renews it early.
    pub(crate) load: Duration,
}

impl<'a> Fill<'a> {
    /// What it keeps.
    pub(crate) fn put(&self) -> Put<'a> {
        Put {
            value: self.value,
            fresh: self.fresh,
            stale: self.stale,
            load: self.load,
        }
    }
}

/// The end of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// How many copies of the key are to be invalidated, too.
    pub(crate) copies: u16,
    /// Whether the value is kept; else the entry was invalidated.
    pub(crate) kept: bool,
}

/// Where a cache's shared entries live. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    place: Place,
    copy: u16,
}

#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "redis",
    allow(clippy::large_enum_variant, reason = "one of a cache")
)]
enum Place {
    Memory(Arc<Memory>),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
}

/// Why a store did not answer. One in the process always does.
#[cfg(not(feature = "redis"))]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {}

#[cfg(not(feature = "redis"))]
impl Fault {
    /// Whether it counts against the store.
    pub(crate) fn is_outage(&self) -> bool {
        match *self {}
    }
}

impl Store {
    /// In the process.
    pub(crate) fn memory(memory: Arc<Memory>) -> Self {
        Self {
            place: Place::Memory(memory),
            copy: 0,
        }
    }

    /// In Redis.
    #[cfg(feature = "redis")]
    pub(crate) fn redis(store: RedisStore) -> Self {
        Self {
            place: Place::Redis(store),
            copy: 0,
        }
    }

    /// Copy `copy` of every key, from 1 on: entries of their own. 0 is the main one.
    pub(crate) fn copy(&self, copy: u16) -> Self {
        Self {
            place: self.place.clone(),
            copy,
        }
    }

    /// A value, or the lease to load it. An answer that did not arrive may have granted the lease:
    /// asking again with the same token gets it again.
    pub(crate) async fn fetch(&self, key: &Bytes, ask: &Fetch) -> Result<Fetched, Fault> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.fetch(self.copy, key, ask)),
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.fetch(self.copy, key, ask).await,
        }
    }

    /// Keeps what was loaded, unless its lease is gone. Whether it is kept.
    pub(crate) async fn fill(&self, key: &Bytes, fill: &Fill<'_>) -> Result<bool, Fault> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.fill(self.copy, key, fill)),
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.fill(self.copy, key, fill).await,
        }
    }

    /// Gives a lease back: the load failed.
    pub(crate) async fn release(&self, key: &Bytes, token: Token) -> Result<(), Fault> {
        match &self.place {
            Place::Memory(memory) => {
                memory.release(self.copy, key, token);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.release(self.copy, key, token).await,
        }
    }

    /// After a write: nothing that was read before it is given to a strong reader, or kept, from
    /// now on. What is kept stays for weak readers, for its stale window at most, if `keep_stale`.
    /// How many copies are to be invalidated, too: afterwards, in this order.
    pub(crate) async fn invalidate(&self, key: &Bytes, keep_stale: bool) -> Result<u16, Fault> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.invalidate(self.copy, key, keep_stale)),
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.invalidate(self.copy, key, keep_stale).await,
        }
    }

    /// Before a write: an invalidation that lasts until [`Store::unfence`], or for `length`, which
    /// is to be longer than the write may take. How many copies are to be invalidated, too.
    pub(crate) async fn fence(
        &self,
        key: &Bytes,
        token: Token,
        length: Duration,
    ) -> Result<u16, Fault> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.fence(self.copy, key, token, length)),
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.fence(self.copy, key, token, length).await,
        }
    }

    /// After the write, whatever came of it. With a value, which is kept where no other write came
    /// between.
    pub(crate) async fn unfence(
        &self,
        key: &Bytes,
        token: Token,
        put: Option<&Put<'_>>,
    ) -> Result<Written, Fault> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.unfence(self.copy, key, token, put)),
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.unfence(self.copy, key, token, put).await,
        }
    }

    /// Keeps a value without a fence: of two that put at the same time the last one stays, whatever
    /// the order in which they wrote the database. Who cannot have that uses a fence.
    pub(crate) async fn put(&self, key: &Bytes, put: &Put<'_>) -> Result<Written, Fault> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.put(self.copy, key, put)),
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.put(self.copy, key, put).await,
        }
    }

    /// Tells every process.
    pub(crate) async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        match &self.place {
            Place::Memory(memory) => {
                memory.publish(notice);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.tell(notice).await,
        }
    }

    /// Begins another epoch: every entry is void.
    pub(crate) async fn raise_epoch(&self) -> Result<u64, Fault> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.raise_epoch()),
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.raise_epoch().await,
        }
    }

    /// Another process has told of this epoch.
    pub(crate) fn adopt_epoch(&self, epoch: u64) {
        match &self.place {
            // Who raises it there has voided everything already.
            Place::Memory(_) => {
                let _ = epoch;
            }
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.adopt_epoch(epoch),
        }
    }

    /// Another process may have begun an epoch without this one being told.
    pub(crate) fn doubt_epoch(&self) {
        match &self.place {
            Place::Memory(_) => {}
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.doubt_epoch(),
        }
    }

    /// Which part of the store the key is in, for whoever keeps account of what fails: of a Cluster
    /// one of 64, else 0.
    pub(crate) fn shard_of(&self, key: &[u8]) -> u16 {
        match &self.place {
            Place::Memory(_) => {
                let _ = key;
                0
            }
            #[cfg(feature = "redis")]
            Place::Redis(store) => store.shard_of(self.copy, key),
        }
    }
}
