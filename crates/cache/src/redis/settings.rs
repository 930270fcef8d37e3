//! Time limits, and URLs with what may be told of them.

use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use super::Fault;

/// Time limits of a [`Redis`](super::Redis).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// From asking to the answer.
    pub(super) command: Duration,
    /// From the attempt to a connection that is greeted.
    pub(super) connect: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            command: Duration::from_millis(100),
            connect: Duration::from_secs(1),
        }
    }
}

impl Settings {
    /// With every value that is out of range taken for the nearest one in range.
    pub(super) fn in_range(self) -> Self {
        let range =
            |limit: Duration| limit.clamp(Duration::from_millis(1), Duration::from_secs(3_600));
        Self {
            command: range(self.command),
            connect: range(self.connect),
        }
    }
}

/// Where a URL leads to. What is wrong with it is told without it, for it may hold a password.
pub(super) fn parse(url: &str) -> Result<ConnectionInfo, Fault> {
    let info = url
        .into_connection_info()
        .map_err(|_| Fault::Url("it does not parse"))?;
    // RESP3, where messages and answers share a connection in order.
    let settings = info.redis_settings().clone();
    let settings = settings
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    Ok(info.set_redis_settings(settings))
}
