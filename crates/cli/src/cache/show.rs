//! A view as text.
//!
//! Names and keys come from elsewhere, and a terminal obeys what is written to it: only what is
//! visible is passed on.

use std::fmt::Write as _;

use seawall_cache::report::{Kind, is_plain};

use super::sum::{Cache, Filter, Guard, View};

/// Hot keys that are shown, of all caches together.
const HOT: usize = 15;
const NONE: &str = "\
no cache is shown there: a service shows its own by `caches.show(&app)` and `caches.add(&cache)`, and
a gateway its own where a route has a `cache` table; see docs/cache.md";

/// The whole picture, its last line ended.
pub(super) fn picture(view: &View) -> String {
    let mut out = head(view);
    if view.caches.is_empty() && view.instances.iter().any(|one| one.error.is_none()) {
        out.push_str(NONE);
        out.push('\n');
    }
    caches(&mut out, &view.caches);
    filters(&mut out, &view.filters);
    guards(&mut out, &view.guards);
    hot_keys(&mut out, &view.caches);
    out
}

fn head(view: &View) -> String {
    let all = view.instances.len();
    let there = view
        .instances
        .iter()
        .filter(|one| one.error.is_none())
        .count();
    let plural = if all == 1 { "" } else { "s" };
    let mut out = format!(
        "{there} of {all} instance{plural}, over {:.1} s\n",
        view.seconds
    );
    for one in &view.instances {
        if let Some(error) = &one.error {
            let _ = writeln!(out, "{}: {}", one.admin, harmless(error));
        }
    }
    out
}

fn caches(out: &mut String, caches: &[Cache]) {
    let head = [
        "CACHE", "READS/S", "LOCAL", "REDIS", "LOADS/S", "EARLY/S", "SHARED/S", "WAITS/S",
        "STALE/S", "ENTRIES",
    ];
    let rows = caches.iter().map(|cache| {
        let rate = |name| number(cache.rate(name));
        let cells = vec![
            named(cache),
            number(cache.rate("local_hits") + cache.rate("local_misses")),
            share(cache.hit_ratio.local),
            share(cache.hit_ratio.redis),
            rate("loads"),
            rate("early_loads"),
            rate("shared"),
            rate("waits"),
            rate("stale"),
            number(cache.entries as f64),
        ];
        (cells, notes(cache))
    });
    table(out, &head, rows.collect());
}

fn named(cache: &Cache) -> String {
    match cache.kind {
        Kind::Responses => format!("{} (gateway)", harmless(&cache.name)),
        _ => harmless(&cache.name),
    }
}

/// What is out of the ordinary.
fn notes(cache: &Cache) -> Vec<String> {
    let mut notes = Vec::new();
    for (count, what) in [
        ("hot_hits", "answered in process, for the key is hot"),
        ("reserve_hits", "answered by the reserve, while Redis fails"),
        ("rejected", "loads turned away by the guard"),
        ("load_errors", "loads failed"),
        ("leases_lost", "loads not kept, for their lease was gone"),
        ("not_decoded", "values in Redis that do not decode"),
        ("too_large", "values too large to be kept"),
        ("not_encoded", "values that do not encode"),
        ("redis_errors", "questions that Redis failed to answer"),
        ("flushes", "times everything in process was dropped"),
    ] {
        let rate = cache.rate(count);
        if rate > 0.0 {
            notes.push(format!("{}/s {what}", number(rate)));
        }
    }
    let Some(redis) = &cache.redis else {
        return notes;
    };
    if redis.channel_lost > 0 {
        let (lost, all) = (redis.channel_lost, redis.instances);
        notes.push(format!("invalidations are not heard by {lost} of {all} instances, which serve nothing that they hold"));
    }
    if redis.given_up > 0 {
        let (out, all) = (redis.given_up, redis.shards);
        notes.push(format!("Redis is given up: {out} of {all} shards"));
    }
    if redis.undelivered > 0 {
        let keys = redis.undelivered;
        notes.push(format!("{keys} invalidations that Redis has not taken yet"));
    }
    notes
}

fn filters(out: &mut String, filters: &[Filter]) {
    let head = ["FILTER", "SAVED/S", "PASSED/S", "UNKNOWN/S", "ERROR"];
    let rows = filters.iter().map(|filter| {
        let cells = vec![
            harmless(&filter.report.name),
            number(filter.saved_per_second),
            number(filter.passed_per_second),
            number(filter.unknown_per_second),
            share(filter.error),
        ];
        let note = filter.report.overfull.as_deref().map(harmless);
        (cells, note.into_iter().collect())
    });
    table(out, &head, rows.collect());
}

