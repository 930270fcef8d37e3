//! Changes of the configuration while the program runs: taken over whole, or refused whole.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::config::{Configuration, Faults, Loaded, Sources};
use super::metrics::Reloads;
use super::part::BoxError;
use super::settings::frozen;
use super::setup::Shared;
use super::stack::Stacks;
use crate::config::Watch;
use crate::sync::shutdown::{Signal, Signals};
use crate::telemetry::LevelHandle;

/// How often the file is looked at. A change is taken up when it has stood for one look.
const LOOK: Duration = Duration::from_millis(100);

/// What the program itself says of a configuration, before it is used.
pub(super) type Validate<C> = Arc<dyn Fn(&C) -> Result<(), BoxError> + Send + Sync>;

/// Reads everything, and has the program say what it thinks of it.
pub(super) fn read<C: Configuration>(
    sources: &Sources,
    validate: Option<&Validate<C>>,
) -> Result<Loaded<C>, String> {
    let loaded = sources
        .load::<C>()
        .map_err(|faults: Faults| faults.to_string())?;
    match validate.map(|validate| validate(&loaded.own)) {
        Some(Err(error)) => Err(error.to_string()),
        _ => Ok(loaded),
    }
}

/// What it takes to follow a file.
pub(super) struct Follow<C> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) sources: Sources,
    pub(super) validate: Option<Validate<C>>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) levels: Option<LevelHandle>,
    pub(super) stacks: Stacks,
}

impl<C: Configuration> Follow<C> {
    /// Looks for ever; never returns where there is no file.
    pub(super) async fn run(self, mut watch: Option<Watch>, mut hangups: Option<Signals>) {
        let Some(mut watch) = watch.take() else {
            return std::future::pending().await;
        };
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if !watch.has_changed() {
                        continue;
                    }
                }
                () = hangup(&mut hangups) => watch.taken(),
            }
            self.take_over();
        }
    }

    fn take_over(&self) {
        // What only the methods can judge is the last that can refuse.
        let loaded = read(&self.sources, self.validate.as_ref()).and_then(|loaded| {
            let taken = self.stacks.configure(&loaded.settings);
            taken.map(|()| loaded).map_err(|wrong| wrong.to_string())
        });
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                self.reloads.refused.fetch_add(1, Relaxed);
                for line in error.lines() {
                    tracing::error!("configuration refused, what was in force stays so: {line}");
                }
                return;
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let old = self.shared.settings.load_full();
        for section in frozen(&old, &loaded.settings) {
            tracing::warn!("`{section}` has changed, which takes effect with a restart");
        }
        // What was set by hand holds until the file says something else.
        if old.log.level != loaded.settings.log.level
            && let Some(levels) = &self.levels
        {
            levels.set(loaded.settings.log.level.clone());
        }
        self.shared.settings.store(loaded.settings);
        self.shared.own.store(loaded.own);
        self.reloads.taken.fetch_add(1, Relaxed);
        tracing::info!("the configuration has changed and is in force");
    }
}

async fn hangup(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => while signals.next().await != Signal::Hangup {},
        None => std::future::pending().await,
    }
}
