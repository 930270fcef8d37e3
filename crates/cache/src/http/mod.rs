//! What HTTP says of caching (RFC 9111), for a cache that many users share: headers and times in,
//! decisions out. No clock, no store, no I/O; a gateway drives it.
//!
//! Where the RFC leaves a choice, the one is taken by which nothing of one user reaches another:
//! `private` and `no-cache` with field names count as without, what sets a cookie is never kept, and
//! an answer to someone who has shown who they are is kept only where its origin says in so many
//! words that it is for everyone. Where headers contradict each other, the shorter life counts.
//!
//! - [`judge`]: may an answer be kept, and how long is it fresh ([`Kept`]).
//! - [`Kept::use_of`]: may it be served now, to this request, or must the origin be asked.
//! - [`conditions`]: what a client has already (304), or wants a part of (206).
//! - [`Vary`]: which requests an answer is for.
//! - [`merged`]: what a 304 of the origin changes.
//! - [`invalidates`]: what a write puts out of date.

mod date;
mod directives;
mod fresh;
mod judge;
mod range;
mod validate;
mod vary;
mod write;

pub use date::parse_date;
pub use directives::{RequestDirectives, ResponseDirectives};
pub use fresh::{Kept, Use};
pub use judge::{Asked, Exchanged, Policy, Unfit, judge};
pub use range::{Part, part};
pub use validate::{Condition, conditions, merged, revalidation};
pub use vary::{Selected, Vary};
pub use write::{invalidates, is_safe};
