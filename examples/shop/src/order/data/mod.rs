//! Orders in tables: written as the business needs it, read as they are shown.

pub mod mysql;
mod row;
pub mod sqlite;
mod view;

pub use view::{OrderView, Views};
