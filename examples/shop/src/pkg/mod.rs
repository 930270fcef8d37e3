//! What is not about the business: money, time, numbers, the queue, calls.

mod failure;
pub mod faults;
mod money;
pub mod number;
pub mod queue;
pub mod rpc;
pub mod scarce;
mod time;

pub use failure::Failure;
pub use money::{Money, TooMuch};
pub use time::Time;
