//! A connection in use.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future::BoxFuture};
use sqlx::{Either, Execute, Executor, SqlStr};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::Error;
use super::backend::Backend;
use super::error::{Class, Late, class};
use super::pool::Lent;
use super::position::Position;
use super::writers::Author;

const FOREVER: Duration = Duration::from_secs(7 * 86_400);
/// Beyond the time that the server gives a statement, until it is given up.
const GRACE: Duration = Duration::from_secs(1);

/// A connection in use, or a transaction at work on one; `&mut` of it is an [`sqlx::Executor`].
///
/// Every statement ends at the deadline of the call, with [`Error::Deadline`]. What of the answer is
/// not read by then, or when the future or stream of a statement is dropped, ends the connection and
/// the statement at the server; a whole one goes back to its pool when this is dropped.
pub struct Connection<DB: Backend> {
    /// Until the drop.
    lent: Option<Lent<DB>>,
    state: State,
}

struct State {
    /// Nothing of an earlier statement is left in it.
    clean: bool,
    /// The server has ended it, or it broke.
    broken: bool,
    /// To be closed, clean or not.
    retired: bool,
    deadline: Option<Instant>,
    /// Of one statement, whatever the deadline: a server that hangs keeps no time limit of its own.
    longest: Duration,
    /// Who is to see what is written.
    author: Option<Author>,
    transaction: Transaction,
    /// A statement was given up for another transaction.
    conflict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    /// The server has rolled it back, so that a further statement would stand alone.
    Gone,
}

impl<DB: Backend> Connection<DB> {
    pub(super) fn new(
        lent: Lent<DB>,
        deadline: Option<Instant>,
        statement_timeout: Duration,
        author: Option<Author>,
    ) -> Self {
        Self {
            lent: Some(lent),
            state: State {
                clean: true,
                broken: false,
                retired: false,
                deadline,
                longest: statement_timeout + GRACE,
                author,
                transaction: Transaction::None,
                conflict: false,
            },
        }
    }

    fn lent(&self) -> &Lent<DB> {
        self.lent.as_ref().expect("there until the drop")
    }

    /// Which server it leads to: `primary 10.0.0.1:3306`, say.
    #[must_use]
    pub fn server(&self) -> &str {
        self.lent().server()
    }

    /// Which of its pools it belongs to.
    #[must_use]
    pub fn pool(&self) -> &str {
        self.lent().pool()
    }

    /// Whether its server has `needed`; asks it where that is not known.
    pub(super) async fn has(&mut self, needed: &Position) -> Result<bool, Error> {
        if self.lent().inside.seen.covers(needed) {
            return Ok(true);
        }
        let text = self.text(DB::APPLIED).await?;
        let seen = &mut self
            .lent
            .as_mut()
            .expect("there until the drop")
            .inside
            .seen;
        seen.merge(&text.parse().unwrap_or_default());
        Ok(seen.covers(needed))
    }

    /// A command of ours, by the deadline.
    async fn bounded<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Lent<DB>) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        self.state.clean = false;
        let lent = self.lent.as_mut().expect("there until the drop");
        match timeout_at(self.state.limit(), work(lent)).await {
            Ok(Ok(value)) => {
                self.state.clean = true;
                Ok(value)
            }
            Ok(Err(error)) => {
                self.state.failed(&error);
                Err(error.into())
            }
            Err(_) => Err(Error::Deadline),
        }
    }

    pub(super) async fn command(&mut self, sql: &'static str) -> Result<(), Error> {
        self.run(sql.to_owned()).await
    }

    pub(super) async fn run(&mut self, sql: String) -> Result<(), Error> {
        self.bounded(async |lent| DB::command(&mut lent.inside.raw, sql).await)
            .await
    }

    pub(super) async fn text(&mut self, sql: &'static str) -> Result<String, Error> {
        self.text_of(sql.to_owned()).await
    }

    pub(super) async fn text_of(&mut self, sql: String) -> Result<String, Error> {
        self.bounded(async |lent| DB::text(&mut lent.inside.raw, sql).await)
            .await
    }

    /// No time limit of a statement holds any longer, and so nobody uses it after this.
    pub(super) async fn without_limit(&mut self) -> Result<(), Error> {
        self.state.retired = true;
        self.state.longest = FOREVER;
        match DB::WITHOUT_LIMIT {
            Some(sql) => self.command(sql).await,
            None => Ok(()),
        }
    }

    /// Something has been written by other means than a statement of the caller's.
    pub(super) fn wrote(&self) {
        self.state.written(Duration::ZERO);
    }

    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        self.command(DB::BEGIN).await?;
        self.state.transaction = Transaction::Open;
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        if self.state.transaction == Transaction::Gone {
            return Err(Error::Conflict(gone()));
        }
        // Whatever becomes of it from here on, it may have been done.
        self.state.transaction = Transaction::None;
        let committed = self.command("COMMIT").await;
        if committed.is_ok() {
            self.state.written(Duration::ZERO);
        }
        committed
    }

    /// Where it fails the connection is ended, which rolls back, too.
    pub(super) async fn roll_back(&mut self) {
        if self.state.clean && self.command("ROLLBACK").await.is_ok() {
            self.state.transaction = Transaction::None;
        }
    }

    /// Whether a statement, or all of the transaction, was given up for another one.
    pub(super) fn in_conflict(&self) -> bool {
        self.state.conflict
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state.broken
    }
}

fn gone() -> sqlx::Error {
    sqlx::Error::InvalidArgument("the transaction was rolled back by the server".to_owned())
}

