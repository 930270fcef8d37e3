//! The filter that processes share: bits in Redis, in segments, and one string about generations.
//!
//! - *An answer carries its own proof.* "Never" is believed only from a segment that bears the stamp
//!   of the generation asked, by way of a script that a server forgets when it is restarted or
//!   replaced (`commands.rs`). Evicted, flushed, restored from a dump, failed over: all of them are
//!   seen with the very answer, and no clock and no heartbeat is in it.
//! - *A key goes to every generation that is written down.* Who adds one asks in the same round trip
//!   which these are, and adds it again where it did not know of one.
//! - *The old generation gets keys until its segments are gone*, so who still asks it is told the
//!   truth; who finds them gone looks which is the new one, and asks again. That is all the
//!   switching there is, and in no moment is there no filter.
//! - *The builder dies*: what it began expires; what is left is removed by the next.

mod commands;
mod layout;

use std::collections::HashSet;
use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::{Either, join, select, try_join_all};
use parking_lot::Mutex;
use seawall_sync::Snapshot;
use tokio::time::{Instant, sleep};

use self::commands::{Asked, Commands, Said};
use self::layout::{Draft, Generation, Meta};
use super::bits::hash;
use super::rebuild::{Built, FilterError, Rebuild, scan};
use super::size::{Fill, FilterSize};
use crate::Key;
use crate::redis::{Fault, Redis};

/// Between two looks for a filter while there is none.
const LOOK: Duration = Duration::from_secs(1);
/// After a fault nobody asks for so long, but one now and then.
const PAUSE: Duration = Duration::from_millis(200);
/// Keys whose adding failed, kept until Redis is back. With more, the filter is given up.
const FAILED: usize = 65_536;
/// Of these, as many at once as take a small part of any time limit.
const PART: usize = 512;
/// Who builds says so this often, and is taken for dead after [`BUILDER`].
const RENEW: Duration = Duration::from_secs(5);
const BUILDER: &str = "30000";
/// What was begun and not finished is gone after 10 min, of which a build renews it every minute.
const UNFINISHED: &str = "600000";

pub(super) struct Shared {
    commands: Commands,
    seen: Snapshot<Seen>,
    /// One looks, and others wait for what it sees.
    looking: tokio::sync::Mutex<()>,
    start: Instant,
    /// Nanoseconds after `start` before which nothing is asked.
    quiet_until: AtomicU64,
    failed: Mutex<HashSet<u64>>,
    adding: tokio::sync::Mutex<()>,
    has_failed: AtomicBool,
}

#[derive(Default)]
struct Seen {
    meta: Meta,
    now: Option<Asked>,
}

impl Seen {
    fn new(meta: Meta) -> Self {
        let now = meta.now.map(Asked::new);
        Self { meta, now }
    }

    fn stamp(&self) -> Option<u64> {
        self.now.as_ref().map(|asked| asked.generation.stamp)
    }
}

impl Shared {
    pub(super) fn new(redis: Redis, name: &str) -> Self {
        Self {
            commands: Commands::new(redis, name),
            seen: Snapshot::new(Seen::default()),
            looking: tokio::sync::Mutex::new(()),
            start: Instant::now(),
            quiet_until: AtomicU64::new(0),
            failed: Mutex::default(),
            adding: tokio::sync::Mutex::new(()),
            has_failed: AtomicBool::new(false),
        }
    }

    pub(super) async fn contains(&self, hash: u64) -> Option<bool> {
        self.contains_many(&[hash]).await.pop().flatten()
    }

    pub(super) async fn contains_many(&self, hashes: &[u64]) -> Vec<Option<bool>> {
        let mut answers = vec![None; hashes.len()];
        if !self.is_asked() {
            return answers;
        }
        if self.has_failed.load(Relaxed) && !self.add_failed().await {
            return answers;
        }
        // Again where the generation has changed under it.
        for _ in 0..8 {
            let seen = self.seen.load_full();
            let gone = match &seen.now {
                Some(asked) => self.ask(asked, hashes, &mut answers).await,
                // The first looks, and whoever comes until the next look is told that nothing is known.
                None => {
                    self.be_quiet(LOOK);
                    true
                }
            };
            if !gone || !self.look(seen.stamp()).await.unwrap_or(false) {
                break;
            }
        }
        answers
    }

