//! What the response cache has done, for metrics and explanations.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use seawall_cache::report::{CacheReport, Counts, Kind, Report};
use serde::Serialize;

use super::metrics::Out;
use crate::cache::Event;
use crate::core::Shared;
use crate::plan::Plan;

fn sum(shared: &Shared, event: Event) -> u64 {
    let of = |book: &crate::core::Book| book.counters.cache.of(event).load(Relaxed);
    shared.books.iter().map(of).sum()
}

/// Writes the metrics.
pub(super) fn metrics(shared: &Shared, out: &mut Out<'_>) -> fmt::Result {
    let rows = |label: &'static str, of: &'static [(Event, &'static str)]| {
        of.iter()
            .map(move |(event, name)| ([(label, *name)], sum(shared, *event)))
    };
    let help = "Requests of routes with a cache, by what became of them";
    out.counters("cache_requests", help, rows("result", &Event::RESULTS))?;
    let help = "What became of responses that were fetched, and of what was kept";
    out.counters("cache_fills", help, rows("result", &Event::FILLS))?;
    let bytes = |book: &crate::core::Book| book.counters.cache.bytes.load(Relaxed);
    let served = shared.books.iter().map(bytes).sum();
    let purges = [0, 1].map(|at| shared.cache.purges[at].load(Relaxed));
    let help = "Bytes of bodies served from what is kept";
    out.counter("cache_served_bytes", help, served)?;
    let help = "Orders to forget responses that are kept";
    out.counter("cache_purges", help, purges[0])?;
    let help = "Responses that were forgotten by order";
    out.counter("cache_purged", help, purges[1])?;
    let (entries, size) = shared.cache.holds();
    out.gauge("cache_entries", "Entries that are kept", entries as f64)?;
    let help = "Bytes that they take, with all that is kept beside them";
    out.gauge("cache_size_bytes", help, size as f64)
}

/// The same for `GET /cache`, as services tell of theirs. What goes by the cache is no read of it.
pub(super) fn report(shared: &Shared) -> Report {
    if !shared.plan.load().caches {
        return Report::default();
    }
    let (entries, bytes) = shared.cache.holds();
    let of = |event| sum(shared, event);
    let loads = of(Event::Miss) + of(Event::Revalidated);
    let counts = Counts {
        local_hits: of(Event::Hit),
        local_misses: loads + of(Event::Collapsed) + of(Event::Released) + of(Event::NotCached),
        loads,
        shared: of(Event::Collapsed),
        stale: of(Event::Stale) + of(Event::StaleIfError),
        leases_lost: of(Event::Void),
        too_large: of(Event::TooLarge),
        invalidations: of(Event::Invalidated) + shared.cache.purges[1].load(Relaxed),
        ..Counts::default()
    };
    let cache = CacheReport {
        name: "responses".into(),
        kind: Kind::Responses,
        entries,
        bytes: Some(bytes),
        counts,
        ..CacheReport::default()
    };
    Report {
        caches: vec![cache],
        ..Report::default()
    }
}

/// The same for `/explain`.
#[derive(Debug, Serialize)]
pub(super) struct State {
    entries: u64,
    bytes: u64,
    max_bytes: u64,
    hits: u64,
    stale: u64,
    misses: u64,
    collapsed: u64,
    purges: u64,
}

impl State {
    pub(super) fn of(shared: &Shared, plan: &Plan) -> Option<Self> {
        if !plan.caches {
            return None;
        }
        let (entries, bytes) = shared.cache.holds();
        let of = |event| sum(shared, event);
        Some(Self {
            entries,
            bytes,
            max_bytes: plan.config.cache.size,
            hits: of(Event::Hit),
            stale: of(Event::Stale) + of(Event::StaleIfError),
            misses: of(Event::Miss) + of(Event::Revalidated) + of(Event::Released),
            collapsed: of(Event::Collapsed),
            purges: shared.cache.purges[0].load(Relaxed),
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "cache: {} entries, {} of {} bytes; {} hits, {} stale, {} misses, {} collapsed, {} purges",
            self.entries,
            self.bytes,
            self.max_bytes,
            self.hits,
            self.stale,
            self.misses,
            self.collapsed,
            self.purges
        )
    }
}
