//! The tables, and what is done with them; compiled once for each database.

mod listed;
mod notes;

pub use listed::Listed;
pub use notes::Notes;

use super::Db;
use crate::pkg::sql::{Database, Settings};

/// Connects, and makes the tables that are not there.
///
/// # Errors
/// It cannot be reached, or does not take the tables.
pub async fn open(settings: &Settings) -> Result<Database<Db>, sqlx::Error> {
    let database = Database::open(settings).await?;
    let schema = include_str!("schema.sql");
    sqlx::raw_sql(schema).execute(database.primary()).await?;
    Ok(database)
}
