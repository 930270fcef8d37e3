//! Connections to one server for one kind of work.
//!
//! The drivers' own pool would put a connection back whose statement was broken off (half an answer in
//! it), tries a refused port again and again until the time to acquire is over, and asks the server
//! twice a use whether it lives. This one takes back only what is known to be clean, fails at once what
//! cannot be reached, and asks only what has been idle for a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::Connection as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::backend::{Backend, Raw};
use super::position::Position;
use super::server::{Ended, Made, Server};
use crate::{Advice, Reason, Rejection, Scope};

/// A connection that was idle for longer is asked whether it lives.
const TRUSTED: Duration = Duration::from_secs(1);
/// Callers that wait for each connection at most: a second's worth of statements of 8 ms. What bounds
/// the wait is its time; this bounds the memory.
const WAITERS: usize = 128;

pub(super) struct Pool<DB: Backend> {
    pub(super) server: Arc<Server<DB>>,
    pub(super) name: Arc<str>,
    /// Why its rejections are.
    pub(super) reason: Reason,
    /// Its connections cannot write.
    reads: bool,
    limit: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle<DB>>>,
    waiting: AtomicUsize,
    counts: Counts,
    times: Times,
}

/// How long a pool waits and keeps.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) acquire: Duration,
    pub(super) idle: Duration,
    pub(super) lifetime: Duration,
}

#[derive(Default)]
struct Counts {
    acquired: AtomicU64,
    waited: AtomicU64,
    rejected: AtomicU64,
    opened: AtomicU64,
    ended: AtomicU64,
}

struct Idle<DB: Backend> {
    lent: Inside<DB>,
    since: Instant,
}

/// A connection and what is known of it.
pub(super) struct Inside<DB: Backend> {
    pub(super) raw: Raw<DB>,
    number: u64,
    generation: u64,
    opened: Instant,
    /// This very server, over this connection, has had it: it cannot have gone back since.
    pub(super) seen: Position,
}

/// A connection in use.
pub(super) struct Lent<DB: Backend> {
    pub(super) inside: Inside<DB>,
    permit: OwnedSemaphorePermit,
    pool: Arc<Pool<DB>>,
}

/// What a pool tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// `primary 10.0.0.1:3306`, `replica 10.0.0.2:3306`.
    pub server: Arc<str>,
    /// `write`, `read`, `own-reads`, `fallback`; of a lane, with its name and a slash in front.
    pub pool: Arc<str>,
    /// Connections at most.
    pub limit: usize,
    /// Connections in use now.
    pub in_use: usize,
    /// Connections that wait for work now.
    pub idle: usize,
    /// Callers that wait for a connection now.
    pub waiting: usize,
    /// Connections given out since the start.
    pub acquired: u64,
    /// Callers that had to wait, of these and of those turned away.
    pub waited: u64,
    /// Callers turned away.
    pub rejected: u64,
    /// Connections made.
    pub opened: u64,
    /// Connections that were ended since a statement was broken off, or they broke.
    pub ended: u64,
}

impl<DB: Backend> Pool<DB> {
    pub(super) fn new(
        server: &Arc<Server<DB>>,
        name: String,
        reads: bool,
        reason: Reason,
        limit: u32,
        times: Times,
    ) -> Arc<Self> {
        let limit = limit as usize;
        Arc::new(Self {
            server: server.clone(),
            name: name.into(),
            reason,
            reads,
            limit,
            permits: Arc::new(Semaphore::new(limit)),
            idle: Mutex::default(),
            waiting: AtomicUsize::new(0),
            counts: Counts::default(),
            times,
        })
    }

