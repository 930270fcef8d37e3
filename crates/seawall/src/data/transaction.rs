//! Transactions: committed, or as if they had not been.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::Error;
use super::backend::Backend;
use super::connection::Connection;
use super::database::{Inner, Write};

/// How often a transaction is begun at most.
const ATTEMPTS: u32 = 6;
/// The longest wait before the second; doubles for each. Two that wait for one another must not meet
/// again, so the wait is by chance, from nothing on ("full jitter").
const WAIT: Duration = Duration::from_millis(5);

tokio::task_local! {
    /// The databases of the transactions that this task is in.
    static WITHIN: Vec<usize>;
}

fn within() -> Vec<usize> {
    WITHIN.try_with(Clone::clone).unwrap_or_default()
}

fn id<DB: Backend>(inner: &Arc<Inner<DB>>) -> usize {
    Arc::as_ptr(inner) as usize
}

pub(super) fn refuse_nested<DB: Backend>(inner: &Arc<Inner<DB>>) -> Result<(), Error> {
    match WITHIN.try_with(|within| within.contains(&id(inner))) {
        Ok(true) => Err(Error::Nested),
        _ => Ok(()),
    }
}

/// A transaction that is passed on and kept, as a port of the business layer needs it:
/// [`Database::begin`](super::Database::begin). `&mut *tx` is a [`Connection`].
///
/// Committed by [`commit`](Self::commit), rolled back when dropped; a statement that was broken off
/// ends the connection, too. The deadline of the call that began it holds for every statement and
/// for the commit.
///
/// Nobody but whoever holds it knows of it: another connection is not refused ([`Error::Nested`]),
/// so do not wait for one while this is held. With SQLite, that would wait for itself.
///
/// ```
/// # use seawall::data::{Database, Error};
/// # async fn example(shop: Database<sqlx::Sqlite>) -> Result<(), Error> {
/// let mut tx = shop.begin().await?;
/// sqlx::query("UPDATE stock SET left = left - 1 WHERE item = 1").execute(&mut *tx).await?;
/// tx.commit().await
/// # }
/// ```
pub struct Transaction<DB: Backend> {
    /// Until it is committed or dropped.
    connection: Option<Connection<DB>>,
}

impl<DB: Backend> Transaction<DB> {
    /// Commits. [`Error::Lost`] and [`Error::Deadline`] leave open whether it was done, as does a
    /// drop of this future.
    ///
    /// # Errors
    /// Those of the database; [`Error::Conflict`] where it was given up for another transaction.
    pub async fn commit(mut self) -> Result<(), Error> {
        let mut connection = self.connection.take().expect(HELD);
        connection.commit().await
    }

    /// Rolls back, and returns when that is done; a drop does it a little later.
    pub async fn roll_back(mut self) {
        let mut connection = self.connection.take().expect(HELD);
        connection.roll_back().await;
    }
}

const HELD: &str = "there until it is committed or dropped";

impl<DB: Backend> Deref for Transaction<DB> {
    type Target = Connection<DB>;

    fn deref(&self) -> &Connection<DB> {
        self.connection.as_ref().expect(HELD)
    }
}

impl<DB: Backend> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut Connection<DB> {
        self.connection.as_mut().expect(HELD)
    }
}

impl<DB: Backend> Drop for Transaction<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // Refusals of the business end here: a connection for each of them would be a high price.
        // Without a runtime the connection is ended, which rolls back, too.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { connection.roll_back().await });
        }
    }
}

impl<DB: Backend> fmt::Debug for Transaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transaction")
            .field(&self.connection)
            .finish()
    }
}

/// How an attempt ended.
enum Ended<T, E> {
    With(Result<T, E>),
    InConflict(E),
}

impl<DB: Backend> Write<'_, DB> {
    /// A transaction of its own, for ports that begin, work and commit. Where one function does it
    /// all, [`transaction`](Self::transaction) says more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(self) -> Result<Transaction<DB>, Error> {
        let mut connection = self.acquire().await?;
        connection.begin().await?;
        Ok(Transaction {
            connection: Some(connection),
        })
    }

    /// Commits what `work` does when it returns `Ok`, and rolls it back when it returns `Err`,
    /// panics or is dropped. It is at work on the server for no longer than the call's deadline.
    ///
    /// [`Error::Lost`] and [`Error::Deadline`] of the commit itself leave open whether it was done.
    /// After a deadlock every further statement of `work` fails: the server has rolled back what was
    /// before.
    ///
    /// # Errors
    /// Those of `work`, and of the database.
    pub async fn transaction<T, E: From<Error>>(
        self,
        work: impl AsyncFnOnce(&mut Connection<DB>) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.attempt(work).await? {
            Ended::With(done) => done,
            Ended::InConflict(error) => Err(error),
        }
    }

    /// As [`transaction`](Self::transaction); and all of it again, five times at most and within the
    /// call's deadline, where it was given up for another transaction (a deadlock, a wait for a lock
    /// that took too long). `work` must therefore change nothing but the database.
    ///
    /// ```
    /// # use seawall::data::{Database, Error};
    /// # async fn example(shop: Database<sqlx::Sqlite>, count: i64) -> Result<(), Error> {
    /// shop.write()
    ///     .transaction_with_retry(async |tx| {
    ///         let take = sqlx::query("UPDATE stock SET left = left - ? WHERE item = 1");
    ///         take.bind(count).execute(&mut *tx).await?;
    ///         Ok::<_, Error>(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `work`, and of the database.
    pub async fn transaction_with_retry<T, E: From<Error>>(
        self,
        work: impl AsyncFnOnce(&mut Connection<DB>) -> Result<T, E> + Clone,
    ) -> Result<T, E> {
        let mut longest = WAIT;
        for _ in 1..ATTEMPTS {
            let error = match self.attempt(work.clone()).await? {
                Ended::With(done) => return done,
                Ended::InConflict(error) => error,
            };
            let wait = longest.mul_f64(fastrand::f64());
            longest *= 2;
            let late = |deadline| Instant::now() + wait >= deadline;
            if self.deadline().is_some_and(late) {
                return Err(error);
            }
            sleep(wait).await;
        }
        self.transaction(work).await
    }

    async fn attempt<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&mut Connection<DB>) -> Result<T, E>,
    ) -> Result<Ended<T, E>, Error> {
        let mut connection = self.acquire().await?;
        match connection.begin().await {
            Ok(()) => {}
            Err(error @ Error::Conflict(_)) => return Ok(Ended::InConflict(error.into())),
            Err(error) => return Err(error),
        }
        let mut databases = within();
        databases.push(id(self.inner()));
        let done = WITHIN.scope(databases, work(&mut connection)).await;
        let error = match done {
            Ok(value) => match connection.commit().await {
                Ok(()) => return Ok(Ended::With(Ok(value))),
                Err(error @ Error::Conflict(_)) => {
                    return Ok(Ended::InConflict(error.into()));
                }
                Err(error) => return Err(error),
            },
            Err(error) => error,
        };
        let conflict = connection.in_conflict();
        connection.roll_back().await;
        Ok(if conflict {
            Ended::InConflict(error)
        } else {
            Ended::With(Err(error))
        })
    }
}
