//! The configuration file, watched: what changes in it takes effect without a restart.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use seawall_gateway::Running;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::reload::Handle;

use crate::gateway;

/// How often the file is looked at. A change is taken up when it has stood for one look, so that a
/// file is not read while it is being written.
const LOOK: Duration = Duration::from_millis(500);

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

/// What it takes to follow a file.
#[derive(Debug)]
pub(crate) struct Follow {
    /// The flags that stand over the file.
    pub(crate) args: gateway::Args,
    /// `None` where there is no file.
    pub(crate) watch: Option<Watch>,
    pub(crate) levels: Handle<LevelFilter, Registry>,
}

impl Follow {
    /// Puts what the file says in force whenever it changes, for ever.
    pub(crate) async fn run(mut self, running: &Running) {
        let Some(mut watch) = self.watch.take() else {
            return std::future::pending().await;
        };
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            if !watch.has_changed() {
                continue;
            }
            let file = watch.file.display();
            match self.take_over(running) {
                Ok(()) => tell!("{file} has changed and is in force"),
                Err(error) => {
                    tell!("{file} has changed and is refused; what was in force stays so:\n{error}")
                }
            }
        }
    }

    fn take_over(&self, running: &Running) -> Result<(), String> {
        let config = gateway::config(&self.args).map_err(|failure| {
            running.refused();
            failure.text
        })?;
        running.reload(&config).map_err(|error| error.to_string())?;
        let level = gateway::level(config.log.level);
        // It is there as long as the process.
        let _ = self.levels.modify(|filter| *filter = level);
        Ok(())
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