    /// A connection, by `deadline` and within the time that one may wait.
    ///
    /// Cancel-safe: a connection that is on its way goes to nobody.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<Lent<DB>, Error> {
        let now = Instant::now();
        let until = deadline.unwrap_or(now + self.times.acquire + Duration::from_secs(60));
        if until <= now {
            return Err(Error::Deadline);
        }
        let permit = self.permit(now, until).await?;
        let inside = match self.idle_one(until).await {
            Some(inside) => inside,
            None => self.open(until).await?,
        };
        self.counts.acquired.fetch_add(1, Relaxed);
        Ok(Lent {
            inside,
            permit,
            pool: self.clone(),
        })
    }

    async fn permit(&self, now: Instant, until: Instant) -> Result<OwnedSemaphorePermit, Error> {
        if self.limit == 0 {
            return Err(self.rejection(Reason::QueueFull));
        }
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        if self.waiting.load(Relaxed) > self.limit * WAITERS {
            return Err(self.rejection(Reason::QueueFull));
        }
        self.counts.waited.fetch_add(1, Relaxed);
        let limit = until.min(now + self.times.acquire);
        match timeout_at(limit, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Err(_) if limit == until => {
                self.counts.rejected.fetch_add(1, Relaxed);
                Err(Error::Deadline)
            }
            // A semaphore of ours is never closed.
            Ok(Err(_)) | Err(_) => Err(self.rejection(Reason::QueueTimeout)),
        }
    }

    fn rejection(&self, reason: Reason) -> Error {
        self.counts.rejected.fetch_add(1, Relaxed);
        let (reason, scope) = match self.reason {
            Reason::Admission => (reason, Scope::Host),
            Reason::Lane => (Reason::Lane, Scope::Route),
            kind => (kind, Scope::Cluster),
        };
        Error::Rejected {
            server: self.server.name.clone(),
            pool: self.name.clone(),
            rejection: Rejection {
                reason,
                scope,
                advice: Advice::After(self.times.acquire),
            },
        }
    }

    /// The one that was used last: it is the most likely to live, and the others get old.
    async fn idle_one(&self, until: Instant) -> Option<Inside<DB>> {
        loop {
            let Idle { mut lent, since } = self.idle.lock().pop()?;
            let now = Instant::now();
            if self.is_old(&lent, since, now) {
                continue;
            }
            if now - since < TRUSTED {
                return Some(lent);
            }
            let limit = until.min(now + TRUSTED);
            if let Ok(Ok(())) = timeout_at(limit, lent.raw.ping()).await {
                return Some(lent);
            }
            self.server.broke(lent.generation);
        }
    }

    fn is_old(&self, lent: &Inside<DB>, since: Instant, now: Instant) -> bool {
        lent.generation != self.server.generation()
            || now - since > self.times.idle
            || now - lent.opened > self.times.lifetime
    }

    async fn open(&self, until: Instant) -> Result<Inside<DB>, Error> {
        let made = self.server.connect(self.reads, until).await?;
        let Made {
            raw,
            number,
            generation,
        } = made;
        self.counts.opened.fetch_add(1, Relaxed);
        Ok(Inside {
            raw,
            number,
            generation,
            opened: Instant::now(),
            seen: Position::default(),
        })
    }

    /// Closes what nobody has used for too long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.retain(|one| !self.is_old(&one.lent, one.since, now));
    }

    pub(super) fn in_use(&self) -> usize {
        self.limit - self.permits.available_permits()
    }

    pub(super) fn stats(&self) -> PoolStats {
        let count = |count: &AtomicU64| count.load(Relaxed);
        PoolStats {
            server: self.server.name.clone(),
            pool: self.name.clone(),
            limit: self.limit,
            in_use: self.in_use(),
            idle: self.idle.lock().len(),
            waiting: self.waiting.load(Relaxed),
            acquired: count(&self.counts.acquired),
            waited: count(&self.counts.waited),
            rejected: count(&self.counts.rejected),
            opened: count(&self.counts.opened),
            ended: count(&self.counts.ended),
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<DB: Backend> Lent<DB> {
    pub(super) fn server(&self) -> &Arc<str> {
        &self.pool.server.name
    }

    pub(super) fn pool(&self) -> &Arc<str> {
        &self.pool.name
    }

    /// Nothing of it is left: another may use it.
    pub(super) fn give_back(self) {
        let idle = Idle {
            lent: self.inside,
            since: Instant::now(),
        };
        // Before the permit, or whoever gets that would open another.
        self.pool.idle.lock().push(idle);
        drop(self.permit);
    }

    /// A statement was broken off, or the connection itself.
    pub(super) fn end(self, broken: bool) {
        self.pool.counts.ended.fetch_add(1, Relaxed);
        if broken {
            self.pool.server.broke(self.inside.generation);
        }
        self.pool.server.end(Ended {
            raw: self.inside.raw,
            number: self.inside.number,
            permit: self.permit,
        });
    }
}
