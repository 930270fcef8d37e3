//! Lists in Redis: a sorted set of what is known, and a hash beside it.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use seawall::clock::Clock;
use seawall_policy::Outcome;

use super::ask::{Counted, Ended, Filled, Moved, Paged, Ranked};
use super::position::Position;
use super::store::Which;
use super::wire::{self, Args};
use crate::coherence::{Coherence, Waiting};
use crate::guard::Health;
use crate::redis::{Fault, Redis, Script};
use crate::store::{Notice, Token};

/// A channel that is silent for longer is not believed to be heard.
const BOUND: Duration = Duration::from_secs(2);

pub(super) struct Shared {
    redis: Redis,
    script: Script,
    /// `PREFIX:NAME`.
    name: Bytes,
    channel: Bytes,
    coherence: Coherence,
    health: Health,
    clock: Clock,
}

impl Shared {
    pub(super) fn new(redis: Redis, name: &str, clock: Clock) -> Self {
        let channel = Bytes::from(format!("{name}!"));
        Self {
            coherence: Coherence::start(&redis, &channel, BOUND, clock.clone()),
            // By bucket throughout: of a Redis that is no Cluster, all keys are in the first.
            health: Health::new(true, clock.clone()),
            clock,
            channel,
            redis,
            script: Script::new(&wire::code()),
            name: Bytes::copy_from_slice(name.as_bytes()),
        }
    }

    /// The key of the sorted set or of the hash: the digest in braces puts both in one slot, whatever
    /// braces the list's own key has.
    fn key(&self, kind: &[u8], key: &[u8]) -> Bytes {
        let tag = format!("{{{:016x}}}:", digest(key));
        [&self.name[..], b":", kind, tag.as_bytes(), key]
            .concat()
            .into()
    }

    pub(super) fn waiting(&self, key: &[u8]) -> Waiting {
        self.coherence.waiting(&self.key(b"known", key))
    }

    /// Whether notices are heard.
    pub(super) fn hears(&self) -> bool {
        self.coherence.intact(self.clock.now())
    }

    async fn ask(
        &self,
        which: Which<'_>,
        what: &str,
        with: impl FnOnce(Args) -> Args,
    ) -> Result<Value, Fault> {
        let (members, known) = (
            self.key(b"members", which.key),
            self.key(b"known", which.key),
        );
        let notice = match what {
            "fill" | "counted" => Notice::Filled(known.clone()),
            _ => Notice::Released(known.clone()),
        };
        let notice = notice.encode().unwrap_or_default();
        let args = with(Args::new(what, which.terms, None, &self.channel, &notice));
        let keys = [&members[..], &known[..]];
        let Some(call) = self.health.call(self.redis.shard_of(&known)) else {
            return Err(Fault::Unreachable("given up until it answers again".into()));
        };
        let answer = self.redis.call(&self.script, &keys, &args.slices()).await;
        call.finish(match &answer {
            Ok(_) => Outcome::Success,
            Err(fault) if fault.is_outage() => Outcome::Failure,
            Err(_) => Outcome::Overloaded,
        });
        answer
    }

    pub(super) async fn page(
        &self,
        which: Which<'_>,
        token: Token,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Paged, Fault> {
        let asked = self.ask(which, "page", |args| {
            args.token(token).position(after).number(limit)
        });
        wire::paged(&asked.await?).ok_or_else(strange)
    }

    pub(super) async fn fill(
        &self,
        which: Which<'_>,
        token: Token,
        (items, end): (&[Position], bool),
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Filled, Fault> {
        let asked = self.ask(which, "fill", |args| {
            let args = args.token(token).number(u8::from(end));
            args.position(after).number(limit).items(items)
        });
        wire::filled(&asked.await?).ok_or_else(strange)
    }

    pub(super) async fn release(&self, which: Which<'_>, token: Token) -> Result<(), Fault> {
        let asked = self.ask(which, "release", |args| args.token(token));
        asked.await.map(drop)
    }

    pub(super) async fn count(&self, which: Which<'_>, token: Token) -> Result<Counted, Fault> {
        let asked = self.ask(which, "count", |args| args.token(token));
        wire::counted(&asked.await?).ok_or_else(strange)
    }

    pub(super) async fn fill_count(
        &self,
        which: Which<'_>,
        token: Token,
        count: u64,
    ) -> Result<(), Fault> {
        let asked = self.ask(which, "counted", |args| args.token(token).number(count));
        asked.await.map(drop)
    }

    pub(super) async fn rank(&self, which: Which<'_>, member: &Bytes) -> Result<Ranked, Fault> {
        let asked = self.ask(which, "rank", |args| args.bytes(&member[..]));
        wire::ranked(&asked.await?).ok_or_else(strange)
    }

    pub(super) async fn change(&self, which: Which<'_>, moved: &Moved) -> Result<(), Fault> {
        self.ask(which, "change", |args| args.moved(moved))
            .await
            .map(drop)
    }

    pub(super) async fn begin(
        &self,
        which: Which<'_>,
        token: Token,
        moved: &Moved,
    ) -> Result<(), Fault> {
        let asked = self.ask(which, "begin", |args| args.token(token).moved(moved));
        asked.await.map(drop)
    }

    pub(super) async fn settle(
        &self,
        which: Which<'_>,
        token: Token,
        moved: &Moved,
        ended: Ended,
    ) -> Result<(), Fault> {
        let asked = self.ask(which, "settle", |args| {
            args.token(token).moved(moved).ended(ended)
        });
        asked.await.map(drop)
    }

    pub(super) async fn invalidate(&self, which: Which<'_>) -> Result<(), Fault> {
        self.ask(which, "invalidate", |args| args).await.map(drop)
    }
}

fn strange() -> Fault {
    Fault::Unexpected("a list's script answered what it never does".into())
}

/// FNV-1a: the same in every process and version.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
