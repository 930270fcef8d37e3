//! Products, prices and stock.

pub mod biz;
pub mod data;
