//! What caches tell of themselves, for Prometheus.
//!
//! No label is a key: keys are as many as there are users.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Caches;
use crate::report::{
    CacheReport, Coherence, Counts, FilterReport, GuardReport, RedisReport, Report,
};

type Told<T, N> = (&'static str, &'static str, fn(&T) -> N);
type Split<T> = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, fn(&T) -> u64)],
);

const BY_LEVEL: &[Split<Counts>] = &[
    (
        "hits",
        "Reads answered by what is kept, by where it was",
        "level",
        &[
            ("local", |counts| counts.local_hits),
            ("hot", |counts| counts.hot_hits),
            ("redis", |counts| counts.redis_hits),
            ("reserve", |counts| counts.reserve_hits),
        ],
    ),
    (
        "misses",
        "Reads that found nothing fresh, by where",
        "level",
        &[
            ("local", |counts| counts.local_misses),
            ("redis", |counts| counts.redis_misses),
        ],
    ),
];
const COUNTS: &[Told<Counts, u64>] = &[
    ("loads", "Loads begun", |counts| counts.loads),
    (
        "early_loads",
        "Renewals before the value had expired",
        |counts| counts.early_loads,
    ),
    (
        "load_errors",
        "Loads that failed, panicked or ran out of time",
        |counts| counts.load_errors,
    ),
    (
        "shared",
        "Callers that waited for another's load in the process",
        |counts| counts.shared,
    ),
    (
        "waits",
        "Waits for the lease of another process",
        |counts| counts.waits,
    ),
    ("stale", "Stale values served", |counts| counts.stale),
    (
        "leases_lost",
        "Loads not kept, for their lease was gone",
        |counts| counts.leases_lost,
    ),
    (
        "not_decoded",
        "Bytes in Redis that were no value",
        |counts| counts.not_decoded,
    ),
    ("too_large", "Values too large to be kept", |counts| {
        counts.too_large
    }),
    (
        "not_encoded",
        "Values that could not be encoded",
        |counts| counts.not_encoded,
    ),
    ("rejected", "Loads turned away by the guard", |counts| {
        counts.rejected
    }),
    (
        "invalidations",
        "Keys invalidated by the process",
        |counts| counts.invalidations,
    ),
    (
        "flushes",
        "Times at which everything in process was dropped",
        |counts| counts.flushes,
    ),
    (
        "filter_saves",
        "Absent keys that the filter knew",
        |counts| counts.filter_saves,
    ),
    (
        "filter_errors",
        "Absent keys that the filter let through",
        |counts| counts.filter_errors,
    ),
    (
        "redis_errors",
        "Questions that Redis failed to answer",
        |counts| counts.redis_errors,
    ),
];
const HELD: &[Told<CacheReport, u64>] = &[
    ("entries", "Entries held in process", |cache| cache.entries),
    ("hot_keys", "Keys that are hot", |cache| {
        cache.hot_keys.len() as u64
    }),
];
const SECOND: &[Told<RedisReport, u64>] = &[
    (
        "channel_intact",
        "1 while invalidations of other processes are heard",
        |redis| u64::from(redis.coherence == Coherence::Intact),
    ),
    ("given_up", "Shards of Redis that are given up", |redis| {
        redis.given_up
    }),
    (
        "undelivered",
        "Invalidations that Redis has not taken yet",
        |redis| redis.undelivered,
    ),
];
const GUARD_STATES: &[Told<GuardReport, f64>] = &[
    (
        "guard_rate",
        "Loads that may begin in any second",
        |guard| guard.rate,
    ),
    ("guard_tokens", "Loads that may begin now", |guard| {
        guard.tokens
    }),
];
const GUARD_LOADS: &[Split<GuardReport>] = &[(
    "guard_loads",
    "Loads that asked the guard, by what became of them",
    "result",
    &[
        ("admitted", |guard| guard.admitted),
        ("over-rate", |guard| guard.over_rate),
        ("over-limit", |guard| guard.over_limit),
    ],
)];
const FILTER_ANSWERS: &[Split<FilterReport>] = &[(
    "filter_answers",
    "What the filter has answered",
    "answer",
    &[
        ("never", |filter| filter.never),
        ("maybe", |filter| filter.maybe),
        ("unknown", |filter| filter.unknown),
    ],
)];

impl Collector for Caches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Report {
            caches,
            filters,
            guards,
        } = self.report();
        let mut out = Out(&mut encoder);
        let counts: Vec<_> = caches.iter().map(|c| (&*c.name, &c.counts)).collect();
        let held: Vec<_> = caches.iter().map(|c| (&*c.name, c)).collect();
        let second = |c: &'_ CacheReport| Some((c.name.clone(), c.redis.clone()?));
        let second: Vec<_> = caches.iter().filter_map(second).collect();
        let second: Vec<_> = second
            .iter()
            .map(|(name, redis)| (&**name, redis))
            .collect();
        let guards: Vec<_> = guards.iter().map(|g| (&*g.name, g)).collect();
        let filters: Vec<_> = filters.iter().map(|f| (&*f.name, f)).collect();

        out.split("cache", BY_LEVEL, &counts)?;
        out.each("cache", COUNTS, &counts, ConstCounter::new)?;
        let gauge = |value| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        out.each("cache", HELD, &held, gauge)?;
        out.each("cache", SECOND, &second, gauge)?;
        out.split("guard", GUARD_LOADS, &guards)?;
        out.each("guard", GUARD_STATES, &guards, ConstGauge::new)?;
        out.split("filter", FILTER_ANSWERS, &filters)?;
        let overfull: &[Told<FilterReport, u64>] = &[(
            "filter_overfull",
            "1 while the filter holds more than it was made for",
            |filter| u64::from(filter.overfull.is_some()),
        )];
        out.each("filter", overfull, &filters, gauge)
    }
}

struct Out<'o, 'e>(&'o mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    /// A metric each, labelled by name.
    fn each<T, N, M: EncodeMetric>(
        &mut self,
        label: &str,
        told: &[Told<T, N>],
        all: &[(&str, &T)],
        metric: impl Fn(N) -> M,
    ) -> Result<(), Error> {
        let Some((_, first)) = all.first() else {
            return Ok(());
        };
        for (name, help, value) in told {
            let name = format!("seawall_cache_{name}");
            let kind = metric(value(first)).metric_type();
            let mut family = self.0.encode_descriptor(&name, help, None, kind)?;
            for (of, one) in all {
                metric(value(one)).encode(family.encode_family(&[(label, *of)])?)?;
            }
        }
        Ok(())
    }

    /// A counter each, labelled by name and by something more.
    fn split<T>(
        &mut self,
        label: &str,
        told: &[Split<T>],
        all: &[(&str, &T)],
    ) -> Result<(), Error> {
        if all.is_empty() {
            return Ok(());
        }
        for (name, help, by, parts) in told {
            let name = format!("seawall_cache_{name}");
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = self.0.encode_descriptor(&name, help, None, kind)?;
            for (of, one) in all {
                for (part, value) in *parts {
                    let labels = [(label, *of), (*by, *part)];
                    ConstCounter::new(value(one)).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
