//! What can be set of lists, in which units and ranges.

use std::time::Duration;

use super::ask::{LONGEST, Terms};
use super::error::MAX_PAGE;
use super::position::Order;
use crate::expiry::jittered;

const DAY: Duration = Duration::from_secs(86_400);

/// Settings of [`Lists`](super::Lists). A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListSettings {
    /// Which end is the head. Default: descending.
    pub order: Order,
    /// How many members of a list are kept, from the head on, 1 to 10,000,000; what is behind them
    /// is loaded each time. Default 1,000, which few people ever page beyond.
    pub bound: u32,
    /// How many items are loaded on top of what a page lacks, 0 to 1,000, so that the next page needs
    /// no query. `None`, the default: as many as the page has.
    pub prefetch: Option<usize>,
    /// How long a list lives from its first load on, 1 s to 30 d: what a write that nobody told takes
    /// to show. Default 1 h.
    pub life: Duration,
    /// The share of the life, 0 to 1, by which it is shortened at random. Default 0.1.
    pub jitter: f64,
    /// How long a load may take, 1 ms to 8 min. Default 5 s.
    pub load_timeout: Duration,
    /// How long a write may take from [`write`](super::Lists::write) being called to its commit, 1 ms
    /// to 10 min: a writer that dies leaves the list in doubt until then. Default 10 s.
    pub write_timeout: Duration,
    /// How long a first page is served for that was loaded while Redis is out, 0 to 10 s. Default
    /// 2 s.
    pub reserve: Duration,
    /// Lists that are kept at once where there is no Redis. Default 10,000.
    pub lists: u64,
}

impl Default for ListSettings {
    fn default() -> Self {
        Self {
            order: Order::Descending,
            bound: 1_000,
            prefetch: None,
            life: Duration::from_secs(3_600),
            jitter: 0.1,
            load_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            reserve: Duration::from_secs(2),
            lists: 10_000,
        }
    }
}

impl ListSettings {
    pub(super) fn in_range(self) -> Self {
        let soon = Duration::from_millis(1);
        Self {
            bound: self.bound.clamp(1, 10_000_000),
            prefetch: self.prefetch.map(|items| items.min(MAX_PAGE)),
            jitter: if self.jitter.is_nan() {
                0.1
            } else {
                self.jitter
            },
            life: self.life.clamp(Duration::from_secs(1), 30 * DAY),
            load_timeout: self.load_timeout.clamp(soon, LONGEST * 4 / 5),
            write_timeout: self.write_timeout.clamp(soon, LONGEST),
            reserve: self.reserve.min(Duration::from_secs(10)),
            ..self
        }
    }

    /// For one question: the life is drawn anew.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            order: self.order,
            bound: self.bound,
            // A load that takes all its time is still in time to be filled in.
            lease: self.load_timeout + self.load_timeout / 5 + Duration::from_millis(50),
            fence: self.write_timeout,
            life: jittered(self.life, self.jitter, fastrand::u64(..)),
        }
    }

    pub(super) fn prefetched(&self, limit: usize) -> usize {
        self.prefetch.unwrap_or(limit)
    }
}
