//! The catalog's tables: written as its business needs it, read as they are shown.

pub mod cache;
pub mod mysql;
pub mod sqlite;
mod view;

pub use view::{DetailsView, ProductView, QueryError, Views};
