//! What is not about the business: money, time.

mod money;
mod time;

pub use money::{Money, TooMuch};
pub use time::Time;
