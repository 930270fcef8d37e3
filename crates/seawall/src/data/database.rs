//! Where work goes: which server, which pool.

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::backend::Backend;
use super::connection::Connection;
use super::lag::History;
use super::pool::{Pool, PoolStats, Times};
use super::probe::{self, Replica};
use super::server::Server;
use super::settings::{DatabaseUrl, LaneSettings, Settings};
use super::transaction::{self, Transaction};
use super::writers::{Author, Need, Writers};
use super::{Error, Position};
use crate::Reason;
use crate::clock::Clock;
use crate::layer::context::Surroundings;

/// How often it is looked whether the replicas have answered, when a database is opened.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// A database with its replicas; cheap to clone, closed with the last clone.
///
/// Within a [transaction](Self::transaction) it gives no other connection: [`Error::Nested`].
pub struct Database<DB: Backend>(pub(super) Arc<Inner<DB>>);

pub(super) struct Inner<DB: Backend> {
    pub(super) clock: Clock,
    pub(super) primary: Arc<Server<DB>>,
    pub(super) replicas: Vec<Replica<DB>>,
    /// How far the primary was, and when.
    pub(super) history: Mutex<History>,
    default: Lane<DB>,
    lanes: BTreeMap<String, Lane<DB>>,
    writers: Arc<Writers>,
    hasher: RandomState,
    statement_timeout: Duration,
}

/// The pools of a lane.
struct Lane<DB: Backend> {
    write: Arc<Pool<DB>>,
    /// At the primary: the reads of those who have written.
    own: Arc<Pool<DB>>,
    /// At the primary: of all where it has no replicas, else while none of them will do.
    home: Arc<Pool<DB>>,
    replicas: Vec<Arc<Pool<DB>>>,
}

/// What a database tells of itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// By server and use. Where reads went is their `acquired`.
    pub pools: Vec<PoolStats>,
    /// In the order of the settings.
    pub replicas: Vec<ReplicaStats>,
}

/// What is known of a replica.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplicaStats {
    /// `replica 10.0.0.2:3306`.
    pub server: Arc<str>,
    /// How old what it shows may be; `None` while that is unknown: it is silent, or further behind
    /// than is remembered.
    pub lag: Option<Duration>,
    /// Whether it is read.
    pub used: bool,
}

