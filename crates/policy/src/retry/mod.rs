//! Whether a call that failed is sent again, when, and who pays for it.
//!
//! Retries turn a short fault into a long outage: three layers that each try four times send 64
//! calls for one. Four rules keep the load that failures add within a tenth, whatever fails:
//!
//! - *A budget* ([`Budget`]), shared by all that calls one upstream: first attempts earn a share
//!   of a retry, retries and hedges spend it, and what is not spent in time is gone.
//! - *A mark*: a layer that has retried in vain, or had no budget to, marks its reply, and no
//!   layer above retries it ([`Retry::must_mark`]). So of many layers only the lowest retries, and
//!   the bottom sees one budget's worth, not a product of them.
//! - *Time*: what cannot finish before the deadline is not begun. A pushback longer than the time
//!   left is the end, not a wait.
//! - *Safety*: what may have run is only sent again if it may run twice.
//!
//! | to answer | use |
//! |---|---|
//! | how long to wait before a retry | [`Backoff`] |
//! | whether there is budget for one more | [`Budget`] |
//! | what the server asked for | [`Pushback`] |
//! | whether to retry, all in all | [`Retry`] |
//! | how long calls take of late | [`Latencies`] |
//! | when to send a second copy without waiting for the first to fail | [`Hedge`] |

mod backoff;
mod budget;
mod decide;
#[cfg(test)]
mod decide_tests;
mod hedge;
mod latency;
mod pushback;

pub use backoff::{Backoff, Schedule};
pub use budget::{Budget, BudgetSettings, Withdrawal};
pub use decide::{Rejected, Reply, Retry, RetrySettings, Verdict, Why};
pub use hedge::{Hedge, HedgeSettings};
pub use latency::{Latencies, LatencySettings};
pub use pushback::Pushback;
