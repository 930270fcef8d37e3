//! Every time limit and size of the data plane, resolved once from the configuration.

use std::time::Duration;

/// What holds for every connection and request.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// A request's headers must be complete this long after their first byte.
    pub(crate) request_head: Duration,
    /// The longest pause in a request's body.
    pub(crate) request_body_idle: Duration,
    /// The longest that a client may let written bytes lie.
    pub(crate) response_write_idle: Duration,
    /// How long a connection may be without a request.
    pub(crate) idle: Duration,
    /// How long requests may still take once a drain has begun.
    pub(crate) drain: Duration,
    /// Bytes of a request's line and headers; more is answered with 431.
    pub(crate) max_head_bytes: usize,
    /// Headers of a request; more are answered with 431.
    pub(crate) max_headers: usize,
    /// Client connections over all cores.
    pub(crate) max_connections: usize,
    /// Streams at once on one HTTP/2 connection.
    pub(crate) max_streams: u32,
    /// Request bodies up to this length are collected before a place is taken.
    pub(crate) collect: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(10),
            request_body_idle: Duration::from_secs(15),
            response_write_idle: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            drain: Duration::from_secs(30),
            max_head_bytes: 32 * 1024,
            max_headers: 100,
            max_connections: 16_384,
            max_streams: 128,
            collect: 64 * 1024,
        }
    }
}
