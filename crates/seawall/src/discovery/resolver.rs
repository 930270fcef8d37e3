//! Answers, each asked for once for all who want them.
//!
//! When an answer is to be asked for again is part of the answer, so a thousand upstreams of one
//! name wake at one time and join one flight; who comes in between is told what is known.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use seawall_policy::Tick;
use seawall_sync::Flight;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::{DnsError, Question, Record, RecordKind, Reply, Told};
use super::hosts::{Hosts, localhost};
use super::pace::{Failures, Pace};
use super::settings::{Families, Settings};

/// Questions under way at a time; the others wait their turn.
const AT_ONCE: usize = 64;
/// Beyond so many names, those are forgotten that nobody has asked for lately.
const MANY: usize = 1024;
const LATELY: Duration = Duration::from_secs(3600);

pub(super) type Looking<'a> = Pin<Box<dyn Future<Output = Result<Reply, DnsError>> + Send + 'a>>;

/// Asks DNS. Ends by itself only as a courtesy: it is dropped when the time is up.
pub(super) trait Lookup: Send + Sync + 'static {
    fn look_up<'a>(&'a self, question: &'a Question) -> Looking<'a>;
}

/// Time as the pure parts see it, by tokio's clock, which tests can pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks(Instant);

impl Ticks {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Tick {
        Tick::ZERO + Instant::now().duration_since(self.0)
    }

    pub(super) async fn until(self, tick: Tick) {
        sleep_until(self.0 + tick.since(Tick::ZERO)).await;
    }
}

/// Shared by all upstreams; cheap to clone.
#[derive(Clone)]
pub(super) struct Resolver {
    core: Arc<Core>,
    flight: Flight<Question, Told>,
}

struct Core {
    lookup: Box<dyn Lookup>,
    families: Families,
    pace: Pace,
    timeout: Duration,
    ticks: Ticks,
    hosts: Mutex<Hosts>,
    places: Semaphore,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    serial: u64,
    entries: HashMap<Question, Entry>,
}

struct Entry {
    told: Told,
    failures: Failures,
}

impl Resolver {
    pub(super) fn new(settings: &Settings, lookup: Box<dyn Lookup>) -> Self {
        let pace = Pace::new(
            settings.ttl_floor,
            settings.ttl_cap,
            settings.retry,
            settings.retry_cap,
        );
        let core = Core {
            lookup,
            families: settings.families,
            pace,
            timeout: settings.timeout,
            ticks: Ticks::start(),
            hosts: Mutex::new(Hosts::new(&settings.hosts)),
            places: Semaphore::new(AT_ONCE),
            table: Mutex::default(),
        };
        Self {
            core: Arc::new(core),
            flight: Flight::new(),
        }
    }

    pub(super) fn ticks(&self) -> Ticks {
        self.core.ticks
    }

    pub(super) fn retry_cap(&self) -> Duration {
        self.core.pace.retry_cap()
    }

    /// The kinds of address records that are wanted.
    pub(super) fn kinds(&self) -> &'static [RecordKind] {
        match self.core.families {
            Families::Both => &[RecordKind::A, RecordKind::Aaaa],
            Families::V4 => &[RecordKind::A],
            Families::V6 => &[RecordKind::Aaaa],
        }
    }

    /// What is known, if it is not time to ask again, or else what comes of asking, within the
    /// time for a question and the wait for a turn.
    ///
    /// Cancel-safe: others who wait for it drive it on.
    pub(super) async fn ask(&self, question: Question) -> Told {
        if let Some(told) = self.core.fresh(&question) {
            return told;
        }
        let core = self.core.clone();
        let asked = question.clone();
        let landed = self
            .flight
            .run(question, async move { core.learn(asked).await });
        landed.await.unwrap_or_else(|error| Told {
            serial: 0,
            reply: Err(DnsError::Failed(error.to_string())),
            good: None,
            due: self.core.ticks.now() + self.retry_cap(),
        })
    }
}

impl Core {
    fn fresh(&self, question: &Question) -> Option<Told> {
        let table = self.table.lock();
        let told = &table.entries.get(question)?.told;
        (self.ticks.now() < told.due).then(|| told.clone())
    }

    async fn learn(&self, question: Question) -> Told {
        // A flight may have landed since the caller looked.
        if let Some(told) = self.fresh(&question) {
            return told;
        }
        let reply = match self.without_dns(&question) {
            Some(reply) => Ok(reply),
            None => self.by_dns(&question).await,
        };
        self.note(question, reply, fastrand::u64(..))
    }

    fn without_dns(&self, question: &Question) -> Option<Reply> {
        if question.kind == RecordKind::Srv {
            return None;
        }
        let mut hosts = self.hosts.lock();
        let found = match localhost(&question.name, self.families) {
            Some(ip) => vec![ip],
            None => hosts.get(&question.name)?.to_vec(),
        };
        let wanted = |ip: &std::net::IpAddr| ip.is_ipv4() == (question.kind == RecordKind::A);
        let found = found.into_iter().filter(wanted);
        Some(Reply {
            records: found.map(Record::Address).collect(),
            ttl: Duration::ZERO,
        })
    }

    async fn by_dns(&self, question: &Question) -> Result<Reply, DnsError> {
        // It is never closed.
        let _place = self.places.acquire().await;
        timeout(self.timeout, self.lookup.look_up(question))
            .await
            .unwrap_or(Err(DnsError::Timeout))
    }

    fn note(&self, question: Question, reply: Result<Reply, DnsError>, random: u64) -> Told {
        let now = self.ticks.now();
        let mut table = self.table.lock();
        let old = table.entries.remove(&question);
        let (mut failures, good) =
            old.map_or_else(Default::default, |entry| (entry.failures, entry.told.good));
        let reply = reply.map(Arc::new);
        let (wait, good) = match &reply {
            Ok(reply) if !reply.records.is_empty() => {
                let wait = self.pace.after_answer(&mut failures, reply.ttl, random);
                (wait, Some(reply.clone()))
            }
            // A name that has lost its records, or has none yet, is likely to change soon.
            _ => (self.pace.after_failure(&mut failures, random), good),
        };
        table.serial += 1;
        let told = Told {
            serial: table.serial,
            reply,
            good,
            due: now + wait,
        };
        if table.entries.len() >= MANY {
            table
                .entries
                .retain(|_, entry| entry.told.due + LATELY > now);
        }
        let entry = Entry {
            told: told.clone(),
            failures,
        };
        table.entries.insert(question, entry);
        told
    }
}

/// Where the feature `dns` is off.
#[cfg(not(feature = "dns"))]
pub(super) struct NotBuilt;

#[cfg(not(feature = "dns"))]
impl Lookup for NotBuilt {
    fn look_up<'a>(&'a self, _: &'a Question) -> Looking<'a> {
        Box::pin(async { Err(DnsError::NotBuilt) })
    }
}
