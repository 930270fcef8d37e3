//! What caches tell of themselves: the answer to `GET /cache` of a service and of the gateway, which
//! `seawall cache top` reads.
//!
//! Counts are since the process began, not rates: who reads them twice knows the rate of their own
//! interval, and two readers do not take counts from one another. Versions may differ: what a reader
//! misses counts as nothing, and what it does not know it passes over.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::metrics::{Event, Metrics};

/// All caches of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// By name.
    pub caches: Vec<CacheReport>,
    /// Bloom filters, by name.
    pub filters: Vec<FilterReport>,
    /// What the databases behind the caches may see, by name.
    pub guards: Vec<GuardReport>,
}

/// One cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheReport {
    /// Its name.
    pub name: String,
    /// What it keeps.
    pub kind: Kind,
    /// Entries held in process, about.
    pub entries: u64,
    /// Bytes that they take, where that is known.
    pub bytes: Option<u64>,
    /// Since the process began.
    pub counts: Counts,
    /// The hottest first.
    pub hot_keys: Vec<HotKey>,
    /// Its second level; none: it keeps to the process.
    pub redis: Option<RedisReport>,
}

/// What a cache keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Values of a service, by key.
    #[default]
    Values,
    /// HTTP responses.
    Responses,
    /// Something that this version knows nothing of.
    #[serde(other)]
    Other,
}

/// A key that is hot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HotKey {
    /// Its bytes as text; see [`text`].
    pub key: String,
    /// Reads a second that the first level did not answer, as estimated by this process; 0 where it
    /// was told by another.
    pub rate: f64,
}

/// The second level, as a process sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedisReport {
    /// Whether invalidations of other processes are heard.
    pub coherence: Coherence,
    /// How long ago that was known last, in ms; none: the channel is down.
    pub heard_ms: Option<u64>,
    /// Messages heard.
    pub notices: u64,
    /// Times at which some may have been missed, and everything in process was dropped.
    pub lost: u64,
    /// Messages that were none of ours, each of which counts as such a time.
    pub garbage: u64,
    /// Its shards, or groups of slots of a Cluster.
    pub shards: u64,
    /// Of these, those that are given up or on their way back: the reserve answers.
    pub given_up: u64,
    /// Keys whose invalidation Redis has not taken yet.
    pub undelivered: u64,
}

/// Whether a process hears what others do to entries that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coherence {
    /// It does.
    #[default]
    Intact,
    /// It may not: it serves nothing that it holds.
    Lost,
}

/// A Bloom filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterReport {
    /// Its name, or that of the cache behind it.
    pub name: String,
    /// Answers: there is no such key.
    pub never: u64,
    /// Answers: there may be.
    pub maybe: u64,
    /// Answers: there is no filter to ask at the moment.
    pub unknown: u64,
    /// Of the keys that may be, those that a load found absent.
    pub wrong: u64,
    /// A warning: it holds more than it was made for.
    pub overfull: Option<String>,
}

impl FilterReport {
    /// The share of absent keys that passed; `None` until a key was absent.
    #[must_use]
    pub fn error(&self) -> Option<f64> {
        let absent = self.never.saturating_add(self.wrong);
        (absent > 0).then(|| self.wrong as f64 / absent as f64)
    }
}

/// What stands before a database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardReport {
    /// Its name, or that of the first cache before it.
    pub name: String,
    /// Loads that may begin in any second.
    pub rate: f64,
    /// Those that may begin now; below zero where some are booked ahead.
    pub tokens: f64,
    /// Loads at once at most, as learned; none: not limited.
    pub limit: Option<u64>,
    /// Loads let through.
    pub admitted: u64,
    /// Of these, after a wait for a token.
    pub waited: u64,
    /// Loads turned away as the rate was used up.
    pub over_rate: u64,
    /// Loads turned away by the limit.
    pub over_limit: u64,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident = $event:ident,)*) => {
        /// What a cache counts, since its process began.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counts {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Counts {
            /// How many there are.
            pub const LEN: usize = [$(Event::$event),*].len();

            /// What was counted.
            #[must_use]
            pub fn of(metrics: &Metrics) -> Self {
                Self { $($field: metrics.get(Event::$event),)* }
            }

            /// Each with its name.
            #[must_use]
            pub const fn named(&self) -> [(&'static str, u64); Self::LEN] {
                [$((stringify!($field), self.$field)),*]
            }

            /// The sums of both.
            #[must_use]
            pub const fn plus(self, other: Self) -> Self {
                Self { $($field: self.$field.saturating_add(other.$field),)* }
            }

            /// What came after `earlier`. Where anything was more then, the process has begun anew,
            /// and it is all of it.
            #[must_use]
            pub const fn since(self, earlier: Self) -> Self {
                if $(self.$field < earlier.$field)||* {
                    return self;
                }
                Self { $($field: self.$field - earlier.$field,)* }
            }
        }
    };
}