impl<DB: Backend> Database<DB> {
    /// Connects to the primary, and starts to follow the replicas; for those that are not there it waits
    /// for half a second, and goes on.
    ///
    /// To be called on a runtime, which has to live for as long as this is used.
    ///
    /// # Errors
    /// A setting makes no sense, or the primary cannot be reached.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        if !DB::REPLICAS && !settings.replicas.is_empty() {
            return Err(Error::settings("replicas", "this database has none"));
        }
        let clock = Clock::system();
        let server = |kind: &str, url: &DatabaseUrl| {
            let name = format!("{kind} {}", url.place());
            Server::<DB>::new(name, url, settings, clock.clone())
        };
        let primary = server("primary", &settings.primary)?;
        let replicas: Result<Vec<_>, _> = settings
            .replicas
            .iter()
            .map(|url| server("replica", url))
            .collect();
        let replicas = replicas?;
        let lanes = Lanes {
            primary: &primary,
            replicas: &replicas,
            times: Times {
                acquire: settings.acquire_timeout,
                idle: settings.idle_timeout,
                lifetime: settings.max_lifetime,
            },
        };
        let default = lanes.lane(None, settings.lane(), None);
        let writer = DB::ONE_WRITER.then_some(&default.write);
        let named = settings.lanes.iter().map(|(name, lane)| {
            let lane = lanes.lane(Some(name), *lane, writer);
            (name.clone(), lane)
        });
        let named = named.collect();
        let inner = Inner {
            clock,
            replicas: replicas.into_iter().map(Replica::new).collect(),
            primary,
            history: Mutex::default(),
            lanes: named,
            default,
            writers: Arc::default(),
            hasher: RandomState::new(),
            statement_timeout: settings.statement_timeout,
        };
        let database = Self(Arc::new(inner));
        database.introduce(settings).await?;
        Ok(database)
    }

    async fn introduce(&self, settings: &Settings) -> Result<(), Error> {
        let mut first = self.write().acquire().await?;
        if !self.0.replicas.is_empty() {
            let logs = first.text("SELECT IF(@@log_bin, '1', '0')").await?;
            if logs != "1" || first.text(DB::WRITTEN).await.is_err() {
                return Err(Error::settings(
                    "replicas",
                    "the primary tells no GTID positions: it needs to be a MariaDB with --log-bin",
                ));
            }
        }
        drop(first);
        probe::start(&self.0, settings);
        // The first reads would all go to the primary, and most of them be refused there.
        let known = async {
            while !self.0.replicas.iter().all(Replica::is_known) {
                sleep(FIRST_LOOK).await;
            }
        };
        let _ = timeout(probe::SILENT, known).await;
        Ok(())
    }

    /// A connection to read with: `database.read().await?`.
    pub fn read(&self) -> Read<'_, DB> {
        Read {
            work: Work::new(self, false),
            after: Position::default(),
            stale: false,
            latest: false,
        }
    }

    /// A connection to write with, to the primary: `database.write().await?`. What it writes, its
    /// caller reads.
    pub fn write(&self) -> Write<'_, DB> {
        Write(Work::new(self, true))
    }

    /// Commits what `work` does when it returns `Ok`, and rolls it back when it returns `Err`,
    /// panics or is dropped. As [`Write::transaction`].
    ///
    /// # Errors
    /// Those of `work`, and of the database.
    pub async fn transaction<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&mut Connection<DB>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write().transaction(work).await
    }

    /// A transaction of its own, for ports that begin, work and commit. As [`Write::begin`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self) -> Result<Transaction<DB>, Error> {
        self.write().begin().await
    }

    /// How far a server must be to show what the caller has written: to be sent along with a message,
    /// or back to a client, for [`Read::after`] in another process. Asks the primary only where the
    /// last write is younger than the last probe.
    ///
    /// # Errors
    /// The primary cannot be reached.
    pub async fn position(&self) -> Result<Position, Error> {
        let read = self.read();
        transaction::refuse_nested(&self.0)?;
        match read.need() {
            Need::Position(position) => Ok(position),
            Need::Primary => {
                let mut connection = read.at_primary(&read.work.lane()?.own).await?;
                Ok(connection
                    .text(DB::WRITTEN)
                    .await?
                    .parse()
                    .unwrap_or_default())
            }
        }
    }

    /// Counts and gauges of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let now = self.0.clock.now();
        Stats {
            pools: self.0.pools().map(|pool| pool.stats()).collect(),
            replicas: self.0.replicas.iter().map(|one| one.stats(now)).collect(),
        }
    }
}

impl<DB: Backend> Inner<DB> {
    pub(super) fn pools(&self) -> impl Iterator<Item = &Arc<Pool<DB>>> {
        let shared = DB::ONE_WRITER.then_some(&self.default.write);
        let lanes = [&self.default].into_iter().chain(self.lanes.values());
        lanes.enumerate().flat_map(move |(i, lane)| {
            let write = (i == 0 || shared.is_none()).then_some(&lane.write);
            let reads = [&lane.own, &lane.home].into_iter().chain(&lane.replicas);
            write.into_iter().chain(reads)
        })
    }
}

/// What pools are made from.
struct Lanes<'a, DB: Backend> {
    primary: &'a Arc<Server<DB>>,
    replicas: &'a [Arc<Server<DB>>],
    times: Times,
}

impl<DB: Backend> Lanes<'_, DB> {
    fn lane(
        &self,
        name: Option<&str>,
        sizes: LaneSettings,
        writer: Option<&Arc<Pool<DB>>>,
    ) -> Lane<DB> {
        let reason = name.map_or(Reason::Admission, |_| Reason::Lane);
        let pool = |server, kind: &str, reads, reason, limit| {
            let name = name.map_or_else(|| kind.to_owned(), |name| format!("{name}/{kind}"));
            Pool::new(server, name, reads, reason, limit, self.times)
        };
        let connections = sizes.connections;
        let write = || {
            let limit = if DB::ONE_WRITER { 1 } else { connections };
            pool(self.primary, "write", false, reason, limit)
        };
        Lane {
            write: writer.cloned().unwrap_or_else(write),
            own: pool(self.primary, "own-reads", true, reason, sizes.own_reads),
            home: if self.replicas.is_empty() {
                pool(self.primary, "read", true, reason, connections)
            } else {
                pool(
                    self.primary,
                    "fallback",
                    true,
                    Reason::Gutter,
                    sizes.fallback,
                )
            },
            replicas: self
                .replicas
                .iter()
                .map(|replica| pool(replica, "read", true, reason, connections))
                .collect(),
        }
    }
}

