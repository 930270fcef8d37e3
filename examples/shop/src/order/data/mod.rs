//! What orders need of others: tables, written as the business needs it and read as they are shown;
//! the catalog; whoever hears what became of them.

pub mod catalog;
pub mod mysql;
mod row;
pub mod sqlite;
pub mod tell;
mod view;

pub use view::{OrderView, Views};
