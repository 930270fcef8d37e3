//! Notices in a table.

pub mod mysql;
mod row;
pub mod sqlite;
mod view;

pub use view::{NoticeView, Views};
