//! What customers are told, and when.

pub mod biz;
pub mod data;
