//! Lists in sorted sets, loaded lazily: timelines, comments, rankings.
//!
//! A list of a million items is not an entry: nobody reads all of it, most is never read, and one
//! insert must not void the rest. So what is kept is what was asked for, page by page, and which
//! parts of the list that is (`known.rs`): a page that lies in a known part costs no query, and "the
//! end" is another answer than "not loaded". What is new is added where it belongs if that part is
//! known, and goes by the list otherwise. `index.rs` decides all of it, argues it, and needs no
//! Redis; `list.lua` is the same in Redis, in one round trip an operation.
//!
//! - *Pages are cut by cursor, not by number.* The third page by number has two items of the second
//!   again when two are inserted meanwhile. A cursor is a score and a member, and means the same
//!   place whatever happens, its own item's removal included.
//! - *Scores are integers within 2⁵³*, where Redis' doubles, SQL's integers and ours agree. A
//!   fraction that the database rounds otherwise would put an item on two pages or on none.
//! - *Members are ids.* What they name is kept in a [`Cache`](crate::Cache), which fetches many in one
//!   round trip: a value that changes does not touch the lists that it is in.

mod ask;
mod error;
mod index;
mod known;
mod lists;
mod load;
mod member;
mod owed;
mod page;
mod position;
mod settings;
#[cfg(feature = "redis")]
mod shared;
mod store;
#[cfg(test)]
mod tests;
#[cfg(feature = "redis")]
mod wire;

pub use error::{Error, MAX_MEMBER, MAX_PAGE};
pub use lists::{Lists, ListsBuilder, Rank, Wrote};
pub use member::Member;
pub use page::{Cursor, Item, NoCursor, Page, Seek};
pub use position::{MAX_SCORE, NoScore, Order, Score};
pub use settings::ListSettings;
