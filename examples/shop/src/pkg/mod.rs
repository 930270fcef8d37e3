//! What is not about the business: money, time, the database, calls.

mod money;
pub mod rpc;
pub mod sql;
mod time;

pub use money::{Money, TooMuch};
pub use time::Time;
