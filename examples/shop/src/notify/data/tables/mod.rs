//! The tables, and what is done with them; compiled once for each database.

mod listed;
mod notes;

pub use listed::Listed;
pub use notes::Notes;

use seawall::data::{Database, Error, Settings};

use super::Db;
use crate::notify::biz;

/// Connects, and makes the tables that are not there.
///
/// # Errors
/// It cannot be reached, or does not take the tables.
pub async fn open(settings: &Settings) -> Result<Database<Db>, Error> {
    let database = Database::open(settings).await?;
    let schema = include_str!("schema.sql");
    database.migrate(&[("0001_tables", schema)]).await?;
    Ok(database)
}

/// What the business is told of a database that failed; whether it was too busy is kept for callers.
fn broken(error: impl Into<Error>) -> biz::Error {
    biz::Error::store(error.into())
}
