//! Connections to Redis: a single one, one behind Sentinels, a Cluster.
//!
//! What a cache needs of them is not what a database needs. A command that fails is no disaster, and
//! one that hangs is: so each has a hard time limit, from the asking to the answer with whatever
//! connecting there is in it, and none is sent again. (What a server has refused without doing it is:
//! a script it does not know, a slot that has moved. Each once, within the same limit.) Nothing is
//! connected before it is wanted; a connection that breaks is made anew by the next command, and
//! while attempts fail, commands fail at once and not after a time limit each.
//!
//! redis-rs carries the bytes: its multiplexed connection, on which many commands are under way at
//! once. What it has on top of that is made for other ends. Its `ConnectionManager` lets commands
//! wait for a reconnection, and its Cluster connection stands still for all shards while it asks
//! for a new map, dials a dead node again and again within it, and sends a command again after the
//! connection broke under it. Here each server is a [`Node`](node) of its own, and what one of them
//! suffers the others do not notice.

mod fault;
mod made;
mod node;
mod script;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

pub use fault::Fault;
use fault::Refusal;
use node::Node;
pub(crate) use script::{Call, Script};
use settings::{Settings, parse};

/// A Redis 7.0 or later; cheap to clone. Connects when it is first used, and again whenever it has to.
///
/// ```
/// use std::time::Duration;
///
/// use seawall_cache::redis::Redis;
///
/// # fn main() -> Result<(), seawall_cache::redis::Fault> {
/// let redis = Redis::single("redis://:secret@127.0.0.1:6379")?
///     .timeout(Duration::from_millis(50));
/// assert_eq!(format!("{redis:?}"), r#"Redis("127.0.0.1:6379")"#);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Redis {
    kind: Kind,
    settings: Settings,
    /// For people: no secrets.
    name: Arc<str>,
}

#[derive(Clone)]
enum Kind {
    One(Node),
}

impl Redis {
    /// One server, by its URL: `redis://[user:password@]host:port[/db]`.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn single(url: &str) -> Result<Self, Fault> {
        let info = parse(url)?;
        let settings = Settings::default();
        Ok(Self {
            name: info.addr().to_string().into(),
            kind: Kind::One(Node::at(info, settings)),
            settings,
        })
    }

    /// How long a command, or several in one piece, may take from the asking to the answer.
    /// Default 100 ms.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.command = limit;
        self
    }

    /// Runs one command. Cancel-safe in that nothing breaks; whether it is carried out is open then.
    pub(crate) async fn run(&self, cmd: &Cmd) -> Result<Value, Fault> {
        self.send(cmd, self.deadline())
            .await
            .map_err(Refusal::fault)
    }

    /// Runs commands in one piece, in order by server; an answer for each.
    pub(crate) async fn run_many(&self, cmds: Vec<Cmd>) -> Vec<Result<Value, Fault>> {
        let answers = self.send_many(cmds, self.deadline()).await;
        answers
            .into_iter()
            .map(|answer| answer.map_err(Refusal::fault))
            .collect()
    }

    /// Runs a script. Where the server does not know it, it is sent with its code.
    pub(crate) async fn call(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value, Fault> {
        let deadline = self.deadline();
        let call = Call { keys, args };
        let mut answer = self.send(&script.by_sha(&call), deadline).await;
        if matches!(answer, Err(Refusal::NoScript)) {
            answer = self.send(&script.with_code(&call), deadline).await;
        }
        answer.map_err(Refusal::fault)
    }

    /// Runs a script many times in one piece; an answer for each.
    pub(crate) async fn call_many(
        &self,
        script: &Script,
        calls: &[Call<'_>],
    ) -> Vec<Result<Value, Fault>> {
        let deadline = self.deadline();
        let cmds = calls.iter().map(|call| script.by_sha(call)).collect();
        let mut answers = self.send_many(cmds, deadline).await;
        let unknown: Vec<usize> = (0..answers.len())
            .filter(|&at| matches!(answers[at], Err(Refusal::NoScript)))
            .collect();
        if !unknown.is_empty() {
            // With its code each time: which of them are one server's is not known here, and it
            // happens once in a server's life.
            let cmds = unknown
                .iter()
                .map(|&at| script.with_code(&calls[at]))
                .collect();
            let again = self.send_many(cmds, deadline).await;
            for (at, answer) in unknown.into_iter().zip(again) {
                answers[at] = answer;
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.map_err(Refusal::fault))
            .collect()
    }

    /// Which shard a key belongs to, for whoever keeps account of what fails: one of 64 ranges of a
    /// Cluster's slots, and 0 for all keys of a Redis that is no Cluster.
    pub(crate) fn shard_of(&self, key: &[u8]) -> u16 {
        let _ = key;
        0
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.settings.command)
            .unwrap_or_else(|| now + Duration::from_secs(86_400))
    }

    async fn send(&self, cmd: &Cmd, deadline: Instant) -> Result<Value, Refusal> {
        match &self.kind {
            Kind::One(node) => node.one(cmd, deadline).await,
        }
    }

    async fn send_many(&self, cmds: Vec<Cmd>, deadline: Instant) -> Vec<Result<Value, Refusal>> {
        match &self.kind {
            Kind::One(node) => node.many(&pipeline(cmds), deadline).await,
        }
    }
}

fn pipeline(cmds: Vec<Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(cmds.len());
    for cmd in cmds {
        pipeline.add_command(cmd);
    }
    pipeline
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.name).finish()
    }
}
