//! The tables in MariaDB.

use sqlx::MySql as Db;

#[path = "tables/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "one source for two databases")]
mod tables;

pub use tables::{BookTx, Books, Listed, open};
