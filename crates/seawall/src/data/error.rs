//! How work at a database fails.

use std::io;
use std::sync::Arc;

use crate::{Advice, Reason, Rejection, Scope};

/// How work at a database fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting makes no sense.
    #[error("[data] {name}: {problem}")]
    Settings {
        /// Its name.
        name: String,
        /// What is wrong, and what may stand there.
        problem: String,
    },
    /// No lane of this name.
    #[error("no lane `{name}`: add [data.lanes.{name}], or use one of {known:?}")]
    UnknownLane {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Not even begun: every connection that it may use is taken.
    #[error("{server}, {pool}: {rejection}")]
    Rejected {
        /// Which server.
        server: Arc<str>,
        /// Which of its pools: `write`, `read`, `own-reads`, `fallback`; or that of a lane.
        pool: Arc<str>,
        /// Why, and what to do.
        rejection: Rejection,
    },
    /// No connection can be made; nothing was sent.
    #[error("{server} cannot be reached: {source}")]
    Unreachable {
        /// Which server.
        server: Arc<str>,
        /// What happened at the last try.
        source: Arc<sqlx::Error>,
    },
    /// The connection broke while the server was at work: what was sent may have been done or not.
    #[error("the connection broke: {0}")]
    Lost(#[source] sqlx::Error),
    /// The call's deadline has passed, or the statement ran for longer than one may. As in
    /// [`Lost`](Self::Lost), it may have been done.
    #[error("the deadline has passed")]
    Deadline,
    /// A deadlock or a wait for a lock ended the transaction; nothing of it was done, and the same
    /// again may well succeed.
    #[error("in conflict with another transaction: {0}")]
    Conflict(#[source] sqlx::Error),
    /// Within a transaction, another connection to the same database was asked for.
    #[error(
        "another connection was asked for within a transaction: pass the transaction on, as a \
         transaction that waits for a second connection can wait for itself"
    )]
    Nested,
    /// A migration cannot be applied.
    #[error("migration {name}: {problem}")]
    Migration {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The server has answered with an error, or its answer makes no sense.
    #[error(transparent)]
    Query(sqlx::Error),
}

/// Inside of an [`sqlx::Error`]: the deadline has passed.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(super) struct Late;

impl Error {
    pub(super) fn settings(name: &str, problem: &str) -> Self {
        Self::Settings {
            name: name.to_owned(),
            problem: problem.to_owned(),
        }
    }

    /// The rejection, if it is one: for [`reply`](crate::context::reply)s.
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        let because = |reason, scope, advice| {
            Some(Rejection {
                reason,
                scope,
                advice,
            })
        };
        match self {
            Self::Rejected { rejection, .. } => Some(*rejection),
            Self::Deadline => because(Reason::Deadline, Scope::Host, Advice::No),
            Self::Unreachable { .. } => {
                because(Reason::Unreachable, Scope::Cluster, Advice::After(RETRY))
            }
            _ => None,
        }
    }

    /// Whether there already is what was to be inserted.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        let (Self::Query(error) | Self::Conflict(error)) = self else {
            return false;
        };
        let error = error.as_database_error();
        error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }

    /// Whether there is no row where one was asked for.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Query(sqlx::Error::RowNotFound))
    }
}

/// When to come back to what cannot be reached: the pace at which it is tried.
pub(super) const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(inner) if is_late(inner) => Self::Deadline,
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Lost(error)
            }
            sqlx::Error::Database(inner) => match class(&**inner) {
                Class::Conflict | Class::Waited => Self::Conflict(error),
                Class::Late => Self::Deadline,
                Class::Ended => Self::Lost(error),
                Class::Other => Self::Query(error),
            },
            _ => Self::Query(error),
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Late>())
}

/// What a server's error means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The server has rolled the transaction back for another one.
    Conflict,
    /// A statement was given up that waited for another transaction; this one goes on.
    Waited,
    /// Ran for longer than one may.
    #[cfg_attr(
        not(feature = "mysql"),
        allow(dead_code, reason = "SQLite says no such thing")
    )]
    Late,
    /// The server ends this connection.
    Ended,
    Other,
}

pub(super) fn class(error: &dyn sqlx::error::DatabaseError) -> Class {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return match error.number() {
            // ER_LOCK_DEADLOCK, ER_CHECKREAD
            1213 | 1020 => Class::Conflict,
            // ER_LOCK_WAIT_TIMEOUT
            1205 => Class::Waited,
            // ER_STATEMENT_TIMEOUT of MariaDB, ER_QUERY_TIMEOUT of MySQL
            1969 | 3024 => Class::Late,
            // ER_SERVER_SHUTDOWN, ER_QUERY_INTERRUPTED, ER_CONNECTION_KILLED
            1053 | 1317 | 1927 => Class::Ended,
            _ => Class::Other,
        };
    }
    #[cfg(feature = "sqlite")]
    if error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        let code = error.code().and_then(|code| code.parse::<u32>().ok());
        // SQLITE_BUSY and SQLITE_LOCKED, whatever the upper bytes say of them.
        if code.is_some_and(|code| matches!(code & 0xff, 5 | 6)) {
            return Class::Waited;
        }
    }
    let _ = error;
    Class::Other
}
