//! Scheduled work. Runs in every instance: what only one may do needs a lock in `data`.

use std::sync::Arc;
use std::time::Duration;

use seawall::app::Setup;
use seawall::config::Time;
use serde::{Deserialize, Serialize};

use crate::biz::notes::{Notes, Store};
use crate::config::Config;

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// `[job]`: what is done by itself.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// When notes expire: minute, hour, day of the month, month, day of the week. UTC.
    pub expire: String,
    /// How old they become, an hour to ten years.
    pub keep: Time<3_600_000, { 3_650 * DAY }>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            expire: "0 3 * * *".to_owned(),
            keep: Time::new(Duration::from_millis(90 * DAY)),
        }
    }
}

/// Schedules it.
pub fn schedule<S: Store>(app: &Setup<Config>, settings: &Settings, notes: Arc<Notes<S>>) {
    let keep = settings.keep.get();
    app.job("expire", settings.expire.clone(), move || {
        let notes = Arc::clone(&notes);
        async move {
            let count = notes.expire(keep).await?;
            tracing::info!(count, "notes expired");
            Ok(())
        }
    });
}
