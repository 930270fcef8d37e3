//! How an etcd is spoken to.

use std::fmt;
use std::time::Duration;

/// How an etcd is spoken to. What exceeds its range is brought into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an instance is known that no longer says that it lives: 1 s to an hour, in whole
    /// seconds. etcd makes it longer where that is less than its elections take. Default: 10 s.
    pub ttl: Duration,
    /// How long one question may take, and a connection; 10 ms to a minute. Default: 4 s.
    pub timeout: Duration,
    /// How often a connection is pinged; one whose answer does not come within `timeout` is given
    /// up. At least 5 s, or etcd takes it for abuse. Default: 10 s.
    pub ping: Duration,
    /// A watch on which nothing comes for so long has to show that it works, within `timeout`; at
    /// least 10 ms. Default: 30 s.
    pub quiet: Duration,
    /// Watches that lose their connection come back within this, each at a time by chance, and
    /// twice as late for each failure running: 10 ms to an hour. Default: 2 s.
    pub spread: Duration,
    /// The longest such wait. Default: 30 s.
    pub retry_cap: Duration,
    /// How often a list is read again whole, and up to a tenth later; at least 1 s. Default: 10 min.
    pub reread: Duration,
    /// Who asks, where etcd has users. Its password and token go over the wire as they are. Default:
    /// nobody.
    pub user: Option<User>,
}

/// A user of etcd. Its password is printed by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("User").field(&self.name).finish()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            timeout: Duration::from_secs(4),
            ping: Duration::from_secs(10),
            quiet: Duration::from_secs(30),
            spread: Duration::from_secs(2),
            retry_cap: Duration::from_secs(30),
            reread: Duration::from_secs(600),
            user: None,
        }
    }
}

#[cfg(feature = "etcd")]
impl Settings {
    pub(super) fn in_range(self) -> Self {
        const MS10: Duration = Duration::from_millis(10);
        const HOUR: Duration = Duration::from_secs(3600);
        let ttl = self.ttl.as_secs_f64().ceil().clamp(1.0, 3600.0);
        let spread = self.spread.clamp(MS10, HOUR);
        Self {
            ttl: Duration::from_secs_f64(ttl),
            timeout: self.timeout.clamp(MS10, Duration::from_secs(60)),
            ping: self.ping.clamp(Duration::from_secs(5), HOUR),
            quiet: self.quiet.clamp(MS10, HOUR),
            spread,
            retry_cap: self.retry_cap.clamp(spread, HOUR),
            reread: self.reread.clamp(Duration::from_secs(1), HOUR * 24),
            user: self.user,
        }
    }
}
