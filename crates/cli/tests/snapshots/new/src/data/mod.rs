//! The ports' implementations. Rows and SQL stay in here: `biz` has objects of its own.

pub mod notes;

use std::path::PathBuf;

use seawall::data::{self, Database};
use serde::{Deserialize, Serialize};
use sqlx::Sqlite;

use crate::biz::notes::Error;

/// The tables, step by step. Each step is applied once: a change of the tables is a step more.
const STEPS: &[(&str, &str)] = &[(
    "0001_notes",
    "CREATE TABLE notes (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        title   TEXT NOT NULL UNIQUE,
        text    TEXT NOT NULL,
        written INTEGER NOT NULL -- milliseconds since 1970
    ) STRICT;
    CREATE INDEX notes_written ON notes (written);",
)];

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
            file: "shop.db".into(),
        }
    }
}

/// Opens the database, and brings its tables up to date.
pub async fn open(settings: &Settings) -> Result<Database<Sqlite>, data::Error> {
    // In a URL these two signs mean something else.
    let file = settings.file.display().to_string();
    let file = file.replace('%', "%25").replace('?', "%3F");
    let database = Database::open(&data::Settings::new(format!("sqlite://{file}"))).await?;
    database.migrate(STEPS).await?;
    Ok(database)
}

impl From<data::Error> for Error {
    fn from(error: data::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        data::Error::from(error).into()
    }
}
