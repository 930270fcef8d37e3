//! Redis.

use std::ops::{Deref, DerefMut};

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
        Server::start(&Recipe::redis()).map(Self)
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
