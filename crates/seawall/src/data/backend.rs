//! What databases do differently.

use std::time::Duration;

use super::settings::{DatabaseUrl, Settings};

/// A connection as it comes from the driver.
pub(super) type Raw<DB> = <DB as sqlx::Database>::Connection;
/// How one is made.
pub(super) type Options<DB> = <Raw<DB> as sqlx::Connection>::Options;

/// A database that [`Database`](super::Database) works with: `sqlx::MySql` with the feature `mysql`,
/// `sqlx::Sqlite` with `sqlite`.
pub trait Backend: sqlx::Database + sealed::Backend {}

pub(super) mod sealed {
    use super::{Options, Raw, Settings};
    use std::time::Duration;

    pub trait Backend: sqlx::Database {
        /// It can have replicas.
        const REPLICAS: bool;
        /// One writes at a time, so all lanes write through one connection.
        const ONE_WRITER: bool;
        /// Begins a transaction that writes.
        const BEGIN: &'static str;
        /// How far the primary is, and how far a replica; texts of a position.
        const WRITTEN: &'static str;
        const APPLIED: &'static str;
        /// Asks to be the one who migrates: "1" where that is granted.
        const LOCK: Option<&'static str>;
        const UNLOCK: Option<&'static str>;
        /// Lets statements run for as long as they do.
        const WITHOUT_LIMIT: Option<&'static str>;

        fn options(
            url: &super::DatabaseUrl,
            settings: &Settings,
            reads: bool,
        ) -> Result<Options<Self>, sqlx::Error>;

        /// What every connection is told first. Returns the number by which another connection ends
        /// what this one does, or 0.
        fn set_up(
            raw: &mut Raw<Self>,
            reads: bool,
            longest: Duration,
        ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

        /// A statement without arguments or answer.
        fn command(
            raw: &mut Raw<Self>,
            sql: String,
        ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

        /// The answer's one text.
        fn text(
            raw: &mut Raw<Self>,
            sql: String,
        ) -> impl Future<Output = Result<String, sqlx::Error>> + Send;

        /// Ends a connection and what it does; `None` where closing it does.
        fn kill(number: u64) -> Option<String>;
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use std::str::FromStr as _;

    use super::*;
    use sqlx::mysql::{MySql, MySqlConnectOptions};
    use sqlx::{AssertSqlSafe, Executor as _};

    impl Backend for MySql {}

    impl sealed::Backend for MySql {
        const REPLICAS: bool = true;
        const ONE_WRITER: bool = false;
        const BEGIN: &'static str = "BEGIN";
        const WRITTEN: &'static str = "SELECT @@gtid_binlog_pos";
        const APPLIED: &'static str = "SELECT @@gtid_slave_pos";
        const LOCK: Option<&'static str> =
            Some("SELECT CAST(get_lock('seawall_migrations', 10) AS CHAR)");
        const WITHOUT_LIMIT: Option<&'static str> =
            Some("SET @seawall = 1 /*M! , SESSION max_statement_time = 0 */");
        const UNLOCK: Option<&'static str> = Some("DO release_lock('seawall_migrations')");

        fn options(
            url: &DatabaseUrl,
            _settings: &Settings,
            _reads: bool,
        ) -> Result<MySqlConnectOptions, sqlx::Error> {
            MySqlConnectOptions::from_str(url.reveal())
        }

        async fn set_up(
            raw: &mut Raw<Self>,
            reads: bool,
            longest: Duration,
        ) -> Result<u64, sqlx::Error> {
            // Of MySQL, which has it for reads alone, this sets nothing that matters.
            let set = format!(
                "SET @seawall = 1 /*M! , SESSION max_statement_time = {:.3} */",
                longest.as_secs_f64()
            );
            Self::command(raw, set).await?;
            if reads {
                let only = "SET SESSION TRANSACTION READ ONLY";
                Self::command(raw, only.to_owned()).await?;
            }
            sqlx::query_scalar("SELECT CAST(connection_id() AS UNSIGNED)")
                .fetch_one(raw)
                .await
        }

        async fn command(raw: &mut Raw<Self>, sql: String) -> Result<(), sqlx::Error> {
            raw.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
            Ok(())
        }

        async fn text(raw: &mut Raw<Self>, sql: String) -> Result<String, sqlx::Error> {
            let text: Option<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(raw)
                .await?;
            Ok(text.unwrap_or_default())
        }

        fn kill(number: u64) -> Option<String> {
            Some(format!("KILL {number}"))
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::str::FromStr as _;

    use super::*;
    use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    use sqlx::{AssertSqlSafe, Executor as _};

    impl Backend for Sqlite {}

    impl sealed::Backend for Sqlite {
        const REPLICAS: bool = false;
        const ONE_WRITER: bool = true;
        // Else two readers that both go on to write fail one another at once.
        const BEGIN: &'static str = "BEGIN IMMEDIATE";
        const WRITTEN: &'static str = "SELECT ''";
        const APPLIED: &'static str = "SELECT ''";
        // The transaction that a migration runs in is one.
        const LOCK: Option<&'static str> = None;
        const UNLOCK: Option<&'static str> = None;
        const WITHOUT_LIMIT: Option<&'static str> = None;

        fn options(
            url: &DatabaseUrl,
            settings: &Settings,
            reads: bool,
        ) -> Result<SqliteConnectOptions, sqlx::Error> {
            let url = url.reveal();
            if url.contains(":memory:") || url.contains("mode=memory") {
                let problem = "each connection would have a database of its own: use a file, in a \
                               temporary directory perhaps";
                return Err(sqlx::Error::Configuration(problem.into()));
            }
            let options = SqliteConnectOptions::from_str(url)?
                .create_if_missing(true)
                .foreign_keys(true)
                .journal_mode(SqliteJournalMode::Wal)
                // With a log this loses nothing when the process dies, and the last commits when the
                // machine does.
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(settings.acquire_timeout);
            Ok(if reads {
                options.pragma("query_only", "ON")
            } else {
                options
            })
        }

        async fn set_up(_: &mut Raw<Self>, _: bool, _: Duration) -> Result<u64, sqlx::Error> {
            Ok(0)
        }

        async fn command(raw: &mut Raw<Self>, sql: String) -> Result<(), sqlx::Error> {
            raw.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
            Ok(())
        }

        async fn text(raw: &mut Raw<Self>, sql: String) -> Result<String, sqlx::Error> {
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(raw).await
        }

        fn kill(_: u64) -> Option<String> {
            None
        }
    }
}
