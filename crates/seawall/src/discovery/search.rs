//! The task behind one upstream's endpoints.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Tick;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

use super::answer::{DnsError, Question, RecordKind, Told};
use super::board::Board;
use super::endpoints::{DiscoveryError, Health, Shared};
use super::etcd;
use super::filed::Filed;
use super::list::{self, ListError};
use super::resolver::Resolver;
use super::target::Target;

/// Where targets come from besides what the board already has.
pub(super) enum Feed {
    None,
    File(FileFeed),
    Srv {
        name: Arc<str>,
        due: Tick,
    },
    #[cfg(feature = "etcd")]
    Etcd(etcd::Feed),
    #[cfg(not(feature = "etcd"))]
    NotBuilt,
}

#[derive(Debug)]
pub(super) struct FileFeed {
    pub(super) file: Filed,
    pub(super) every: Duration,
    pub(super) due: Tick,
}

/// Looks for the endpoints of one source until it is dropped.
pub(super) struct Search {
    pub(super) board: Board,
    pub(super) feed: Feed,
    pub(super) resolver: Resolver,
    pub(super) shared: Arc<Shared>,
    pub(super) first: watch::Sender<bool>,
    pub(super) health: Health,
    /// When each name is asked for again.
    pub(super) due: BTreeMap<Arc<str>, Tick>,
    /// By name; of the source itself under none.
    pub(super) errors: BTreeMap<Option<Arc<str>>, DiscoveryError>,
    /// What the source is called in messages.
    pub(super) source: Arc<str>,
}

impl Search {
    pub(super) async fn run(mut self) {
        let ticks = self.resolver.ticks();
        loop {
            self.feed().await;
            self.names().await;
            self.shared.publish(self.board.endpoints());
            self.report();
            self.first.send_replace(true);
            let next = self.due.values().copied().min().unwrap_or(Tick::MAX);
            let next = match &mut self.feed {
                Feed::File(feed) => next.min(feed.due),
                Feed::Srv { due, .. } => next.min(*due),
                #[cfg(feature = "etcd")]
                Feed::Etcd(feed) => {
                    // Whichever comes first.
                    let wait = next.since(ticks.now());
                    let _ = tokio::time::timeout(wait, feed.changed()).await;
                    continue;
                }
                #[cfg(not(feature = "etcd"))]
                Feed::NotBuilt => return,
                Feed::None => next,
            };
            if next == Tick::MAX {
                return;
            }
            ticks.until(next).await;
        }
    }

    /// Brings the targets up to date, if it is time.
    async fn feed(&mut self) {
        let ticks = self.resolver.ticks();
        match &mut self.feed {
            Feed::File(feed) if feed.due <= ticks.now() => {
                let (file, every) = (
                    std::mem::replace(&mut feed.file, Filed::new("")),
                    feed.every,
                );
                // A disk may be slow, or across a network.
                let read = spawn_blocking(move || look_at(file)).await;
                let now = ticks.now();
                let Ok((file, targets)) = read else {
                    return;
                };
                let path: Arc<str> = file.path().display().to_string().into();
                let due = now + every;
                self.feed = Feed::File(FileFeed { file, every, due });
                if let Some(targets) = targets {
                    self.file(&path, targets, now);
                }
            }
            Feed::Srv { name, due } if *due <= ticks.now() => {
                let name = name.clone();
                let kind = RecordKind::Srv;
                let question = Question { name, kind };
                let told = self.resolver.ask(question.clone()).await;
                *due = told.due;
                let now = ticks.now();
                let taken = self.board.services(&told, now);
                self.note(None, &question.name, taken.error);
                if taken.good {
                    self.health.answered = Some(now);
                }
            }
            #[cfg(feature = "etcd")]
            Feed::Etcd(feed) => {
                let told = feed.now().await;
                self.board.set_targets(feed.targets(&told));
                self.health.answered = told.answered;
                self.etcd(told.error);
            }
            #[cfg(not(feature = "etcd"))]
            Feed::NotBuilt => self.etcd(Some(etcd::Error::NotBuilt)),
            _ => {}
        }
    }

    fn etcd(&mut self, error: Option<etcd::Error>) {
        let service = self.source.clone();
        let error = error.map(|error| DiscoveryError::Etcd { service, error });
        self.stands(None, error);
    }

