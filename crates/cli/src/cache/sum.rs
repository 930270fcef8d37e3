//! From the reports of instances to one view: counts added up, and rates since the last time.
//!
//! Each instance has a last time of its own, so one that did not answer in between is not shown as
//! idle and then as busier than it was; and one that has just been found adds nothing to rates until
//! it has been seen twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use seawall_cache::report::{
    CacheReport, Coherence, Counts, FilterReport, GuardReport, HotKey, Kind, Report,
};
use serde::Serialize;

/// What is shown.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct View {
    /// How long rates are of.
    pub(super) seconds: f64,
    pub(super) instances: Vec<Answered>,
    pub(super) caches: Vec<Cache>,
    pub(super) filters: Vec<Filter>,
    pub(super) guards: Vec<Guard>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Answered {
    pub(super) admin: String,
    /// Why it did not.
    pub(super) error: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Cache {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) instances: u64,
    pub(super) entries: u64,
    pub(super) bytes: Option<u64>,
    pub(super) counts: Counts,
    pub(super) rates: BTreeMap<&'static str, f64>,
    /// Of what was asked of a level since the last time, the share that it answered.
    pub(super) hit_ratio: Ratios,
    pub(super) hot_keys: Vec<HotKey>,
    pub(super) redis: Option<Second>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Ratios {
    pub(super) local: Option<f64>,
    pub(super) redis: Option<f64>,
}

/// The second level, as all instances see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Second {
    pub(super) instances: u64,
    /// Instances that do not hear of others.
    pub(super) channel_lost: u64,
    /// The most that one of them has given up, and of how many.
    pub(super) given_up: u64,
    pub(super) shards: u64,
    pub(super) undelivered: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Filter {
    #[serde(flatten)]
    pub(super) report: FilterReport,
    /// Absent keys that passed, since the instances began.
    pub(super) error: Option<f64>,
    pub(super) saved_per_second: f64,
    pub(super) passed_per_second: f64,
    pub(super) unknown_per_second: f64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Guard {
    #[serde(flatten)]
    pub(super) report: GuardReport,
    pub(super) admitted_per_second: f64,
    pub(super) waited_per_second: f64,
    pub(super) over_rate_per_second: f64,
    pub(super) over_limit_per_second: f64,
}

impl Cache {
    pub(super) fn rate(&self, name: &str) -> f64 {
        self.rates.get(name).copied().unwrap_or(0.0)
    }
}

/// What the instances told last.
#[derive(Debug, Default)]
pub(super) struct Past {
    at: Option<Instant>,
    told: BTreeMap<usize, (Instant, Report)>,
}

impl Past {
    /// Takes readings in, one an instance, in an order that stays.
    pub(super) fn view(
        &mut self,
        now: Instant,
        readings: Vec<(String, Result<Report, String>)>,
    ) -> View {
        let mut view = View::default();
        if let Some(at) = self.at.replace(now) {
            view.seconds = now.saturating_duration_since(at).as_secs_f64();
        }
        let mut caches = BTreeMap::new();
        for (n, (admin, reading)) in readings.into_iter().enumerate() {
            let error = reading.as_ref().err().cloned();
            view.instances.push(Answered { admin, error });
            let Ok(report) = reading else { continue };
            let before = self.told.get(&n);
            let since = before.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at));
            let nothing = Report::default();
            let added = Added {
                before: before.map_or(&nothing, |(_, report)| report),
                seconds: since.as_secs_f64(),
            };
            for cache in &report.caches {
                let key = (cache.name.clone(), cache.kind as u8);
                added.cache(cache, caches.entry(key).or_default());
            }
            report
                .filters
                .iter()
                .for_each(|filter| added.filter(filter, &mut view.filters));
            report
                .guards
                .iter()
                .for_each(|guard| added.guard(guard, &mut view.guards));
            self.told.insert(n, (now, report));
        }
        view.caches = caches.into_values().map(finished).collect();
        view.filters
            .iter_mut()
            .for_each(|filter| filter.error = filter.report.error());
        view
    }
}

/// An instance that is added to others.
struct Added<'r> {
    before: &'r Report,
    /// Since then; 0: it has not been seen before.
    seconds: f64,
}

