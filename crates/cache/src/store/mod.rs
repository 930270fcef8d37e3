//! Where entries live that several processes share: what may be asked of an entry, and the answers.
//!
//! An entry is a value, a lease, or both. One caller at a time holds a key's lease; what it loaded is
//! taken only while it still does; an invalidation takes the lease away, also where there is no value
//! yet, so that what was read before a write cannot be put back after it. There is no clock of a
//! client in any of it: times are lengths, counted where the entry lives.

use std::time::Duration;

use bytes::Bytes;

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

/// What others do to an entry, told to every process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Its value was replaced by a write: what a process holds of it is stale.
    Invalidated(Bytes),
    /// It was loaded, and someone waited for it.
    Filled(Bytes),
    /// Its load failed, and someone waited for it.
    Released(Bytes),
    /// Everyone asks for it; or no longer does.
    Hot(Bytes, bool),
    /// Everything of an earlier epoch is void.
    Epoch(u64),
    /// Notices may have been missed: whatever a process holds may be stale.
    Lost,
}
