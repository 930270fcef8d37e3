//! One server: how connections to it are made, and how those are ended that cannot be used again.
//!
//! A statement whose future is dropped runs on at the server, with its locks, and leaves half an answer
//! in the connection: whoever used that next could be given it for his own. So such a connection is
//! never used again. It is ended from the side (`KILL`), and counts in its pool until that is done, so
//! that calls given up by the hundred put no more statements on the server than its pools allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;
use super::backend::{Backend, Options, Raw};
use super::error::RETRY;
use super::settings::Settings;
use crate::Tick;
use crate::clock::Clock;

/// How long it takes to give up ending a connection from the side. The time that a statement may run
/// ends it in any case.
const KILL: Duration = Duration::from_secs(1);
/// Between tries to reach a server: doubles up to [`RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// A server, and what all pools of connections to it share.
pub(super) struct Server<DB: Backend> {
    /// `primary 10.0.0.1:3306`, say.
    pub(super) name: Arc<str>,
    pub(super) clock: Clock,
    options: Options<DB>,
    reader_options: Options<DB>,
    connect_timeout: Duration,
    statement_timeout: Duration,
    /// Idle connections of an earlier one are not used: one of that time was found broken.
    generation: AtomicU64,
    /// Nobody tries to connect before.
    closed_until: AtomicU64,
    failures: AtomicU64,
    last_error: parking_lot::Mutex<Option<Arc<sqlx::Error>>>,
    ended: mpsc::UnboundedSender<Ended<DB>>,
}

/// A connection to be ended.
pub(super) struct Ended<DB: Backend> {
    pub(super) raw: Raw<DB>,
    pub(super) number: u64,
    pub(super) permit: OwnedSemaphorePermit,
}

/// A connection just made.
pub(super) struct Made<DB: Backend> {
    pub(super) raw: Raw<DB>,
    pub(super) number: u64,
    pub(super) generation: u64,
}

impl<DB: Backend> Server<DB> {
    /// Starts a task that ends connections, for as long as the server is kept.
    pub(super) fn new(
        name: String,
        url: &super::DatabaseUrl,
        settings: &Settings,
        clock: Clock,
    ) -> Result<Arc<Self>, Error> {
        let refused = |error: sqlx::Error| Error::settings("primary, replicas", &error.to_string());
        let (ended, to_end) = mpsc::unbounded_channel();
        let server = Arc::new(Self {
            name: name.into(),
            clock,
            options: DB::options(url, settings, false).map_err(refused)?,
            reader_options: DB::options(url, settings, true).map_err(refused)?,
            connect_timeout: settings.connect_timeout,
            statement_timeout: settings.statement_timeout,
            generation: AtomicU64::new(0),
            closed_until: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_error: parking_lot::Mutex::new(None),
            ended,
        });
        tokio::spawn(end::<DB>(server.options.clone(), to_end));
        Ok(server)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// A connection broke that was made in `generation`: others of that time are not to be trusted.
    pub(super) fn broke(&self, generation: u64) {
        let _ = self
            .generation
            .compare_exchange(generation, generation + 1, Relaxed, Relaxed);
    }

    /// Ends a connection. The task is gone only with its runtime, which ends connections, too.
    pub(super) fn end(&self, ended: Ended<DB>) {
        let _ = self.ended.send(ended);
    }

    /// A connection, by `until`. While the server cannot be reached only some try, so that nobody
    /// waits for what the last one has just found out.
    pub(super) async fn connect(&self, reads: bool, until: Instant) -> Result<Made<DB>, Error> {
        if self.clock.now() < Tick(self.closed_until.load(Relaxed)) {
            return Err(self.unreachable());
        }
        let generation = self.generation();
        let limit = until.min(Instant::now() + self.connect_timeout);
        let options = if reads {
            &self.reader_options
        } else {
            &self.options
        };
        let made = timeout_at(limit, async {
            let mut raw = options.connect().await?;
            let number = DB::set_up(&mut raw, reads, self.statement_timeout).await?;
            Ok::<_, sqlx::Error>((raw, number))
        });
        match made.await {
            Ok(Ok((raw, number))) => {
                self.failures.store(0, Relaxed);
                Ok(Made {
                    raw,
                    number,
                    generation,
                })
            }
            Ok(Err(error)) => Err(self.failed(error)),
            // The caller's time is up, which says nothing of the server.
            Err(_) if limit == until => Err(Error::Deadline),
            Err(_) => Err(self.failed(sqlx::Error::PoolTimedOut)),
        }
    }

    /// A connection for asking how it is, whatever the others have found out.
    pub(super) async fn probe(&self, within: Duration) -> Option<Raw<DB>> {
        let made = timeout(within, self.options.connect()).await;
        made.ok()?.ok()
    }

    fn failed(&self, error: sqlx::Error) -> Error {
        let failures = self.failures.fetch_add(1, Relaxed).min(16) as u32;
        let wait = FIRST_RETRY.saturating_mul(1 << failures).min(RETRY);
        *self.last_error.lock() = Some(Arc::new(error));
        self.closed_until
            .store((self.clock.now() + wait).0, Relaxed);
        self.unreachable()
    }

    fn unreachable(&self) -> Error {
        let last = self.last_error.lock().clone();
        Error::Unreachable {
            server: self.name.clone(),
            source: last.unwrap_or_else(|| Arc::new(sqlx::Error::PoolTimedOut)),
        }
    }

    /// It answers again: whoever waits to try need not.
    pub(super) fn is_back(&self) {
        self.failures.store(0, Relaxed);
        self.closed_until.store(0, Relaxed);
    }
}

async fn end<DB: Backend>(options: Options<DB>, mut ended: mpsc::UnboundedReceiver<Ended<DB>>) {
    let mut killer: Option<Raw<DB>> = None;
    while let Some(first) = ended.recv().await {
        let mut batch = vec![first];
        while let Ok(more) = ended.try_recv() {
            batch.push(more);
        }
        let kills: Vec<_> = batch
            .iter()
            .filter_map(|one| DB::kill(one.number))
            .collect();
        for kill in kills {
            if !killed::<DB>(&options, &mut killer, kill).await {
                // A server that does not answer ends none of the others either.
                killer = None;
                break;
            }
        }
        for one in batch {
            let _ = timeout(KILL, one.raw.close_hard()).await;
            drop(one.permit);
        }
    }
}

async fn killed<DB: Backend>(
    options: &Options<DB>,
    killer: &mut Option<Raw<DB>>,
    kill: String,
) -> bool {
    let done = timeout(KILL, async {
        let raw = match killer.take() {
            Some(raw) => raw,
            None => options.connect().await?,
        };
        let raw = killer.insert(raw);
        match DB::command(raw, kill).await {
            // It has ended by itself.
            Err(sqlx::Error::Database(_)) => Ok(()),
            other => other,
        }
    });
    matches!(done.await, Ok(Ok(())))
}
