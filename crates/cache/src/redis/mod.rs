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
//! connection broke under it. Here each server is a `Node` of its own, and what one of them
//! suffers the others do not notice.

mod cluster;
mod fault;
mod made;
mod node;
mod script;
mod sentinel;
mod settings;
mod slots;
mod speaker;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use redis::{Cmd, ConnectionInfo, Pipeline, Value};
use tokio::time::Instant;

use cluster::Cluster;
pub use fault::Fault;
use fault::Refusal;
use node::Node;
pub(crate) use node::Pushed;
pub(crate) use script::{Call, Script};
use sentinel::Sentinels;
use settings::{Settings, parse};
pub(crate) use speaker::Speaker;

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
pub struct Redis(Arc<Inner>);

struct Inner {
    way: Way,
    told: Told,
    settings: Settings,
}

/// How it is reached.
enum Way {
    One(Node),
    Cluster(Cluster),
}

/// What was said of how it is to be reached.
#[derive(Clone)]
enum Told {
    Single(ConnectionInfo),
    Sentinels(Sentinels),
    Cluster(Vec<ConnectionInfo>),
}

impl Redis {
    /// One server, by its URL: `redis://[user:password@]host:port[/db]`.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn single(url: &str) -> Result<Self, Fault> {
        Ok(Self::told(Told::Single(parse(url)?), Settings::default()))
    }

    /// The master that Sentinels know by this name. With a user, password or database: by a URL
    /// whose host is the name, `redis://user:password@name/db`; those in the URLs of the Sentinels
    /// are for them alone.
    ///
    /// All of them are asked whenever a connection is made, and what most say counts. After a
    /// failover, commands fail until they have agreed on the next master.
    ///
    /// # Errors
    /// A URL is none, or there is none.
    pub fn sentinel(urls: &[&str], master: &str) -> Result<Self, Fault> {
        let sentinels = Sentinels::new(urls, master)?;
        Ok(Self::told(Told::Sentinels(sentinels), Settings::default()))
    }

    /// A Cluster, by the URLs of some of its servers; the others are found through them, and logged in
    /// to as the first.
    ///
    /// # Errors
    /// A URL is none or names a database, or there is none.
    pub fn cluster(urls: &[&str]) -> Result<Self, Fault> {
        let seeds = cluster::seeds(urls)?;
        Ok(Self::told(Told::Cluster(seeds), Settings::default()))
    }

    fn told(told: Told, settings: Settings) -> Self {
        let way = match told.clone() {
            Told::Single(info) => Way::One(Node::at(info, settings)),
            Told::Sentinels(sentinels) => {
                Way::One(Node::new(sentinels.find(settings.connect), settings))
            }
            Told::Cluster(seeds) => Way::Cluster(Cluster::new(seeds, settings)),
        };
        Self(Arc::new(Inner {
            way,
            told,
            settings,
        }))
    }

    /// How long a command, or several in one piece, may take from the asking to the answer, 1 ms to
    /// an hour. Default 100 ms.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        let settings = Settings {
            command: limit,
            ..self.0.settings
        };
        Self::told(self.0.told.clone(), settings.in_range())
    }

    /// How long it may take to connect, from the search for the server to its greeting, 1 ms to an
    /// hour. Also how long a connection may leave commands unanswered before it is given up.
    /// Default 1 s.
    #[must_use]
    pub fn connect_timeout(self, limit: Duration) -> Self {
        let settings = Settings {
            connect: limit,
            ..self.0.settings
        };
        Self::told(self.0.told.clone(), settings.in_range())
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
        match self.0.way {
            Way::One(_) => 0,
            Way::Cluster(_) => slots::shard_of(key),
        }
    }

    /// Whether its keys are spread over shards, which fail apart.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.0.way, Way::Cluster(_))
    }

    /// Every server that publishes.
    pub(crate) async fn speakers(&self) -> Result<Vec<Speaker>, Fault> {
        match &self.0.way {
            Way::One(node) => Ok(vec![Speaker::new("the master".into(), node.clone())]),
            Way::Cluster(cluster) => {
                let deadline = Instant::now() + self.0.settings.connect;
                let masters = cluster.masters(deadline).await?;
                Ok(masters
                    .into_iter()
                    .map(|(name, node)| Speaker::new(name, node))
                    .collect())
            }
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.0.settings.command
    }

    // Boxed: futures within futures are deep enough above, and what is below goes over a network.
    async fn send(&self, cmd: &Cmd, deadline: Instant) -> Result<Value, Refusal> {
        match &self.0.way {
            Way::One(node) => node.one(cmd, deadline).boxed().await,
            Way::Cluster(cluster) => cluster.one(cmd, deadline).boxed().await,
        }
    }

    async fn send_many(&self, cmds: Vec<Cmd>, deadline: Instant) -> Vec<Result<Value, Refusal>> {
        match &self.0.way {
            Way::One(node) => node.many(&pipeline(cmds), deadline).boxed().await,
            Way::Cluster(cluster) => cluster.many(cmds, deadline).boxed().await,
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
    /// Addresses, and nothing else of the URLs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.0.told {
            Told::Single(info) => info.addr().to_string(),
            Told::Sentinels(sentinels) => sentinels.name(),
            Told::Cluster(seeds) => {
                let seeds: Vec<_> = seeds.iter().map(|seed| seed.addr().to_string()).collect();
                seeds.join(",")
            }
        };
        f.debug_tuple("Redis").field(&name).finish()
    }
}
