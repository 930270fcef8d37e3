//! The decisions: statistics, limits, rates, admission, queues, lanes, retries, fallbacks. Pure.
//!
//! Nothing here reads a clock, does I/O, starts a thread or draws a random number: time comes in
//! as a [`Tick`], readings and random numbers as arguments. So the gateway, the kit's layers, a
//! simulation and a benchmark run one and the same code, and a test is exact.

pub mod admit;
pub mod balance;
pub mod breaker;
mod call;
pub mod fallback;
pub mod limit;
mod rejection;
pub mod retry;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod stats;
mod tick;
mod token_bucket;

pub use call::{Call, Criticality, Outcome};
pub use rejection::{Advice, Reason, Rejection, Scope};
pub use tick::Tick;
pub use token_bucket::{TokenBucket, TokenBucketSettings};
