//! The database of a service: SQLite where it is embedded, MariaDB where it is not.
//!
//! One set of statements serves both: a service's tables are compiled once for each (`data::sqlite`,
//! `data::mysql`), and what the two say differently is not used.

use std::future::Future;
use std::str::FromStr as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{MySql, Pool, Sqlite, Transaction};

/// Where a service keeps its rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite://FILE` or `mysql://USER:PASSWORD@HOST:PORT/NAME`.
    pub url: String,
    /// Where what only shows is read: a replica. Unless said, where it is written.
    #[serde(default)]
    pub replica: Option<String>,
    /// Connections to each, at most.
    #[serde(default = "connections")]
    pub connections: u32,
}

fn connections() -> u32 {
    8
}

impl Settings {
    /// A database at this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            replica: None,
            connections: connections(),
        }
    }

    /// Whether it is embedded: SQLite.
    #[must_use]
    pub fn embedded(&self) -> bool {
        self.url.starts_with("sqlite:")
    }
}

/// A database that this shop can be kept in.
pub trait Engine: sqlx::Database {
    /// Connects to that URL.
    fn connect(
        url: &str,
        connections: u32,
    ) -> impl Future<Output = Result<Pool<Self>, sqlx::Error>> + Send;
}

impl Engine for Sqlite {
    async fn connect(url: &str, connections: u32) -> Result<Pool<Self>, sqlx::Error> {
        // Readers and one writer at once, and no wait for the disk at each commit.
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE);
        pool(connections).connect_with(options).await
    }
}

impl Engine for MySql {
    async fn connect(url: &str, connections: u32) -> Result<Pool<Self>, sqlx::Error> {
        let options = MySqlConnectOptions::from_str(url)?;
        pool(connections).connect_with(options).await
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

fn pool<E: Engine>(connections: u32) -> PoolOptions<E> {
    let options = PoolOptions::new().max_connections(connections);
    options.acquire_timeout(PATIENCE)
}

/// Pools of connections.
#[derive(Debug)]
pub struct Database<E: Engine> {
    write: Pool<E>,
    read: Pool<E>,
}

impl<E: Engine> Clone for Database<E> {
    fn clone(&self) -> Self {
        Self {
            write: self.write.clone(),
            read: self.read.clone(),
        }
    }
}

impl<E: Engine> Database<E> {
    /// Connects.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn open(settings: &Settings) -> Result<Self, sqlx::Error> {
        let write = E::connect(&settings.url, settings.connections).await?;
        let read = match &settings.replica {
            Some(url) => E::connect(url, settings.connections).await?,
            None => write.clone(),
        };
        Ok(Self { write, read })
    }

    /// Where it is written, and read by whoever must see what was written.
    #[must_use]
    pub fn primary(&self) -> &Pool<E> {
        &self.write
    }

    /// Where it is read by whoever may see what was there a moment ago.
    #[must_use]
    pub fn replica(&self) -> &Pool<E> {
        &self.read
    }

    /// Begins to write.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn begin(&self) -> Result<Transaction<'static, E>, sqlx::Error> {
        self.write.begin().await
    }
}

/// Whether there is a row of that key already.
#[must_use]
pub fn is_taken(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// For the database, whose integers have a sign.
#[must_use]
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// From the database, of what is never below zero.
#[must_use]
pub fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// From the database, of what is small and never below zero.
#[must_use]
pub fn small(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
