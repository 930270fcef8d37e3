//! The configuration file, watched: what changes in it takes effect without a restart. SIGHUP, by the
//! convention of other servers, has it read at once.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use seawall_gateway::Running;
use seawall_sync::shutdown::{Life, Signal, Signals};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::reload::Handle;

use crate::gateway;

/// How often the file is looked at. A change is taken up when it has stood for one look, so that a
/// file is not read while it is being written; one that is written five times a second still is.
const LOOK: Duration = Duration::from_millis(100);

/// Tells when a file has changed. Sees a file that is written in place as well as one that is
/// replaced, also by way of a symbolic link.
#[derive(Debug)]
pub(crate) struct Watch {
    file: PathBuf,
    taken: Option<Seen>,
    last: Option<Seen>,
}

/// What a look shows; another of these is another file, or the same with other contents.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl Seen {
    /// `None` for what is no file: reading a pipe may never end.
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        if !metadata.is_file() {
            return None;
        }
        Some(Self {
            modified: metadata.modified().ok()?,
            length: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

impl Watch {
    /// What is there now counts as known.
    pub(crate) fn new(file: PathBuf) -> Self {
        let now = look(&file);
        Self {
            file,
            taken: now,
            last: now,
        }
    }

    /// What is there now is about to be read.
    fn taken(&mut self) {
        self.last = look(&self.file);
        self.taken = self.last;
    }

    /// Whether it has changed since the last time this said so, and is not changing any more. A file
    /// that is gone has not changed: it is about to be replaced.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = look(&self.file);
        let settled = now == self.last;
        self.last = now;
        let changed = settled && now.is_some() && now != self.taken;
        if changed {
            self.taken = now;
        }
        changed
    }
}

fn look(file: &Path) -> Option<Seen> {
    std::fs::metadata(file).ok().as_ref().and_then(Seen::of)
}

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
            self.read(&watch.file, why, running);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_when_it_has_settled() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seawall.toml");
        std::fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(file.clone());
        assert!(!watch.has_changed());
        std::fs::write(&file, "ab").unwrap();
        assert!(!watch.has_changed(), "it may still be written");
        std::fs::write(&file, "abc").unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.has_changed() && !watch.has_changed());
        std::fs::create_dir(&file).unwrap();
        assert!(!watch.has_changed() && !watch.has_changed(), "no file");
        std::fs::remove_dir(&file).unwrap();
        let next = dir.path().join("next");
        std::fs::write(&next, "new").unwrap();
        std::fs::rename(&next, &file).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }
}
