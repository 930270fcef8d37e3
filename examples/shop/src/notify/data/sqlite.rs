//! The tables in SQLite.

use sqlx::Sqlite as Db;

#[path = "tables/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "one source for two databases")]
mod tables;

pub use tables::{Listed, Notes, open};