/// Whose work it is, and in which lane.
struct Work<'a, DB: Backend> {
    database: &'a Database<DB>,
    lane: Option<&'a str>,
    /// The ambient call, once it has written.
    call: Option<u64>,
    /// The session that is stated, or the call's tenant.
    caller: Option<u64>,
    deadline: Option<Instant>,
}

impl<'a, DB: Backend> Work<'a, DB> {
    fn new(database: &'a Database<DB>, writes: bool) -> Self {
        let mut work = Self {
            database,
            lane: None,
            call: None,
            // Outside of calls all are one, so that a program that knows of none of this sees its
            // writes.
            caller: Some(0),
            deadline: None,
        };
        if let Some(around) = Surroundings::current() {
            work.deadline = database.0.clock.instant(around.call.deadline);
            work.call = writer(&around.kept.writer, writes);
            work.caller = (around.call.tenant != 0).then_some(around.call.tenant);
        }
        work
    }

    fn session(&mut self, session: impl Hash) {
        self.caller = Some(self.database.0.hasher.hash_one(session));
    }

    fn callers(&self) -> impl Iterator<Item = u64> {
        self.call.into_iter().chain(self.caller)
    }

    fn lane(&self) -> Result<&'a Lane<DB>, Error> {
        let Some(name) = self.lane else {
            return Ok(&self.database.0.default);
        };
        let lanes = &self.database.0.lanes;
        lanes.get(name).ok_or_else(|| Error::UnknownLane {
            name: name.to_owned(),
            known: lanes.keys().cloned().collect(),
        })
    }
}

/// The number of a call that writes, or has written. Not its address: the next call may have that.
fn writer(number: &AtomicU64, writes: bool) -> Option<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if writes && number.load(Relaxed) == 0 {
        let next = NEXT.fetch_add(1, Relaxed);
        // Another task of the call may have been first.
        let _ = number.compare_exchange(0, next, Relaxed, Relaxed);
    }
    Some(number.load(Relaxed)).filter(|number| *number != 0)
}

/// Work that reads. Await it for a [`Connection`]; or [`run`](Self::run) it.
#[must_use = "nothing happens unless it is awaited or run"]
pub struct Read<'a, DB: Backend> {
    work: Work<'a, DB>,
    after: Position,
    stale: bool,
    latest: bool,
}

impl<'a, DB: Backend> Read<'a, DB> {
    /// In this lane of the settings.
    pub fn lane(mut self, lane: &'a str) -> Self {
        self.work.lane = Some(lane);
        self
    }

    /// On behalf of this session, a user's id for example, in place of the ambient call's tenant.
    /// Within a process; between processes, see [`after`](Self::after).
    pub fn session(mut self, session: impl Hash) -> Self {
        self.work.session(session);
        self
    }

    /// Where what was written up to `position` is seen.
    pub fn after(mut self, position: &Position) -> Self {
        self.after.merge(position);
        self
    }

    /// Anywhere: own writes need not be seen. [`max_lag`](Settings::max_lag) still counts.
    pub fn stale(mut self) -> Self {
        self.stale = true;
        self
    }

    /// Where everything is seen that anybody has committed: at the primary, by the connections of
    /// [`own_reads`](Settings::own_reads). For what is kept elsewhere, in a cache say, where a replica's
    /// answer would outlive its lag.
    pub fn latest(mut self) -> Self {
        self.latest = true;
        self
    }

    /// Reads with `work`; once more, and elsewhere if there is an elsewhere, where the connection
    /// broke. By a single statement, or in a transaction of a snapshot's own, `work` reads one state.
    ///
    /// # Errors
    /// Those of `work`, and of the database.
    pub async fn run<T, E: From<Error>>(
        self,
        work: impl AsyncFnOnce(&mut Connection<DB>) -> Result<T, E> + Clone,
    ) -> Result<T, E> {
        let mut connection = self.acquire().await?;
        let first = work.clone()(&mut connection).await;
        if first.is_ok() || !connection.is_broken() {
            return first;
        }
        drop(connection);
        let mut connection = self.acquire().await?;
        work(&mut connection).await
    }

    fn need(&self) -> Need {
        let inner = &self.work.database.0;
        if inner.replicas.is_empty() {
            return Need::nothing();
        }
        if self.latest {
            return Need::Primary;
        }
        if self.stale {
            return Need::nothing();
        }
        let history = inner.history.lock();
        let callers = self.work.callers();
        let needs = callers.map(|caller| inner.writers.need(caller, history.last()));
        needs.fold(Need::Position(self.after.clone()), Need::and)
    }

