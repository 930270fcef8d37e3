//! Which log lines are written, changed while the program runs.
//!
//! `tracing` asks a filter once for each place in the code and remembers the answer there, so a call
//! below its level costs a load and a branch. A change of level has every place ask again, and is for
//! that as rare and as dear as it should be: milliseconds.
//!
//! The filter is of one layer, not of all: a log at `warn` does not take spans from a tracing layer
//! beside it.

use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, callsite};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

use crate::sync::Snapshot;

/// Targets that may have a level of their own.
pub const MAX_TARGETS: usize = 256;

/// Why levels cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelsError {
    /// A part is not a level, nor a target with one.
    #[error(
        "{0:?} is no level: write error, warn, info, debug, trace or off, or TARGET=LEVEL, separated \
         by commas"
    )]
    Part(String),
    /// Levels are kept for each target.
    #[error("more than {MAX_TARGETS} targets have levels; name a module above them")]
    TooMany,
}

/// The lowest level that is written, by default and for targets that begin with a module's path.
///
/// As text: `info,sqlx=warn,shop::biz=debug`.
///
/// ```
/// use seawall::telemetry::Levels;
///
/// let levels: Levels = "info,sqlx=warn".parse()?;
/// assert_eq!(levels.with("shop::biz=debug")?.to_string(), "info,shop::biz=debug,sqlx=warn");
/// assert!("info,sqlx=loud".parse::<Levels>().is_err());
/// # Ok::<(), seawall::telemetry::LevelsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    default: LevelFilter,
    /// Sorted.
    targets: Vec<(String, LevelFilter)>,
}

impl Default for Levels {
    /// `info`.
    fn default() -> Self {
        Self {
            default: LevelFilter::INFO,
            targets: Vec::new(),
        }
    }
}

impl Levels {
    /// These, with what `changes` names changed.
    ///
    /// # Errors
    /// [`LevelsError`] says which part makes no sense.
    pub fn with(&self, changes: &str) -> Result<Self, LevelsError> {
        let mut levels = self.clone();
        let parts = changes.split(',').map(str::trim);
        for part in parts.filter(|part| !part.is_empty()) {
            let wrong = || LevelsError::Part(part.chars().take(100).collect());
            // What parses a level takes none at all for `error`.
            let level = |text: &str| match text.trim() {
                "" => Err(wrong()),
                text => text.parse().map_err(|_| wrong()),
            };
            match part.split_once('=') {
                None => levels.default = level(part)?,
                Some((target, text)) => {
                    let (target, level) = (target.trim(), level(text)?);
                    if target.is_empty() || target.chars().any(char::is_whitespace) {
                        return Err(wrong());
                    }
                    let found = |pair: &(String, LevelFilter)| pair.0.as_str().cmp(target);
                    match levels.targets.binary_search_by(found) {
                        Ok(at) => levels.targets[at].1 = level,
                        Err(at) => levels.targets.insert(at, (target.to_owned(), level)),
                    }
                }
            }
        }
        if levels.targets.len() > MAX_TARGETS {
            return Err(LevelsError::TooMany);
        }
        Ok(levels)
    }

    fn targets(&self) -> Targets {
        Targets::new()
            .with_default(self.default)
            .with_targets(self.targets.iter().cloned())
    }
}

impl FromStr for Levels {
    type Err = LevelsError;

    fn from_str(text: &str) -> Result<Self, LevelsError> {
        Self::default().with(text)
    }
}

