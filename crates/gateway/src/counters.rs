//! What one core counts. Only its own thread writes, a scrape reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use seawall_policy::{Criticality, Reason, Tick};

use crate::cache;

/// Upper bounds of the latency buckets, in microseconds.
pub(crate) const BOUNDS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A histogram of times.
#[derive(Debug, Default)]
pub(crate) struct Times {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
}

impl Times {
    pub(crate) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
    }

    /// Adds what was counted to `buckets` and returns the sum in microseconds.
    pub(crate) fn read(&self, buckets: &mut [u64; BOUNDS.len() + 1]) -> u64 {
        for (sum, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.sum.load(Relaxed)
    }
}

/// What goes wrong on the way, apart from rejections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// No connection to the origin.
    Unreachable,
    /// The origin broke off, or made no sense.
    OriginBroke,
    /// The origin took longer than it may.
    OriginSlow,
    /// The client's body stalled or broke off.
    ClientBody,
    /// The client left before its answer was complete.
    ClientGone,
    /// A pooled connection was closed before a byte was sent; a fresh one was tried.
    Redialled,
    /// A malformed request, or one that no route takes.
    BadRequest,
    /// A context header that made no sense.
    BadContext,
    /// An under-way mark that is forged, expired or used up.
    BadMark,
    /// A connection that went over one of its limits.
    Cut,
    /// No descriptors or memory to accept a connection.
    Shortage,
    /// A TLS handshake with a client that came to nothing.
    Handshake,
    /// A client that spoke something else where TLS is spoken.
    NotTls,
}

impl Fault {
    pub(crate) const ALL: [(Self, &'static str); 13] = [
        (Self::Unreachable, "origin-unreachable"),
        (Self::OriginBroke, "origin-broke"),
        (Self::OriginSlow, "origin-slow"),
        (Self::ClientBody, "client-body"),
        (Self::ClientGone, "client-gone"),
        (Self::Redialled, "redialled"),
        (Self::BadRequest, "bad-request"),
        (Self::BadContext, "bad-context"),
        (Self::BadMark, "bad-mark"),
        (Self::Cut, "connection-cut"),
        (Self::Shortage, "shortage"),
        (Self::Handshake, "tls-handshake"),
        (Self::NotTls, "not-tls"),
    ];
}

/// The counters of one core.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Responses by class, 1xx to 5xx.
    pub(crate) responses: [AtomicU64; 5],
    /// From arrival to the origin's last byte.
    pub(crate) latency: Times,
    /// Waits in the queue that ended with a place.
    pub(crate) waits: Times,
    /// Rejections that no gate knows of, by reason and criticality.
    pub(crate) rejected: [[AtomicU64; 4]; Reason::ALL.len()],
    /// The same, in shadow.
    pub(crate) shadowed: [AtomicU64; Reason::ALL.len()],
    pub(crate) faults: [AtomicU64; Fault::ALL.len()],
    pub(crate) connections: AtomicU64,
    pub(crate) cache: cache::Counts,
}

impl Counters {
    pub(crate) fn responded(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.responses[class].fetch_add(1, Relaxed);
    }

    pub(crate) fn took(&self, start: Tick, now: Tick) {
        self.latency.add(now.since(start));
    }

    pub(crate) fn rejected(&self, reason: Reason, criticality: Criticality) {
        self.rejected[reason as usize][criticality as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn shadowed(&self, reason: Reason) {
        self.shadowed[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults[fault as usize].fetch_add(1, Relaxed);
    }
}
