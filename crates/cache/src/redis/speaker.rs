//! A server that publishes, for who listens to it.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;

use super::Fault;
use super::fault::broken;
use super::node::{Node, Pushed};

/// A server that publishes.
pub(crate) struct Speaker {
    /// Tells it from the others of a Cluster.
    pub(crate) name: Arc<str>,
    node: Node,
}

impl Speaker {
    pub(super) fn new(name: Arc<str>, node: Node) -> Self {
        Self { name, node }
    }

    /// A connection of one's own, in RESP3: what it is sent unasked goes to `pushed`, in order with
    /// the answers to what is asked on it.
    pub(crate) async fn dial(&self, pushed: Pushed) -> Result<MultiplexedConnection, Fault> {
        Ok(self.node.dial(Some(pushed)).await?.0)
    }

    /// How long it may take to connect.
    pub(crate) fn limit(&self) -> Duration {
        self.node.limit()
    }

    pub(crate) fn fault(&self, error: &RedisError) -> Fault {
        broken(&self.name, error)
    }
}
