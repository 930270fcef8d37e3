//! Products, prices and stock.

pub mod biz;