    async fn acquire(&self) -> Result<Connection<DB>, Error> {
        transaction::refuse_nested(&self.work.database.0)?;
        let lane = self.work.lane()?;
        let need = self.need();
        if let Need::Position(needed) = &need
            && let Some(connection) = self.at_replica(lane, needed).await?
        {
            return Ok(connection);
        }
        let own = need != Need::nothing();
        self.at_primary(if own { &lane.own } else { &lane.home })
            .await
    }

    /// At the replica with the fewest connections in use, of those that will do. One that is busy
    /// is none that is lost: then its pool's answer stands.
    async fn at_replica(
        &self,
        lane: &Lane<DB>,
        needed: &Position,
    ) -> Result<Option<Connection<DB>>, Error> {
        let inner = &self.work.database.0;
        let now = inner.clock.now();
        let mut able: Vec<_> = inner
            .replicas
            .iter()
            .zip(&lane.replicas)
            .filter(|(replica, _)| replica.is_able(now, needed))
            .map(|(_, pool)| pool)
            .collect();
        able.sort_by_key(|pool| pool.in_use());
        for pool in able {
            match pool.acquire(self.work.deadline).await {
                Ok(lent) => {
                    let mut connection = self.connection(lent);
                    // What the probe found may have been another server of this name, or this one
                    // before it was set back: what counts is what this connection says.
                    if needed.is_empty() || connection.has(needed).await.unwrap_or(false) {
                        return Ok(Some(connection));
                    }
                }
                Err(Error::Unreachable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn at_primary(&self, pool: &Arc<Pool<DB>>) -> Result<Connection<DB>, Error> {
        let lent = pool.acquire(self.work.deadline).await?;
        Ok(self.connection(lent))
    }

    fn connection(&self, lent: super::pool::Lent<DB>) -> Connection<DB> {
        let timeout = self.work.database.0.statement_timeout;
        Connection::new(lent, self.work.deadline, timeout, None)
    }
}

impl<'a, DB: Backend> IntoFuture for Read<'a, DB> {
    type Output = Result<Connection<DB>, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.acquire().await })
    }
}

/// Work that writes. Await it for a [`Connection`], of which every statement commits by itself; or
/// have a [`transaction`](Self::transaction).
#[must_use = "nothing happens unless it is awaited"]
pub struct Write<'a, DB: Backend>(Work<'a, DB>);

impl<'a, DB: Backend> Write<'a, DB> {
    /// In this lane of the settings.
    pub fn lane(mut self, lane: &'a str) -> Self {
        self.0.lane = Some(lane);
        self
    }

    /// On behalf of this session, which is to see what is written; as [`Read::session`].
    pub fn session(mut self, session: impl Hash) -> Self {
        self.0.session(session);
        self
    }

    pub(super) fn inner(&self) -> &'a Arc<Inner<DB>> {
        &self.0.database.0
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    pub(super) async fn acquire(&self) -> Result<Connection<DB>, Error> {
        let inner = self.inner();
        transaction::refuse_nested(inner)?;
        let lent = self.0.lane()?.write.acquire(self.0.deadline).await?;
        // Where all read at the primary there is nothing to remember.
        let author = (!inner.replicas.is_empty()).then(|| Author {
            writers: inner.writers.clone(),
            callers: self.0.callers().collect(),
            clock: inner.clock.clone(),
        });
        let timeout = inner.statement_timeout;
        Ok(Connection::new(lent, self.0.deadline, timeout, author))
    }
}

impl<'a, DB: Backend> IntoFuture for Write<'a, DB> {
    type Output = Result<Connection<DB>, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.acquire().await })
    }
}

impl<DB: Backend> Clone for Database<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Backend> fmt::Debug for Database<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("Database")
            .field("primary", &inner.primary.name)
            .field("replicas", &inner.replicas.len())
            .finish_non_exhaustive()
    }
}

macro_rules! debug {
    ($($name:ident $field:tt),*) => {$(
        impl<DB: Backend> fmt::Debug for $name<'_, DB> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let work = &self.$field;
                f.debug_struct(stringify!($name)).field("lane", &work.lane).finish_non_exhaustive()
            }
        }
    )*};
}

debug!(Read work, Write 0);
