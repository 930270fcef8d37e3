//! What can go wrong with a list.

use super::position::Position;
use crate::error::Error as CacheError;

/// Why there is no page, or a change was not taken. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The loader failed, panicked, took too long or was not let through.
    #[error(transparent)]
    Load(#[from] CacheError),
    /// Redis does not serve, and this is not the first page of a list: pages behind it are not
    /// loaded from the database meanwhile. Try again later.
    #[error("Redis does not serve ({0}), and only first pages are read without it")]
    Unavailable(#[source] CacheFault),
    /// The change was committed, and the list in Redis could not be told. This process tells it as
    /// soon as it can; until then other processes may read the list as it was, for its life at most.
    #[error(
        "the list could not be told of the change ({0}); it is forgotten as soon as Redis serves"
    )]
    NotTold(#[source] CacheFault),
    /// The loader's items are not in the order of the list, or not behind the cursor.
    #[error(
        "the loader's item {at} is out of order: order by score and then by the member's bytes, \
         in the list's direction, and compare with the cursor likewise"
    )]
    OutOfOrder {
        /// Its place among the loader's items.
        at: usize,
    },
    /// The loader returned more items than it was asked for: the rest would be taken for known.
    #[error("the loader returned {got} items and was asked for {limit}: it must keep to the limit")]
    TooMany {
        /// What it returned.
        got: usize,
        /// What it was asked for.
        limit: usize,
    },
    /// A member's bytes are more than a list holds.
    #[error(
        "a member of {bytes} bytes: lists hold up to {MAX_MEMBER}; keep ids in lists, and what they name elsewhere"
    )]
    LongMember {
        /// How many.
        bytes: usize,
    },
    /// A page of no items, or of more than are read at once.
    #[error("a page of {0} items: ask for 1 to {MAX_PAGE}")]
    Limit(usize),
    /// What Redis holds is no member of this type: another program writes lists under this name. The
    /// list was forgotten.
    #[error("a member does not decode: does another program use lists of this name?")]
    NotDecoded,
}

/// Bytes of a member, at most.
pub const MAX_MEMBER: usize = 1_024;
/// Items of a page, at most.
pub const MAX_PAGE: usize = 1_000;

#[cfg(feature = "redis")]
pub(super) type CacheFault = crate::redis::Fault;
#[cfg(not(feature = "redis"))]
pub(super) type CacheFault = std::convert::Infallible;

pub(super) fn fits(position: &Position) -> Result<(), Error> {
    let bytes = position.member.len();
    if bytes > MAX_MEMBER {
        return Err(Error::LongMember { bytes });
    }
    Ok(())
}
