//! Orders: placed, paid for, or run out.

pub mod biz;
pub mod data;
