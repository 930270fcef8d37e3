//! The configuration file, watched: what changes in it takes effect without a restart. SIGHUP, by the
//! convention of other servers, has it read at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall::config::Watch;
use seawall_gateway::Running;
use seawall_sync::shutdown::{Life, Signal, Signals};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::reload::Handle;

use crate::gateway;

/// How often the file is looked at. A change is taken up when it has stood for one look, so that a
/// file is not read while it is being written; one that is written five times a second still is.
const LOOK: Duration = Duration::from_millis(100);

/// A file, and the signal that has it read.
#[derive(Debug)]
pub(crate) struct Source {
    watch: Watch,
    hangups: Signals,
}

impl Source {
    /// What is there now counts as known; SIGHUP ends the program no more.
    ///
    /// # Errors
    /// The system does not let us catch the signal.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(file: PathBuf) -> std::io::Result<Self> {
        Ok(Self {
            watch: Watch::new(file),
            hangups: Signals::only(&[Signal::Hangup])?,
        })
    }
}

/// Why the file is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    Changed,
    Asked,
}

/// What it takes to follow a file.
#[derive(Debug)]
pub(crate) struct Follow {
    /// The flags that stand over the file.
    pub(crate) args: gateway::Args,
    /// `None` where there is no file.
    pub(crate) source: Option<Source>,
    pub(crate) levels: Handle<LevelFilter, Registry>,
    /// Is told of another `drain_timeout`.
    pub(crate) life: Life,
}

impl Follow {
    /// Puts what the file says in force whenever it changes or SIGHUP comes, for ever.
    pub(crate) async fn run(mut self, running: &Running) {
        let Some(Source {
            mut watch,
            mut hangups,
        }) = self.source.take()
        else {
            return std::future::pending().await;
        };
        let mut look = tokio::time::interval(LOOK);
        loop {
            let why = tokio::select! {
                _ = look.tick() => {
                    if !watch.has_changed() {
                        continue;
                    }
                    Why::Changed
                }
                _ = hangups.next() => {
                    watch.taken();
                    Why::Asked
                }
            };
            self.read(watch.file(), why, running);
        }
    }

    fn read(&self, file: &Path, why: Why, running: &Running) {
        let (file, read) = match why {
            Why::Changed => (file.display(), "has changed"),
            Why::Asked => (file.display(), "was read again"),
        };
        match self.take_over(why, running) {
            Ok(true) => {
                tell!("{file} {read} and is in force");
                gateway::warn(&running.config());
            }
            Ok(false) => tell!("{file} {read} and says what is in force already"),
            Err(error) => {
                tell!("{file} {read} and is refused; what was in force stays so:\n{error}")
            }
        }
    }

    /// Whether anything is other than before.
    fn take_over(&self, why: Why, running: &Running) -> Result<bool, String> {
        let config = gateway::config(&self.args).map_err(|failure| {
            running.refused();
            failure.text
        })?;
        let other = *running.config() != config;
        // Who asks may have changed what the file names, and not the file.
        if other || why == Why::Asked {
            running.reload(&config).map_err(|error| error.to_string())?;
        }
        let level = gateway::level(config.log.level);
        // It is there as long as the process.
        let _ = self.levels.modify(|filter| *filter = level);
        self.life.set_drain_timeout(config.drain_timeout);
        Ok(other)
    }
}
