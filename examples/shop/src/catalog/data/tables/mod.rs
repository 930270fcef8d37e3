//! The tables, and what is done with them; compiled once for each database.

mod seed;
mod shelves;
mod shown;

pub use seed::seed;
pub use shelves::{ShelfTx, Shelves};
pub use shown::Shown;

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