impl State {
    fn limit(&self) -> Instant {
        let longest = Instant::now() + self.longest;
        self.deadline
            .map_or(longest, |deadline| deadline.min(longest))
    }

    fn failed(&mut self, error: &sqlx::Error) {
        match error {
            sqlx::Error::Database(inner) => {
                let class = class(&**inner);
                self.broken |= class == Class::Ended;
                self.clean = class != Class::Ended;
                self.conflict |= matches!(class, Class::Conflict | Class::Waited);
                if class == Class::Conflict && self.transaction == Transaction::Open {
                    self.transaction = Transaction::Gone;
                }
            }
            // Nothing was sent.
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => self.clean = true,
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                self.broken = true;
            }
            _ => {}
        }
    }

    /// Something may have been written; it is certain to have ended after `longest`.
    fn written(&self, longest: Duration) {
        if let Some(author) = &self.author {
            author.wrote(longest);
        }
    }

    /// A statement has ended, well or not.
    fn ended(&self) {
        if self.transaction == Transaction::None {
            self.written(Duration::ZERO);
        }
    }
}

impl<DB: Backend> Drop for Connection<DB> {
    fn drop(&mut self) {
        let Some(lent) = self.lent.take() else { return };
        let whole = self.state.clean && !self.state.broken;
        let whole = whole && self.state.transaction == Transaction::None;
        if whole && !self.state.retired {
            lent.give_back();
            return;
        }
        if !whole {
            // It may be under way still, or have been done just before the connection broke.
            self.state.written(self.state.longest);
        }
        lent.end(self.state.broken);
    }
}

impl<DB: Backend> fmt::Debug for Connection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.server())
            .field("pool", &self.pool())
            .finish_non_exhaustive()
    }
}

/// The answer to a statement, by the deadline.
struct Answer<'e, DB: Backend> {
    stream: BoxStream<'e, Item<DB>>,
    state: &'e mut State,
    late: Pin<Box<Sleep>>,
    done: bool,
}

type Item<DB> =
    Result<Either<<DB as sqlx::Database>::QueryResult, <DB as sqlx::Database>::Row>, sqlx::Error>;

impl<'e, DB: Backend> Answer<'e, DB> {
    fn new(stream: BoxStream<'e, Item<DB>>, state: &'e mut State) -> Self {
        let late = Box::pin(sleep_until(state.limit()));
        Self {
            stream,
            state,
            late,
            done: false,
        }
    }
}

impl<DB: Backend> Stream for Answer<'_, DB> {
    type Item = Item<DB>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        if this.state.transaction == Transaction::Gone {
            this.done = true;
            return Poll::Ready(Some(Err(gone())));
        }
        this.state.clean = false;
        if let Poll::Ready(item) = this.stream.poll_next_unpin(cx) {
            match &item {
                None => {
                    this.done = true;
                    this.state.clean = true;
                    this.state.ended();
                }
                Some(Err(error)) => {
                    this.done = true;
                    this.state.failed(error);
                    this.state.ended();
                }
                Some(Ok(_)) => {}
            }
            return Poll::Ready(item);
        }
        if this.late.as_mut().poll(cx).is_ready() {
            this.done = true;
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, Late);
            return Poll::Ready(Some(Err(late.into())));
        }
        Poll::Pending
    }
}

macro_rules! executor {
    ($($feature:literal $database:ty),*) => {$(
        #[cfg(feature = $feature)]
        impl<'c> Executor<'c> for &'c mut Connection<$database> {
            type Database = $database;

            fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, Item<$database>>
            where
                'c: 'e,
                E: Execute<'q, $database>,
                'q: 'e,
                E: 'q,
            {
                let lent = self.lent.as_mut().expect("there until the drop");
                let stream = (&mut lent.inside.raw).fetch_many(query);
                Answer::<$database>::new(stream, &mut self.state).boxed()
            }

            fn fetch_optional<'e, 'q, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<<$database as sqlx::Database>::Row>, sqlx::Error>>
            where
                'c: 'e,
                E: Execute<'q, $database>,
                'q: 'e,
                E: 'q,
            {
                let mut answer = self.fetch_many(query);
                Box::pin(async move {
                    let mut first = None;
                    // To its end, so that nothing of it is left when the caller goes on.
                    while let Some(item) = answer.try_next().await? {
                        if let (None, Either::Right(row)) = (&first, item) {
                            first = Some(row);
                        }
                    }
                    Ok(first)
                })
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as sqlx::Database>::TypeInfo],
            ) -> BoxFuture<'e, Result<<$database as sqlx::Database>::Statement, sqlx::Error>>
            where
                'c: 'e,
            {
                Box::pin(async move {
                    self.state.clean = false;
                    let lent = self.lent.as_mut().expect("there until the drop");
                    let prepared = (&mut lent.inside.raw).prepare_with(sql, parameters).await;
                    match &prepared {
                        Ok(_) => self.state.clean = true,
                        Err(error) => self.state.failed(error),
                    }
                    prepared
                })
            }

            fn describe<'e>(
                self,
                sql: SqlStr,
            ) -> BoxFuture<'e, Result<sqlx::Describe<$database>, sqlx::Error>>
            where
                'c: 'e,
            {
                Box::pin(async move {
                    self.state.clean = false;
                    let lent = self.lent.as_mut().expect("there until the drop");
                    let described = (&mut lent.inside.raw).describe(sql).await;
                    match &described {
                        Ok(_) => self.state.clean = true,
                        Err(error) => self.state.failed(error),
                    }
                    described
                })
            }
        }
    )*};
}

executor!("mysql" sqlx::MySql, "sqlite" sqlx::Sqlite);
