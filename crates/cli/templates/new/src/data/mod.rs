//! The ports' implementations. Rows and SQL stay in here: `biz` has objects of its own.

pub mod notes;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

use crate::biz::notes::Error;

/// The tables; each statement may run again.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS notes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    title   TEXT NOT NULL UNIQUE,
    text    TEXT NOT NULL,
    written INTEGER NOT NULL -- milliseconds since 1970
) STRICT;
CREATE INDEX IF NOT EXISTS notes_written ON notes (written);
";

/// `[data]`: where things are kept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The file of the database; made when it is not there.
    pub file: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            file: "{{name}}.db".into(),
        }
    }
}

/// Opens the database, and makes its tables.
pub async fn open(settings: &Settings) -> Result<SqlitePool, Error> {
    let options = SqliteConnectOptions::new()
        .filename(&settings.file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(1));
    let pool = SqlitePoolOptions::new().connect_with(options).await;
    let pool = pool.map_err(failed)?;
    sqlx::raw_sql(SCHEMA).execute(&pool).await.map_err(failed)?;
    Ok(pool)
}

fn failed(error: sqlx::Error) -> Error {
    Error::Store(error.into())
}
