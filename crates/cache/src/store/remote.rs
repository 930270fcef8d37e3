//! Shared entries in Redis: a hash a key, a script an operation, one round trip each.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::{COPY, Fault, Fetch, Fetched, Fill, Notice, Put, Stored, Token, Written};
use crate::redis::{Redis, Script};

/// Milliseconds of Redis' clock.
const CLOCK: &str = "local time = redis.call('TIME')\n\
                     local now = time[1] * 1000 + math.floor(time[2] / 1000)\n";
/// No length is longer than 100 years: sums stay whole numbers in Lua.
const LONGEST: u64 = 100 * 365 * 86_400_000;

/// The entries of one cache in Redis; cheap to clone. Clones know the same epoch.
#[derive(Clone, Debug)]
pub(crate) struct RedisStore {
    redis: Redis,
    /// `PREFIX:NAME`.
    name: Arc<str>,
    channel: Arc<str>,
    epoch: Arc<Epoch>,
    scripts: Arc<Scripts>,
}

/// What is known of the epoch.
#[derive(Debug, Default)]
struct Epoch {
    /// The highest that is known; 0: none.
    known: AtomicU64,
    /// Times at which a higher one may have been missed.
    doubts: AtomicU64,
    /// Of these, as many as there were when it was last asked for.
    settled: AtomicU64,
}

#[derive(Debug)]
struct Scripts {
    fetch: Script,
    fill: Script,
    release: Script,
    invalidate: Script,
    fence: Script,
    unfence: Script,
    put: Script,
    epoch: Script,
}

impl Scripts {
    fn new(clock: &str) -> Self {
        let of = |code| Script::new(&[clock, include_str!("lua/entry.lua"), code].concat());
        Self {
            fetch: of(include_str!("lua/fetch.lua")),
            fill: of(include_str!("lua/fill.lua")),
            release: of(include_str!("lua/release.lua")),
            invalidate: of(include_str!("lua/invalidate.lua")),
            fence: of(include_str!("lua/fence.lua")),
            unfence: of(include_str!("lua/unfence.lua")),
            put: of(include_str!("lua/put.lua")),
            epoch: Script::new(&[clock, include_str!("lua/epoch.lua")].concat()),
        }
    }
}

impl RedisStore {
    /// The entries of the cache `name`, which is `PREFIX:NAME`: it keys and tells nothing else.
    pub(crate) fn new(redis: Redis, name: &str) -> Self {
        Self::with_clock(redis, name, CLOCK)
    }

    fn with_clock(redis: Redis, name: &str, clock: &str) -> Self {
        Self {
            redis,
            name: name.into(),
            channel: channel(name).into(),
            epoch: Arc::default(),
            scripts: Arc::new(Scripts::new(clock)),
        }
    }

    pub(crate) async fn fetch(
        &self,
        copy: u16,
        key: &Bytes,
        ask: &Fetch,
    ) -> Result<Fetched, Fault> {
        let args = FetchArgs::new(ask);
        fetched(
            self.call(&self.scripts.fetch, copy, key, &args.all())
                .await?,
        )
    }

    pub(crate) async fn fill(
        &self,
        copy: u16,
        key: &Bytes,
        fill: &Fill<'_>,
    ) -> Result<bool, Fault> {
        let token = fill.token.0.to_string();
        let put = PutArgs::new(&fill.put());
        let [a, b, c, d, e] = put.all();
        let args = [token.as_bytes(), a, b, c, d, e, self.channel(), key];
        let answer = self.call(&self.scripts.fill, copy, key, &args).await?;
        Ok(whole(&answer)? == 1)
    }

    pub(crate) async fn release(&self, copy: u16, key: &Bytes, token: Token) -> Result<(), Fault> {
        let token = token.0.to_string();
        let args = [token.as_bytes(), self.channel(), key];
        self.call(&self.scripts.release, copy, key, &args).await?;
        Ok(())
    }

    pub(crate) async fn invalidate(
        &self,
        copy: u16,
        key: &Bytes,
        keep_stale: bool,
    ) -> Result<u16, Fault> {
        let args = [flag(keep_stale), self.channel(), key];
        let answer = self.call(&self.scripts.invalidate, copy, key, &args);
        copies(&answer.await?)
    }