impl Added<'_> {
    fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 {
            count as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// What came since; where it was more before, the instance has begun anew.
    fn rate(&self, now: u64, before: u64) -> f64 {
        self.per_second(now.checked_sub(before).unwrap_or(now))
    }

    fn cache(&self, report: &CacheReport, sum: &mut Cache) {
        let same = |other: &&CacheReport| other.name == report.name && other.kind == report.kind;
        let before = self.before.caches.iter().find(same);
        let before = before.map_or(Counts::default(), |before| before.counts);
        sum.name.clone_from(&report.name);
        sum.kind = report.kind;
        sum.instances += 1;
        sum.entries = sum.entries.saturating_add(report.entries);
        if let Some(bytes) = report.bytes {
            sum.bytes = Some(sum.bytes.unwrap_or(0).saturating_add(bytes));
        }
        sum.counts = sum.counts.plus(report.counts);
        for (name, count) in report.counts.since(before).named() {
            *sum.rates.entry(name).or_default() += self.per_second(count);
        }
        for hot in &report.hot_keys {
            match sum.hot_keys.iter_mut().find(|known| known.key == hot.key) {
                Some(known) => known.rate += hot.rate,
                None => sum.hot_keys.push(hot.clone()),
            }
        }
        if let Some(redis) = &report.redis {
            let all = sum.redis.get_or_insert_default();
            all.instances += 1;
            all.channel_lost += u64::from(redis.coherence == Coherence::Lost);
            all.given_up = all.given_up.max(redis.given_up);
            all.shards = all.shards.max(redis.shards);
            all.undelivered = all.undelivered.saturating_add(redis.undelivered);
        }
    }

    fn filter(&self, report: &FilterReport, sums: &mut Vec<Filter>) {
        let before = self
            .before
            .filters
            .iter()
            .find(|other| other.name == report.name);
        let nothing = FilterReport::default();
        let before = before.unwrap_or(&nothing);
        let sum = named(sums, |sum| &mut sum.report.name, &report.name);
        let all = &mut sum.report;
        for (all, own) in [
            (&mut all.never, report.never),
            (&mut all.maybe, report.maybe),
            (&mut all.unknown, report.unknown),
            (&mut all.wrong, report.wrong),
        ] {
            *all = all.saturating_add(own);
        }
        if all.overfull.is_none() {
            all.overfull.clone_from(&report.overfull);
        }
        sum.saved_per_second += self.rate(report.never, before.never);
        sum.passed_per_second += self.rate(report.maybe, before.maybe);
        sum.unknown_per_second += self.rate(report.unknown, before.unknown);
    }

    fn guard(&self, report: &GuardReport, sums: &mut Vec<Guard>) {
        let before = self
            .before
            .guards
            .iter()
            .find(|other| other.name == report.name);
        let nothing = GuardReport::default();
        let before = before.unwrap_or(&nothing);
        let sum = named(sums, |sum| &mut sum.report.name, &report.name);
        let all = &mut sum.report;
        all.rate += report.rate;
        all.tokens += report.tokens;
        if let Some(limit) = report.limit {
            all.limit = Some(all.limit.unwrap_or(0).saturating_add(limit));
        }
        for (all, own) in [
            (&mut all.admitted, report.admitted),
            (&mut all.waited, report.waited),
            (&mut all.over_rate, report.over_rate),
            (&mut all.over_limit, report.over_limit),
        ] {
            *all = all.saturating_add(own);
        }
        sum.admitted_per_second += self.rate(report.admitted, before.admitted);
        sum.waited_per_second += self.rate(report.waited, before.waited);
        sum.over_rate_per_second += self.rate(report.over_rate, before.over_rate);
        sum.over_limit_per_second += self.rate(report.over_limit, before.over_limit);
    }
}

/// The one of that name, which may be new.
fn named<'s, T: Default>(
    sums: &'s mut Vec<T>,
    name_of: impl Fn(&mut T) -> &mut String,
    name: &str,
) -> &'s mut T {
    let at = sums.iter_mut().position(|sum| *name_of(sum) == name);
    let at = at.unwrap_or_else(|| {
        let mut sum = T::default();
        name.clone_into(name_of(&mut sum));
        sums.push(sum);
        sums.len() - 1
    });
    &mut sums[at]
}

fn finished(mut cache: Cache) -> Cache {
    cache.hot_keys.sort_by(|a, b| b.rate.total_cmp(&a.rate));
    let ratio = |hits: &str, misses: &str| {
        let (hits, misses) = (cache.rate(hits), cache.rate(misses));
        (hits + misses > 0.0).then(|| hits / (hits + misses))
    };
    cache.hit_ratio = Ratios {
        local: ratio("local_hits", "local_misses"),
        redis: ratio("redis_hits", "redis_misses"),
    };
    cache
}

#[cfg(test)]
#[path = "sum_tests.rs"]
pub(super) mod tests;
