//! Why a call was turned away, who is to blame, and what the caller should do.

use std::fmt;
use std::time::Duration;

/// Why a call was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Below the admission level: more arrives than can be served, and others matter more.
    Admission = 0,
    /// The queue is full.
    QueueFull = 1,
    /// Waited in the queue as long as a call may.
    QueueTimeout = 2,
    /// The deadline cannot be met any more.
    Deadline = 3,
    /// The call's lane is at its own limit.
    Lane = 4,
    /// A configured quota is used up.
    Quota = 5,
    /// The origin cannot be reached.
    Unreachable = 6,
    /// Shutting down.
    Draining = 7,
    /// Its breaker is open: the origin has failed too often of late.
    Breaker = 8,
    /// The main pool fails, and the gutter that stands in for it is at its own limit.
    Gutter = 9,
}

impl Reason {
    /// Every reason; an array index is `self as usize`.
    pub const ALL: [Self; 10] = [
        Self::Admission,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Deadline,
        Self::Lane,
        Self::Quota,
        Self::Unreachable,
        Self::Draining,
        Self::Breaker,
        Self::Gutter,
    ];

    /// The name used in headers, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::QueueFull => "queue-full",
            Self::QueueTimeout => "queue-timeout",
            Self::Deadline => "deadline",
            Self::Lane => "lane",
            Self::Quota => "quota",
            Self::Unreachable => "unreachable",
            Self::Draining => "draining",
            Self::Breaker => "breaker",
            Self::Gutter => "gutter",
        }
    }
}

/// What the rejection speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scope {
    /// This instance; another may have room.
    Host = 0,
    /// This route or lane of it.
    Route = 1,
    /// The caller's own share (429 rather than 503).
    Tenant = 2,
    /// Every instance.
    Cluster = 3,
}

impl Scope {
    /// The name used in headers, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Route => "route",
            Self::Tenant => "tenant",
            Self::Cluster => "cluster",
        }
    }
}

/// Whether and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Trying again is of no use.
    No,
    /// Another instance may have room.
    Elsewhere,
    /// Not before this time has passed. The driver adds the jitter.
    After(Duration),
}

/// A typed refusal. Becomes 429 when the caller is over its share, 503 when we are over ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// What it speaks for.
    pub scope: Scope,
    /// Whether and when to try again.
    pub advice: Advice,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rejected by {} for {}",
            self.scope.as_str(),
            self.reason.as_str()
        )
    }
}

impl std::error::Error for Rejection {}
