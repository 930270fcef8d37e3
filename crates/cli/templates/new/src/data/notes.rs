//! Notes in the database.

use std::time::{Duration, SystemTime};

use seawall::data::{self, Database};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, Sqlite};

use crate::biz::notes::{Draft, Error, Note, Store};

/// The table `notes`. A read takes a connection that reads, a write the one that writes: with replicas,
/// too, a caller sees what he has written.
#[derive(Clone)]
pub struct Notes {
    database: Database<Sqlite>,
}

impl Notes {
    pub fn new(database: Database<Sqlite>) -> Self {
        Self { database }
    }
}

/// A note as it is kept. Not a note: what is kept may change without the business.
struct NoteRow {
    id: i64,
    title: String,
    text: String,
    written: i64,
}

impl FromRow<'_, SqliteRow> for NoteRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            title: row.try_get("title")?,
            text: row.try_get("text")?,
            written: row.try_get("written")?,
        })
    }
}

impl From<NoteRow> for Note {
    fn from(row: NoteRow) -> Self {
        let written = Duration::from_millis(row.written.try_into().unwrap_or(0));
        Self {
            id: row.id.try_into().unwrap_or(0),
            title: row.title,
            text: row.text,
            written: SystemTime::UNIX_EPOCH + written,
        }
    }
}

impl Store for Notes {
    async fn add(&self, draft: Draft, written: SystemTime) -> Result<Note, Error> {
        let insert = "INSERT INTO notes (title, text, written) VALUES (?, ?, ?) RETURNING *";
        let mut write = self.database.write().await?;
        let row = sqlx::query_as::<_, NoteRow>(insert)
            .bind(&draft.title)
            .bind(&draft.text)
            .bind(milliseconds(written))
            .fetch_one(&mut write)
            .await;
        match row.map_err(data::Error::from) {
            Ok(row) => Ok(row.into()),
            Err(error) if error.is_duplicate() => Err(Error::TitleTaken(draft.title)),
            Err(error) => Err(error.into()),
        }
    }

    async fn get(&self, id: u64) -> Result<Note, Error> {
        let mut read = self.database.read().await?;
        let row = sqlx::query_as::<_, NoteRow>("SELECT * FROM notes WHERE id = ?")
            .bind(number(id))
            .fetch_optional(&mut read)
            .await?;
        row.map(Note::from).ok_or(Error::NotFound(id))
    }

    async fn list(&self, before: u64, limit: u32) -> Result<Vec<Note>, Error> {
        let select = "SELECT * FROM notes WHERE id < ? ORDER BY id DESC LIMIT ?";
        let mut read = self.database.read().await?;
        let rows = sqlx::query_as::<_, NoteRow>(select)
            .bind(number(before))
            .bind(limit)
            .fetch_all(&mut read)
            .await?;
        Ok(rows.into_iter().map(Note::from).collect())
    }
{{#admin}}

    async fn count(&self) -> Result<u64, Error> {
        let mut read = self.database.read().await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM notes")
            .fetch_one(&mut read)
            .await?;
        Ok(count.try_into().unwrap_or(0))
    }

    async fn remove(&self, id: u64) -> Result<(), Error> {
        let mut write = self.database.write().await?;
        let done = sqlx::query("DELETE FROM notes WHERE id = ?")
            .bind(number(id))
            .execute(&mut write)
            .await?;
        match done.rows_affected() {
            0 => Err(Error::NotFound(id)),
            _ => Ok(()),
        }
    }
{{/admin}}
{{#job}}

    async fn remove_before(&self, time: SystemTime) -> Result<u64, Error> {
        let mut write = self.database.write().await?;
        let done = sqlx::query("DELETE FROM notes WHERE written < ?")
            .bind(milliseconds(time))
            .execute(&mut write)
            .await?;
        Ok(done.rows_affected())
    }
{{/job}}
}

/// SQLite has no unsigned numbers; no note has so large a one.
fn number(id: u64) -> i64 {
    id.try_into().unwrap_or(i64::MAX)
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or(Duration::ZERO).as_millis();
    since.try_into().unwrap_or(i64::MAX)
}