    /// Whether a part of the generation is gone.
    async fn ask(&self, asked: &Asked, hashes: &[u64], answers: &mut [Option<bool>]) -> bool {
        let said = match hashes {
            [hash] => vec![self.commands.ask(asked, *hash).await],
            many => self.commands.ask_many(asked, many).await,
        };
        let mut gone = false;
        for (said, answer) in said.into_iter().zip(answers) {
            *answer = match said {
                Ok(Said::Maybe) => Some(true),
                Ok(Said::Never) => Some(false),
                Ok(Said::Gone) => {
                    gone = true;
                    None
                }
                Err(fault) => {
                    if fault.is_outage() {
                        self.be_quiet(PAUSE);
                    }
                    None
                }
            };
        }
        gone
    }

    /// Looks which generation is at work; whether it is another one than was `known`. One that was
    /// found gone and is still written down is not asked again before the next look.
    async fn look(&self, known: Option<u64>) -> Result<bool, Fault> {
        let _looking = self.looking.lock().await;
        let seen = self.seen.load().stamp();
        if seen != known {
            return Ok(seen.is_some());
        }
        let written = self.commands.meta().await;
        let written = written.inspect_err(|_| self.be_quiet(PAUSE))?;
        let mut seen = Seen::new(Meta::read(&written));
        let other = seen.stamp().is_some() && seen.stamp() != known;
        if other {
            self.quiet_until.store(0, Relaxed);
        } else {
            seen.now = None;
            self.be_quiet(LOOK);
        }
        self.seen.store(seen);
        Ok(other)
    }

    /// Adds keys to all generations there are; whoever is told of one on the way adds to it, too.
    async fn put(&self, hashes: &[u64]) -> Result<(), Fault> {
        let mut meta = self.seen.load().meta.clone();
        let mut done = Vec::new();
        for _ in 0..8 {
            let todo: Vec<Generation> = meta
                .all()
                .filter(|generation| !done.contains(&generation.stamp))
                .copied()
                .collect();
            let inserts = todo.iter().map(|into| self.commands.insert(into, hashes));
            let (inserted, told) = join(try_join_all(inserts), self.commands.meta()).await;
            inserted?;
            let told = Meta::read(&told?);
            done.extend(todo.iter().map(|generation| generation.stamp));
            if told
                .all()
                .all(|generation| done.contains(&generation.stamp))
            {
                self.note(told);
                return Ok(());
            }
            meta = told;
        }
        Err(Fault::Unexpected(
            "the filter is replaced all the time".into(),
        ))
    }

    pub(super) async fn insert(&self, hash: u64) -> Result<(), FilterError> {
        let added = self.put(&[hash]).await;
        if added.is_err() {
            let mut failed = self.failed.lock();
            if failed.len() < FAILED {
                failed.insert(hash);
            }
            self.has_failed.store(true, Relaxed);
        }
        Ok(added?)
    }

    /// Adds what could not be added; before that this process believes no "never". Whether it has.
    /// One does it at a time: from every asker, it would itself keep Redis from answering.
    async fn add_failed(&self) -> bool {
        let Ok(_adding) = self.adding.try_lock() else {
            return false;
        };
        let failed: Vec<u64> = self.failed.lock().iter().copied().collect();
        let parts = match failed.len() {
            FAILED.. => FAILED,
            _ => PART,
        };
        for part in failed.chunks(parts) {
            let added = match parts {
                FAILED => self.give_up().await,
                _ => self.put(part).await,
            };
            if added.is_err() {
                self.be_quiet(PAUSE);
                return false;
            }
            let mut still = self.failed.lock();
            for hash in part {
                still.remove(hash);
            }
            self.has_failed.store(!still.is_empty(), Relaxed);
        }
        !self.has_failed.load(Relaxed)
    }

    /// Keys are missing that nobody knows any more: there is no filter until the next rebuild.
    async fn give_up(&self) -> Result<(), Fault> {
        let written = self.commands.meta().await?;
        for generation in Meta::read(&written).all() {
            self.commands.remove(generation).await?;
        }
        // Another one's swap came between: its generation is removed the next time.
        self.commands.swap(&written, &Meta::default()).await?;
        Ok(())
    }

    fn note(&self, meta: Meta) {
        if self.seen.load().meta != meta {
            self.seen.store(Seen::new(meta));
        }
    }

    pub(super) async fn fill(&self) -> Option<Fill> {
        let written = self.commands.meta().await.ok()?;
        let now = Meta::read(&written).now?;
        let set = self.commands.count(&now).await.ok()?;
        Some(fill(&now, set))
    }

    fn is_asked(&self) -> bool {
        self.start.elapsed().as_nanos() as u64 >= self.quiet_until.load(Relaxed)
    }

    fn be_quiet(&self, time: Duration) {
        let until = (self.start.elapsed() + time).as_nanos() as u64;
        self.quiet_until.store(until, Relaxed);
    }
}

