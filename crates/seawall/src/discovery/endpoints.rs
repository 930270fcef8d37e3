//! What an upstream holds of its discovery.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use seawall_policy::Tick;
use seawall_sync::Snapshot;
use seawall_sync::Versioned;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::answer::{DnsError, RecordKind};
use super::endpoint::Endpoint;
use super::list::ListError;
use super::resolver::Ticks;

/// Why endpoints cannot be found, or not be found anew.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The file is refused.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: Arc<str>,
        /// What is wrong with it.
        error: ListError,
    },
    /// A name has no answer.
    #[error("{kind} records of `{name}`: {error}")]
    Dns {
        /// Which name.
        name: Arc<str>,
        /// Which of its records. Those of another kind may have come.
        kind: RecordKind,
        /// What is wrong.
        error: DnsError,
    },
    /// A service in etcd is not to be had.
    #[error("{service}: {error}")]
    Etcd {
        /// Which one.
        service: Arc<str>,
        /// What is wrong.
        error: super::etcd::Error,
    },
    /// A static list of nothing.
    #[error("the list of endpoints is empty")]
    Empty,
    /// The runtime on which it was started has ended.
    #[error("the search for endpoints ended with its runtime")]
    Ended,
}

/// The endpoints of one upstream, as they change. Made by
/// [`Discovery::start`](super::Discovery::start); dropping it ends the search.
///
/// Lists are sorted by priority, then by address, each address once; a new list is published only
/// where it differs. An upstream that resolves to nothing has an empty list, never a wait without an
/// end; one that has had endpoints keeps the last good ones for as long as no better answer comes.
#[derive(Debug)]
pub struct Endpoints {
    shared: Arc<Shared>,
    first: watch::Receiver<bool>,
    task: Option<AbortHandle>,
}

/// How a search is doing, for metrics and for people.
#[derive(Clone, Debug)]
pub struct State {
    /// How many endpoints there are.
    pub endpoints: usize,
    /// How often the list has changed.
    pub version: u64,
    /// What is wrong now: for the source, then for each name. Empty when all is well.
    pub errors: Vec<DiscoveryError>,
    /// How long there has been something wrong without a break.
    pub failing_for: Option<Duration>,
    /// How long ago the source last gave a good answer, of whatever name; none if it never has.
    pub answered: Option<Duration>,
}

/// Written by the task.
#[derive(Debug)]
pub(super) struct Shared {
    list: Snapshot<Arc<[Endpoint]>>,
    health: Mutex<Health>,
    ticks: Ticks,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    pub(super) errors: Vec<DiscoveryError>,
    pub(super) failing_since: Option<Tick>,
    pub(super) answered: Option<Tick>,
}

impl Endpoints {
    pub(super) fn new(
        shared: Arc<Shared>,
        first: watch::Receiver<bool>,
        task: Option<AbortHandle>,
    ) -> Self {
        Self {
            shared,
            first,
            task,
        }
    }

    /// The endpoints of now. Wait-free, two reference counts.
    #[must_use]
    pub fn current(&self) -> Arc<[Endpoint]> {
        Arc::clone(&self.shared.list.load())
    }

    /// The endpoints of now with their version, to pass to [`changed`](Self::changed).
    #[must_use]
    pub fn versioned(&self) -> Versioned<Arc<[Endpoint]>> {
        self.shared.list.load_versioned()
    }

    /// Waits until the version differs from `seen`, and returns the list of then; at once where it
    /// already does. Of several changes in a row only the last may be seen. Cancel-safe.
    pub async fn changed(&self, seen: u64) -> Versioned<Arc<[Endpoint]>> {
        self.shared.list.changed(seen).await
    }

    /// Waits until everything was tried once, well or not: at most for a few times
    /// [`timeout`](super::Settings::timeout), the more the more names there are. Cancel-safe.
    ///
    /// # Errors
    /// There is no endpoint: the first reason. The search goes on.
    pub async fn ready(&self) -> Result<Arc<[Endpoint]>, DiscoveryError> {
        let ended = self.first.clone().wait_for(|first| *first).await.is_err();
        let list = self.current();
        if !list.is_empty() {
            return Ok(list);
        }
        let errors = self.shared.health.lock().errors.clone();
        Err(errors.into_iter().next().unwrap_or(if ended {
            DiscoveryError::Ended
        } else {
            DiscoveryError::Empty
        }))
    }

    /// How the search is doing. Takes a lock: for metrics, not for every call.
    #[must_use]
    pub fn state(&self) -> State {
        let list = self.versioned();
        let health = self.shared.health.lock().clone();
        let now = self.shared.ticks.now();
        let since = |tick: Tick| now.since(tick);
        State {
            endpoints: list.value.len(),
            version: list.version,
            errors: health.errors,
            failing_for: health.failing_since.map(since),
            answered: health.answered.map(since),
        }
    }
}

#[cfg(test)]
impl Endpoints {
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Shared {
    pub(super) fn new(list: Vec<Endpoint>, health: Health, ticks: Ticks) -> Self {
        Self {
            list: Snapshot::new(list.into()),
            health: Mutex::new(health),
            ticks,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.load().is_empty()
    }

    /// Publishes what differs from what there is.
    pub(super) fn publish(&self, list: Vec<Endpoint>) {
        if ***self.list.load() != *list {
            self.list.store(list.into());
        }
    }

    pub(super) fn report(&self, health: Health) {
        *self.health.lock() = health;
    }
}
