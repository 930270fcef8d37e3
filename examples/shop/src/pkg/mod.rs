//! What is not about the business: money, time, the database.

mod money;
pub mod sql;
mod time;

pub use money::{Money, TooMuch};
pub use time::Time;
