//! Notices in a table, and what sends them.

pub mod mysql;
pub mod post;
mod row;
pub mod sqlite;
mod view;

pub use view::{NoticeView, Views};
