//! Redis: the real one, alone or several, and one that says what a test tells it to.

mod ask;
mod fake;
mod fleet;

use std::ops::{Deref, DerefMut};

pub use fake::{FakeRedis, FakeReply};
pub use fleet::{RedisCluster, RedisFailover};

use crate::{Error, Recipe, Server};

/// A Redis of one's own. What it has acknowledged is there again after
/// [`kill`](Server::kill) and [`restart`](Server::restart).
///
/// ```
/// # fn main() -> Result<(), seawall_testkit::Error> {
/// let mut redis = seawall_testkit::Redis::start()?;
/// assert!(redis.url().starts_with("redis://127.0.0.1:"));
/// redis.restart()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Redis(Server);

impl Redis {
    /// Starts it. Blocks the thread for some ten milliseconds.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, Error> {
        Self::of(&Recipe::redis())
    }

    fn of(recipe: &Recipe) -> Result<Self, Error> {
        Server::start(recipe).map(Self)
    }

    /// From now on it refuses writes for want of memory (`OOM`), and evicts nothing.
    ///
    /// # Errors
    /// It does not answer.
    pub fn exhaust(&self) -> Result<(), Error> {
        self.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])?;
        self.ask(&["CONFIG", "SET", "maxmemory", "1"]).map(drop)
    }

    /// It has memory again.
    ///
    /// # Errors
    /// It does not answer.
    pub fn relieve(&self) -> Result<(), Error> {
        self.ask(&["CONFIG", "SET", "maxmemory", "0"]).map(drop)
    }

    /// Runs one command, on a connection of its own, and tells what was answered: an array an element a
    /// line, nothing as an empty text. Blocks the thread, for 10 s at most.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
    pub fn ask(&self, command: &[&str]) -> Result<String, Error> {
        ask::ask(self.address(), command)
    }

    /// Its URL: `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}
