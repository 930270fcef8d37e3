//! What is not about the business: money, time, the database, the queue, calls.

mod money;
pub mod queue;
pub mod rpc;
pub mod scarce;
pub mod sql;
mod time;

pub use money::{Money, TooMuch};
pub use time::Time;
