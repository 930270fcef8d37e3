//! The request context: what every policy reads of a call, and how it travels.
//!
//! A [`Call`](seawall_policy::Call) is read out of a request's headers once, on arrival
//! ([`Reader::read`]), carried through the service, and written onto what goes on to the next hop
//! ([`forward`]). A refusal goes back as [`reply`].
//!
//! Three decisions shape this module:
//!
//! - **Time left, never time of day.** Clocks differ between machines by more than a time limit is
//!   long, so a hop sends how long it still waits, less what it has used itself.
//! - **A bad header is no reason to fail a good request.** One that makes no sense is ignored and
//!   counted; a time limit that is zero, negative or huge has a stated meaning ([`Reader::read`]).
//! - **Trust is the listener's.** Who may reach an address decides what is believed there, not what
//!   a header says. At an [edge](Trust::Edge) nothing is believed and nothing forged is passed on, with one
//!   exception: a time limit shorter than ours. Whoever says that they will not wait longer harms
//!   nobody else, and the work that nobody waits for is spared.
//!
//! The names are in [`names`]. `traceparent` passes through untouched.

mod advice;
mod extract;
mod forward;
mod load;
pub mod names;
mod reply;
mod tenant;
mod timeout;
mod under_way;

pub use advice::advice;
pub use extract::{ContextHeader, ContextHeaders, Extracted, MAX_COST, Reader, Trust};
pub use forward::{criticality_value, forward, is_grpc};
pub use load::{LOAD_PATH, load, load_value};
pub use reply::{MAX_RETRY_AFTER, Wire, deadline_passed, reply};
pub use tenant::{TENANT_SEED, tenant_hash};
pub use timeout::{MAX_TIMEOUT, grpc_value, millis_value, parse_go, parse_grpc, parse_millis};
pub use under_way::{KeyError, Ledger, UnderWay, UnderWayError, UnderWayKeys};