counts! {
    /// Answered in process.
    local_hits = LocalHit,
    /// Answered in process, for the key is hot.
    hot_hits = HotHit,
    /// Answered by Redis.
    redis_hits = RedisHit,
    /// Answered by the reserve, while Redis fails.
    reserve_hits = ReserveHit,
    /// Not found fresh in process.
    local_misses = LocalMiss,
    /// Not found fresh in Redis.
    redis_misses = RedisMiss,
    /// Loads begun.
    loads = Load,
    /// Renewals begun before the value had expired.
    early_loads = EarlyLoad,
    /// Loads that failed, panicked or ran out of time.
    load_errors = LoadError,
    /// Callers that waited for another's load in this process.
    shared = Shared,
    /// Waits for the lease of another process.
    waits = Wait,
    /// Stale values served.
    stale = Stale,
    /// Loads whose lease was gone, so that they were not kept.
    leases_lost = LeaseLost,
    /// Bytes in Redis that were no value.
    not_decoded = NotDecoded,
    /// Values that were too large to be kept.
    too_large = TooLarge,
    /// Values that could not be encoded, not kept in Redis.
    not_encoded = NotEncoded,
    /// Loads that the guard turned away.
    rejected = Rejected,
    /// Keys invalidated by this process.
    invalidations = Invalidation,
    /// Times at which everything in process was dropped.
    flushes = Flush,
    /// Keys that the filter knew to be absent.
    filter_saves = FilterSaved,
    /// Absent keys that the filter let through.
    filter_errors = FilterWrong,
    /// Questions that Redis failed to answer.
    redis_errors = RedisError,
}

/// The most of a key that is shown, in characters.
const MOST: usize = 120;

/// Bytes as text that does no harm to a terminal: what is no character, or no visible one, is
/// escaped as in a Rust string, and what is long is cut.
///
/// ```
/// use seawall_cache::report::text;
///
/// assert_eq!(text(b"user 7"), "user 7");
/// assert_eq!(text(b"\x1b[2J\xff"), r"\u{1b}[2J\xff");
/// ```
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut left = MOST;
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if left == 0 {
                return text + "…";
            }
            left -= 1;
            match is_plain(letter) && letter != '\\' {
                true => text.push(letter),
                false => text.extend(letter.escape_unicode()),
            }
        }
        for byte in chunk.invalid() {
            if left == 0 {
                return text + "…";
            }
            left -= 1;
            // Writing into a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether a letter may be written to a terminal: it is visible, or a space, and does nothing to
/// others, as what turns their direction does.
#[must_use]
pub fn is_plain(letter: char) -> bool {
    let turns = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !letter.is_control() && !turns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(from: u64) -> Counts {
        Counts {
            local_hits: from,
            loads: from / 2,
            ..Counts::default()
        }
    }

    #[test]
    fn every_event_is_told_once() {
        let metrics = Metrics::default();
        for (n, event) in (1..).zip(Event::ALL) {
            metrics.add(event, n);
        }
        let mut told: Vec<_> = Counts::of(&metrics).named().map(|(_, n)| n).into();
        told.sort_unstable();
        assert_eq!(told, (1..=Event::ALL.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn a_process_that_began_anew_counts_from_nothing() {
        assert_eq!(some(10).since(some(4)), some(6));
        assert_eq!(some(4).since(some(10)), some(4));
    }

    #[test]
    fn another_version_is_understood() {
        let report =
            r#"{"caches":[{"name":"a","kind":"new","counts":{"loads":3,"of_tomorrow":1}}],"x":1}"#;
        let report: Report = serde_json::from_str(report).expect("it is read");
        assert_eq!(
            (report.caches[0].counts.loads, report.caches[0].entries),
            (3, 0)
        );
        assert_eq!(report.caches[0].kind, Kind::Other);
    }

    proptest! {
        #[test]
        fn no_key_writes_to_a_terminal(bytes: Vec<u8>) {
            let shown = text(&bytes);
            prop_assert!(shown.chars().all(|letter| !letter.is_control()));
            prop_assert!(shown.chars().count() <= MOST * 10 + 1);
        }

        #[test]
        fn keys_that_differ_look_different(a in prop::collection::vec(any::<u8>(), 0..8), b in prop::collection::vec(any::<u8>(), 0..8)) {
            prop_assert_eq!(a == b, text(&a) == text(&b));
        }

        #[test]
        fn no_sum_overflows(a: u64, b: u64) {
            let sum = some(a).plus(some(b));
            prop_assert!(sum.local_hits >= a.max(b));
        }
    }
}