fn guards(out: &mut String, guards: &[Guard]) {
    let head = [
        "GUARD",
        "RATE/S",
        "TOKENS",
        "LIMIT",
        "LOADS/S",
        "WAITED/S",
        "OVER RATE/S",
        "OVER LIMIT/S",
    ];
    let rows = guards.iter().map(|guard| {
        let report = &guard.report;
        let cells = vec![
            harmless(&report.name),
            number(report.rate),
            number(report.tokens),
            report
                .limit
                .map_or("–".into(), |limit| number(limit as f64)),
            number(guard.admitted_per_second),
            number(guard.waited_per_second),
            number(guard.over_rate_per_second),
            number(guard.over_limit_per_second),
        ];
        (cells, Vec::new())
    });
    table(out, &head, rows.collect());
}

fn hot_keys(out: &mut String, caches: &[Cache]) {
    let each = caches
        .iter()
        .flat_map(|cache| cache.hot_keys.iter().map(move |hot| (cache, hot)));
    let mut hot: Vec<_> = each.collect();
    hot.sort_by(|(_, a), (_, b)| b.rate.total_cmp(&a.rate));
    let rows = hot.iter().take(HOT).map(|(cache, hot)| {
        // Of those that others have found, this one knows no rate.
        let rate = if hot.rate > 0.0 {
            number(hot.rate)
        } else {
            "–".into()
        };
        (vec![harmless(&hot.key), rate, named(cache)], Vec::new())
    });
    table(out, &["HOT KEY", "READS/S", "CACHE"], rows.collect());
}

/// Columns as wide as they have to be, figures to the right; below a row what there is to say of it.
fn table(out: &mut String, head: &[&str], rows: Vec<(Vec<String>, Vec<String>)>) {
    if rows.is_empty() {
        return;
    }
    let width = |at: usize| {
        let cells = rows.iter().map(|(cells, _)| cells[at].chars().count());
        cells.chain([head[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let line = |out: &mut String, cells: &[&str]| {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let left = at == 0 || head[at] == "CACHE";
            let gap = if at == 0 { "" } else { "  " };
            let _ = match left {
                true => write!(line, "{gap}{cell:<width$}"),
                false => write!(line, "{gap}{cell:>width$}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    };
    out.push('\n');
    line(out, head);
    for (cells, notes) in &rows {
        line(out, &cells.iter().map(String::as_str).collect::<Vec<_>>());
        for note in notes {
            let _ = writeln!(out, "  ! {note}");
        }
    }
}

fn share(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| format!("{:.1} %", share * 100.0))
}

/// Three figures and more, and thousands with commas.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if value.abs() < 9.95 {
        return format!("{value:.1}");
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", crate::demo::count(value.abs().round() as u64))
}

/// What may be written to a terminal.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|letter| if is_plain(letter) { letter } else { '\u{fffd}' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::sum::Past;
    use super::super::sum::tests::at;
    use super::*;

    fn view() -> View {
        let (mut past, start) = (Past::default(), Instant::now());
        at(&mut past, start, &[Some(0), Some(0), Some(0)]);
        let hits = [Some(80_000), Some(8_000), None];
        at(&mut past, start + Duration::from_secs(1), &hits)
    }

    #[test]
    fn the_picture() {
        let mut view = view();
        view.filters[0].report.overfull = Some("too full".into());
        if let Some(redis) = &mut view.caches[0].redis {
            (redis.channel_lost, redis.undelivered) = (1, 3);
        }
        let expected = "\
2 of 3 instances, over 1.0 s
http://c: gone

CACHE  READS/S   LOCAL   REDIS  LOADS/S  EARLY/S  SHARED/S  WAITS/S  STALE/S  ENTRIES
users  110,000  80.0 %  50.0 %   11,000        0         0        0        0       20
  ! invalidations are not heard by 1 of 2 instances, which serve nothing that they hold
  ! 3 invalidations that Redis has not taken yet

FILTER  SAVED/S  PASSED/S  UNKNOWN/S  ERROR
users    88,000         0          0  1.0 %
  ! too full

GUARD     RATE/S  TOKENS  LIMIT  LOADS/S  WAITED/S  OVER RATE/S  OVER LIMIT/S
database     100      10      –   11,000         0            0             0

HOT KEY  READS/S  CACHE
7          1,400  users
";
        assert_eq!(picture(&view), expected);
    }

    #[test]
    fn what_comes_from_elsewhere_does_nothing_to_a_terminal() {
        let mut view = view();
        view.caches[0].name = "a\x1b[2J\u{202e}".into();
        view.caches[0].hot_keys[0].key = "\x1b]0;x\x07".into();
        view.filters[0].report.overfull = Some("\r".into());
        view.guards[0].report.name = "\x08".into();
        let picture = picture(&view);
        let harmless = |letter: char| letter == '\n' || is_plain(letter);
        assert!(picture.chars().all(harmless), "{picture:?}");
    }

    #[test]
    fn nothing_to_see_says_why() {
        let view = Past::default().view(
            Instant::now(),
            vec![(
                "http://a".into(),
                Ok(seawall_cache::report::Report::default()),
            )],
        );
        assert!(picture(&view).contains("caches.show(&app)"));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.04, 1.26, 9.96, 1_234.5, -3.21].map(number);
        assert_eq!(shown, ["0", "0.0", "1.3", "10", "1,235", "-3.2"]);
    }
}