impl std::fmt::Display for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.default)?;
        let mut targets = self.targets.iter();
        targets.try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Levels {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Reads and changes the levels of a log that runs. A clone is the same handle.
///
/// ```
/// use seawall::telemetry::{LevelHandle, Log, LogSettings};
/// use tracing_subscriber::layer::{Layer, SubscriberExt};
///
/// let (log, _guard) = Log::start(std::io::sink(), LogSettings::default())?;
/// let levels = LevelHandle::new("warn".parse()?);
/// let subscriber = tracing_subscriber::registry().with(log.layer().with_filter(levels.filter()));
/// # drop(subscriber);
/// levels.set(levels.get().with("shop=debug")?);
/// assert_eq!(levels.get().to_string(), "warn,shop=debug");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LevelHandle(Arc<State>);

#[derive(Debug)]
struct State {
    filter: Snapshot<Targets>,
    set: Mutex<Set>,
}

#[derive(Debug)]
struct Set {
    current: Levels,
    /// What holds when nothing is set for a time.
    lasting: Levels,
    /// Of the last change.
    version: u64,
}

impl LevelHandle {
    /// With these levels.
    #[must_use]
    pub fn new(levels: Levels) -> Self {
        Self(Arc::new(State {
            filter: Snapshot::new(levels.targets()),
            set: Mutex::new(Set {
                current: levels.clone(),
                lasting: levels,
                version: 0,
            }),
        }))
    }

    /// What holds.
    #[must_use]
    pub fn get(&self) -> Levels {
        self.0.set.lock().current.clone()
    }

    /// What holds once levels that were set for a time do no longer.
    #[must_use]
    pub fn lasting(&self) -> Levels {
        self.0.set.lock().lasting.clone()
    }

    /// Sets the levels, until they are set again.
    pub fn set(&self, levels: Levels) {
        let mut set = self.0.set.lock();
        set.lasting = levels.clone();
        self.change(&mut set, levels);
    }

    /// Sets the levels until what this returns is dropped; then those that were set to last hold
    /// again, unless levels were set meanwhile.
    pub fn set_for_a_time(&self, levels: Levels) -> ForATime {
        let mut set = self.0.set.lock();
        self.change(&mut set, levels);
        ForATime {
            handle: self.clone(),
            version: set.version,
        }
    }

    /// The filter for a [`LogLayer`](super::LogLayer), which follows what is set here.
    #[must_use]
    pub fn filter(&self) -> LevelsFilter {
        LevelsFilter(self.0.clone())
    }

    fn change(&self, set: &mut Set, levels: Levels) {
        set.version += 1;
        self.0.filter.store(levels.targets());
        set.current = levels;
        callsite::rebuild_interest_cache();
    }
}

/// Levels that hold for as long as this is kept.
#[derive(Debug)]
#[must_use = "the levels hold until this is dropped"]
pub struct ForATime {
    handle: LevelHandle,
    version: u64,
}

impl Drop for ForATime {
    fn drop(&mut self) {
        let mut set = self.handle.0.set.lock();
        if set.version == self.version {
            let lasting = set.lasting.clone();
            self.handle.change(&mut set, lasting);
        }
    }
}

/// Lets through what a [`LevelHandle`] says.
#[derive(Clone, Debug)]
pub struct LevelsFilter(Arc<State>);

impl<S> Filter<S> for LevelsFilter {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        Filter::<S>::enabled(&**self.0.filter.load(), metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::<S>::callsite_enabled(&**self.0.filter.load(), metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&**self.0.filter.load())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tracing::{Event, Subscriber, debug, info, trace};
    use tracing_subscriber::layer::{Layer, SubscriberExt};

    /// Counts the events it is given.
    #[derive(Clone, Default)]
    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn levels_change_and_change_back_and_others_are_left_alone() {
        let levels = LevelHandle::new(Levels::default());
        let (log, all) = (Count::default(), Count::default());
        let subscriber = tracing_subscriber::registry()
            .with(log.clone().with_filter(levels.filter()))
            .with(all.clone().with_filter(LevelFilter::TRACE));
        let counts = || {
            debug!(target: "shop::biz", "of the target");
            debug!(target: "shop", "above it");
            info!(target: "sqlx", "of another");
            let seen = (log.0.swap(0, SeqCst), all.0.swap(0, SeqCst));
            assert_eq!(seen.1, 3);
            seen.0
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(counts(), 1);
            let first = levels.set_for_a_time("info,shop::biz=debug".parse().unwrap());
            assert_eq!(counts(), 2);
            let second = levels.set_for_a_time("off".parse().unwrap());
            assert_eq!(counts(), 0);
            drop(first);
            assert_eq!(counts(), 0, "the later one holds");
            drop(second);
            assert_eq!((counts(), levels.get()), (1, Levels::default()));
            let late = levels.set_for_a_time("off".parse().unwrap());
            levels.set("debug".parse().unwrap());
            drop(late);
            assert_eq!((counts(), levels.lasting()), (3, "debug".parse().unwrap()));
        });
    }

    #[test]
    fn what_is_below_the_level_is_not_even_made() {
        let levels = LevelHandle::new(Levels::default());
        let layer = Count::default().with_filter(levels.filter());
        let subscriber = tracing_subscriber::registry().with(layer);
        let made = AtomicUsize::new(0);
        let field = || made.fetch_add(1, SeqCst);
        let trace = || trace!(field = field(), "below");
        tracing::subscriber::with_default(subscriber, || {
            trace();
            assert_eq!(made.load(SeqCst), 0);
            levels.set("trace".parse().unwrap());
            trace();
            assert_eq!(made.load(SeqCst), 1);
        });
    }

    #[test]
    fn nonsense_is_named() {
        for (text, part) in [
            ("loud", "loud"),
            ("info,sqlx=loud", "sqlx=loud"),
            ("=info", "=info"),
            ("a b=info", "a b=info"),
            ("info=", "info="),
        ] {
            let error = text.parse::<Levels>().unwrap_err();
            assert_eq!(error, LevelsError::Part(part.to_owned()));
        }
        let many: Vec<String> = (0..=MAX_TARGETS).map(|n| format!("t{n}=warn")).collect();
        assert_eq!(many.join(",").parse::<Levels>(), Err(LevelsError::TooMany));
        assert_eq!("".parse(), Ok(Levels::default()));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(
            default in 0..6_usize,
            targets in proptest::collection::vec(("[a-z:_]{1,8}", 0..6_usize), 0..8),
        ) {
            const NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
            let mut text = NAMES[default].to_owned();
            for (target, level) in targets {
                text.push_str(&format!(",{target}={}", NAMES[level]));
            }
            let levels: Levels = text.parse().unwrap();
            prop_assert_eq!(levels.to_string().parse::<Levels>(), Ok(levels));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Levels>();
        }
    }
}