    pub(crate) async fn fence(
        &self,
        copy: u16,
        key: &Bytes,
        token: Token,
        length: Duration,
    ) -> Result<u16, Fault> {
        let (token, length) = (token.0.to_string(), millis(length));
        let args = [token.as_bytes(), length.as_bytes(), self.channel(), key];
        copies(&self.call(&self.scripts.fence, copy, key, &args).await?)
    }

    pub(crate) async fn unfence(
        &self,
        copy: u16,
        key: &Bytes,
        token: Token,
        put: Option<&Put<'_>>,
    ) -> Result<Written, Fault> {
        const NOTHING: Put<'static> = Put {
            value: None,
            fresh: Duration::ZERO,
            stale: Duration::ZERO,
            load: Duration::ZERO,
        };
        let token = token.0.to_string();
        let value = PutArgs::new(put.unwrap_or(&NOTHING));
        let [a, b, c, d, e] = value.all();
        let has = flag(put.is_some());
        let args = [token.as_bytes(), has, a, b, c, d, e, self.channel(), key];
        written(&self.call(&self.scripts.unfence, copy, key, &args).await?)
    }

    pub(crate) async fn put(
        &self,
        copy: u16,
        key: &Bytes,
        put: &Put<'_>,
    ) -> Result<Written, Fault> {
        let value = PutArgs::new(put);
        let [a, b, c, d, e] = value.all();
        let args = [a, b, c, d, e, self.channel(), key];
        written(&self.call(&self.scripts.put, copy, key, &args).await?)
    }

    /// Asks for the epoch in force. Who knows a higher one than Redis does writes it back, or an
    /// older one would come to life again after a restart or a failover.
    pub(crate) async fn epoch(&self) -> Result<u64, Fault> {
        self.ask_epoch(false).await
    }

    pub(crate) async fn raise_epoch(&self) -> Result<u64, Fault> {
        self.ask_epoch(true).await
    }

    /// Another has told of this epoch.
    pub(crate) fn adopt_epoch(&self, epoch: u64) {
        self.epoch.known.fetch_max(epoch, SeqCst);
    }

    /// A higher one may have been missed: Redis is asked before anything else is.
    pub(crate) fn doubt_epoch(&self) {
        self.epoch.doubts.fetch_add(1, SeqCst);
    }

    async fn ask_epoch(&self, raise: bool) -> Result<u64, Fault> {
        let known = self.epoch.known.load(SeqCst).to_string();
        let args = [known.as_bytes(), flag(raise), self.channel()];
        let key = format!("{}!epoch", self.name);
        let answer = self
            .redis
            .call(&self.scripts.epoch, &[key.as_bytes()], &args)
            .await?;
        self.adopt_epoch(whole(&answer)?);
        Ok(self.epoch.known.load(SeqCst))
    }

    async fn known_epoch(&self) -> Result<u64, Fault> {
        let (known, doubts) = (&self.epoch.known, self.epoch.doubts.load(SeqCst));
        match known.load(SeqCst) {
            epoch if epoch > 0 && self.epoch.settled.load(SeqCst) >= doubts => Ok(epoch),
            _ => {
                let epoch = self.epoch().await?;
                self.epoch.settled.fetch_max(doubts, SeqCst);
                Ok(epoch)
            }
        }
    }

    async fn call(
        &self,
        script: &Script,
        copy: u16,
        key: &Bytes,
        args: &[&[u8]],
    ) -> Result<Value, Fault> {
        let place = self.place(copy, self.known_epoch().await?, key);
        self.redis.call(script, &[&place], args).await
    }

    /// `PREFIX:NAME:EPOCH:KEY`, of a copy `PREFIX:NAME#COPY:EPOCH:KEY`.
    fn place(&self, copy: u16, epoch: u64, key: &[u8]) -> Vec<u8> {
        let mut place = self.name.as_bytes().to_vec();
        if copy > 0 {
            place.extend_from_slice(format!("#{copy}").as_bytes());
        }
        place.extend_from_slice(format!(":{epoch}:").as_bytes());
        place.extend_from_slice(key);
        place
    }

    pub(crate) async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.channel()).arg(notice.encode());
        self.redis.run(&publish).await.map(|_| ())
    }

    fn channel(&self) -> &[u8] {
        self.channel.as_bytes()
    }

    /// The shard of Redis that this key is on.
    pub(crate) fn shard_of(&self, copy: u16, key: &[u8]) -> u16 {
        let place = self.place(copy, self.epoch.known.load(SeqCst), key);
        self.redis.shard_of(&place)
    }
}