    fn file(&mut self, path: &Arc<str>, targets: Result<Vec<Target>, ListError>, now: Tick) {
        let error = match targets {
            Ok(targets) => {
                self.board.set_targets(targets);
                self.health.answered = Some(now);
                None
            }
            Err(error) => Some(DiscoveryError::File {
                path: path.clone(),
                error,
            }),
        };
        self.stands(None, error);
    }

    /// Asks for all names whose time has come, all at once.
    async fn names(&mut self) {
        let now = self.resolver.ticks().now();
        let wanted: Vec<Arc<str>> = self.board.names().cloned().collect();
        self.due.retain(|name, _| wanted.contains(name));
        self.errors
            .retain(|name, _| name.as_ref().is_none_or(|name| wanted.contains(name)));
        let mut asking = JoinSet::new();
        for name in wanted {
            match self.due.entry(name.clone()) {
                Entry::Occupied(due) if *due.get() > now => continue,
                // Should an answer get lost, it is asked for again after this.
                due => drop(due.insert_entry(now + self.resolver.retry_cap())),
            }
            for kind in self.resolver.kinds() {
                let (resolver, name, kind) = (self.resolver.clone(), name.clone(), *kind);
                let question = Question { name, kind };
                asking.spawn(async move { (question.clone(), resolver.ask(question).await) });
            }
        }
        let kinds = self.resolver.kinds().len();
        let mut told: BTreeMap<Arc<str>, Vec<(RecordKind, Told)>> = BTreeMap::new();
        while let Some(answer) = asking.join_next().await {
            let Ok((Question { name, kind }, answer)) = answer else {
                continue;
            };
            let families = told.entry(name.clone()).or_default();
            families.push((kind, answer));
            if families.len() == kinds {
                let mut families = std::mem::take(families);
                families.sort_by_key(|(kind, _)| *kind);
                self.addresses(&name, &families);
            }
        }
    }

    fn addresses(&mut self, name: &Arc<str>, told: &[(RecordKind, Told)]) {
        let now = self.resolver.ticks().now();
        let taken = self.board.addresses(name, told, now);
        if let Some(due) = told.iter().map(|(_, told)| told.due).min() {
            self.due.insert(name.clone(), due);
        }
        if taken.good {
            self.health.answered = Some(now);
        }
        self.note(Some(name.clone()), name, taken.error);
        // Who has nothing does not wait for the slowest name; who has something keeps the names
        // that a new list has brought from pushing the old ones out before they are known.
        if self.shared.is_empty() {
            self.shared.publish(self.board.endpoints());
        }
    }

    fn note(
        &mut self,
        subject: Option<Arc<str>>,
        name: &Arc<str>,
        error: Option<(RecordKind, DnsError)>,
    ) {
        let error = error.map(|(kind, error)| DiscoveryError::Dns {
            name: name.clone(),
            kind,
            error,
        });
        self.stands(subject, error);
    }

    /// Says once that something goes wrong, and once that it is well again.
    fn stands(&mut self, subject: Option<Arc<str>>, error: Option<DiscoveryError>) {
        let source = &*self.source;
        match error {
            Some(error) => {
                let shown = error.to_string();
                let before = self.errors.insert(subject, error);
                if before.is_none_or(|before| before.to_string() != shown) {
                    tracing::warn!(
                        source,
                        error = shown,
                        "endpoints cannot be found; what is known stays in use"
                    );
                }
            }
            None => {
                if self.errors.remove(&subject).is_some() {
                    tracing::info!(source, "endpoints are found again");
                }
            }
        }
    }

    fn report(&mut self) {
        let now = self.resolver.ticks().now();
        self.health.errors = self.errors.values().cloned().collect();
        self.health.failing_since = match self.health.errors.is_empty() {
            true => None,
            false => self.health.failing_since.or(Some(now)),
        };
        self.shared.report(self.health.clone());
    }
}

/// The targets of a file, where it has changed. One that is refused is looked at again.
fn look_at(mut file: Filed) -> (Filed, Option<Result<Vec<Target>, ListError>>) {
    let targets = file.has_changed().then(|| list::read(file.path()));
    (file, targets)
}