fn fill(generation: &Generation, set: u64) -> Fill {
    let bits = u64::from(generation.segments) * u64::from(generation.bits);
    Fill::of(set, bits, generation.hashes, generation.size())
}

// === building ===

impl Shared {
    pub(super) async fn rebuild<K: Key, E: Into<Box<dyn Error + Send + Sync>>, S>(
        &self,
        size: FilterSize,
        keys: impl FnOnce() -> S,
        how: Rebuild,
    ) -> Result<Built, FilterError>
    where
        S: Stream<Item = Result<K, E>>,
    {
        let token = format!("{:016x}", fastrand::u64(..));
        if !self.commands.begin(&token, BUILDER).await? {
            return Err(FilterError::UnderWay);
        }
        let generation = Generation::new(fastrand::u64(..), how.size.unwrap_or(size));
        let built = {
            let work = pin!(self.build(generation, keys, how));
            let kept = pin!(self.keep(&token, &generation));
            match select(work, kept).await {
                Either::Left((built, _)) => built,
                Either::Right((lost, _)) => Err(lost),
            }
        };
        // Both are tidiness: what fails expires, or is removed by the next.
        if built.is_err()
            && let Ok(written) = self.commands.meta().await
            && Meta::read(&written).now != Some(generation)
        {
            let _ = self.commands.remove(&generation).await;
        }
        let _ = self.commands.release(&token).await;
        built
    }

    async fn build<K: Key, E: Into<Box<dyn Error + Send + Sync>>, S>(
        &self,
        generation: Generation,
        keys: impl FnOnce() -> S,
        how: Rebuild,
    ) -> Result<Built, FilterError>
    where
        S: Stream<Item = Result<K, E>>,
    {
        let start = Instant::now();
        let now = self.tidy_up().await?;
        self.commands.create(&generation, UNFINISHED).await?;
        let meta = Meta {
            now,
            next: Some(generation),
            old: None,
        };
        let from = Meta {
            next: None,
            ..meta.clone()
        };
        let Some(written) = self.commands.swap(&from.write(), &meta).await? else {
            return Err(FilterError::Gone);
        };
        sleep(how.settle).await;
        let mut draft = Draft::new(generation);
        let keys = scan(keys(), how.rate, |key| draft.insert(hash(key))).await?;
        self.upload(&draft).await?;
        if !self.commands.seal(&generation, "0").await? {
            return Err(FilterError::Gone);
        }
        let meta = Meta {
            now: Some(generation),
            next: None,
            old: now,
        };
        if self.commands.swap(&written, &meta).await?.is_none() {
            return Err(FilterError::Gone);
        }
        self.note(meta);
        // It is at work: what fails from here on is left to the next.
        let _ = self.tidy_up().await;
        Ok(Built {
            keys,
            fill: fill(&generation, draft.set()),
            took: start.elapsed(),
        })
    }

    /// Removes generations that are no longer, or never were, at work. Returns the one that is, with
    /// nothing else written.
    async fn tidy_up(&self) -> Result<Option<Generation>, FilterError> {
        let written = self.commands.meta().await?;
        let meta = Meta::read(&written);
        for leftover in [meta.next, meta.old].iter().flatten() {
            self.commands.remove(leftover).await?;
        }
        let now = Meta {
            next: None,
            old: None,
            ..meta
        };
        match self.commands.swap(&written, &now).await? {
            Some(_) => Ok(now.now),
            None => Err(FilterError::Gone),
        }
    }

    async fn upload(&self, draft: &Draft) -> Result<(), FilterError> {
        for (segment, bits) in (0..).zip(&draft.segments) {
            let mut tries = 0;
            loop {
                let merged = self.commands.merge(&draft.generation, segment, bits).await;
                match merged {
                    Ok(true) => break,
                    Ok(false) => return Err(FilterError::Gone),
                    // Bits set twice are set: the one command here that may be sent again.
                    Err(_) if tries < 10 => tries += 1,
                    Err(fault) => return Err(fault.into()),
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Says that the build goes on, until another one has taken over.
    async fn keep(&self, token: &str, generation: &Generation) -> FilterError {
        let mut round = 0_u32;
        loop {
            sleep(RENEW).await;
            round += 1;
            // A fault is no loss yet; whoever takes over in time says otherwise.
            if let Ok(false) = self.commands.renew(token, BUILDER).await {
                return FilterError::Gone;
            }
            if round.is_multiple_of(12) {
                let _ = self.commands.seal(generation, UNFINISHED).await;
            }
        }
    }
}
