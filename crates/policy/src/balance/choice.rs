//! The ticket of a call that goes to a host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::flight::Begun;
use super::host::{Host, Load};
use super::probe;
use crate::{Outcome, Tick};

/// A host was chosen, and the call counts as in flight there until [`finish`](Choice::finish).
///
/// It holds the host, not the list: lists may be updated and the host removed while the call is
/// under way. One that is dropped counts as [`Outcome::Ignored`].
#[must_use = "the call counts as in flight until it is finished"]
pub struct Choice {
    host: Option<Arc<Host>>,
    at: u32,
    begun: Begun,
    probe: bool,
}

impl Choice {
    #[inline]
    pub(super) fn new(host: &Arc<Host>, at: usize, probe: bool, now: Tick) -> Self {
        Self {
            begun: host.begin(now),
            host: Some(Arc::clone(host)),
            at: at as u32,
            probe,
        }
    }

    /// Its index in the list that it was picked from.
    #[inline]
    #[must_use]
    pub fn at(&self) -> usize {
        self.at as usize
    }

    /// The host's key; what to put into [`Ask::tried`](super::Ask::tried) of the next attempt.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.host.as_ref().map_or(0, |host| host.key())
    }

    /// The call is what an ejected host is probed with.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// How long the host has to answer where it is [probed](Self::is_probe) by a call that has `left`
    /// and may be sent again; `None` for any other call. What ends by it has failed.
    ///
    /// Four typical latencies, at least 100 ms; no more than a third of `left`, or than one typical
    /// latency up to half of `left`. So there is time for another attempt at a host that serves.
    #[must_use]
    pub fn probe_limit(&self, left: Duration) -> Option<Duration> {
        let host = self.host.as_ref().filter(|_| self.probe)?;
        Some(probe::limit(host.typical_latency(), left))
    }

    /// The call has ended: `latency` after it was sent, at `now`. `load` is what the host said of
    /// itself on the response, if anything.
    ///
    /// [`Outcome::Ignored`] is neither success nor failure, and gives a probe back at once; where it
    /// lasted longer than a typical call, the host counts as so much slower, since it did not answer.
    #[inline]
    pub fn finish(mut self, outcome: Outcome, latency: Duration, load: Option<Load>, now: Tick) {
        if let Some(host) = self.host.take() {
            host.end(self.begun, self.probe, outcome, latency, load, now);
        }
    }
}

impl Drop for Choice {
    #[inline]
    fn drop(&mut self) {
        if let Some(host) = self.host.take() {
            host.lost(self.begun, self.probe);
        }
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice")
            .field("at", &self.at)
            .field("key", &self.key())
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}