/// Where the notices of the cache `name`, which is `PREFIX:NAME`, are published.
pub(crate) fn channel(name: &str) -> String {
    format!("{name}!")
}

struct FetchArgs {
    token: String,
    lease: String,
    early: String,
    copies: String,
    copies_for: String,
}

impl FetchArgs {
    fn new(ask: &Fetch) -> Self {
        let early = if ask.early.is_nan() { 0.0 } else { ask.early };
        Self {
            token: ask.token.0.to_string(),
            lease: millis(ask.lease),
            early: early.clamp(0.0, 1e9).to_string(),
            copies: ask.copies.to_string(),
            copies_for: millis(ask.lease.saturating_add(COPY)),
        }
    }

    fn all(&self) -> [&[u8]; 5] {
        let Self {
            token,
            lease,
            early,
            copies,
            copies_for,
        } = self;
        [token, lease, early, copies, copies_for].map(|arg| arg.as_bytes())
    }
}

struct PutArgs<'a> {
    value: Option<&'a [u8]>,
    fresh: String,
    stale: String,
    load: String,
}

impl<'a> PutArgs<'a> {
    fn new(put: &Put<'a>) -> Self {
        let load = put.load.as_micros().min(u128::from(LONGEST) * 1000);
        Self {
            value: put.value,
            fresh: millis(put.fresh),
            stale: millis(put.stale),
            load: load.to_string(),
        }
    }

    fn all(&self) -> [&[u8]; 5] {
        [
            flag(self.value.is_some()),
            self.value.unwrap_or_default(),
            self.fresh.as_bytes(),
            self.stale.as_bytes(),
            self.load.as_bytes(),
        ]
    }
}

fn flag(is: bool) -> &'static [u8] {
    if is { b"1" } else { b"0" }
}

/// Rounded up: what is not nothing does not become nothing.
fn millis(length: Duration) -> String {
    let millis = length.as_nanos().div_ceil(1_000_000);
    millis.min(u128::from(LONGEST)).to_string()
}

fn unexpected(value: &Value) -> Fault {
    let kind = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "a list of another shape",
        _ => "another type",
    };
    Fault::Unexpected(format!("a script answered {kind}").into())
}

fn whole(value: &Value) -> Result<u64, Fault> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| unexpected(value)),
        _ => Err(unexpected(value)),
    }
}

fn copies(value: &Value) -> Result<u16, Fault> {
    Ok(u16::try_from(whole(value)?).unwrap_or(u16::MAX))
}

fn written(value: &Value) -> Result<Written, Fault> {
    match value {
        Value::Array(parts) if parts.len() == 2 => Ok(Written {
            copies: copies(&parts[0])?,
            kept: whole(&parts[1])? == 1,
        }),
        _ => Err(unexpected(value)),
    }
}

fn fetched(value: Value) -> Result<Fetched, Fault> {
    let Value::Array(mut parts) = value else {
        return Err(unexpected(&value));
    };
    let (kind, left, stored) = match &mut parts[..] {
        [kind, left] => (whole(kind)?, whole(left)?, None),
        [kind, left, fresh, load, invalidated, value] => {
            let stored = Stored {
                value: match std::mem::replace(value, Value::Nil) {
                    Value::BulkString(bytes) => Some(bytes.into()),
                    Value::Nil => None,
                    other => return Err(unexpected(&other)),
                },
                fresh: Duration::from_millis(whole(fresh)?),
                load: Duration::from_micros(whole(load)?),
                invalidated: whole(invalidated)? == 1,
            };
            (whole(kind)?, whole(left)?, Some(stored))
        }
        _ => return Err(unexpected(&Value::Array(parts))),
    };
    match (kind, stored) {
        (0, Some(stored)) => Ok(Fetched::Hit(stored)),
        (1, stored) => Ok(Fetched::Granted(stored)),
        (2, stored) => Ok(Fetched::Busy {
            stored,
            left: Duration::from_millis(left),
        }),
        (3, stored) => Ok(Fetched::Fenced(stored)),
        _ => Err(unexpected(&Value::Array(parts))),
    }
}
