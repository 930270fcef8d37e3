//! A file, watched by looking at it: that sees what is written in place, what is replaced, and what
//! a symbolic link points to, on every file system, for one `stat` a look.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Tells when a file has changed. Sees a file that is written in place as well as one that is
/// replaced, also by way of a symbolic link.
#[derive(Debug)]
pub struct Watch {
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
    #[must_use]
    pub fn new(file: PathBuf) -> Self {
        let now = look(&file);
        Self {
            file,
            taken: now,
            last: now,
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What is there now is about to be read.
    pub fn taken(&mut self) {
        self.last = look(&self.file);
        self.taken = self.last;
    }

    /// Whether it has changed since the last time this said so, and is not changing any more. A file
    /// that is gone has not changed: it is about to be replaced.
    ///
    /// To be asked every 100 ms or so: a change is taken up when it has stood for one look, so that a
    /// file is not read while it is being written. A call costs one `stat`.
    pub fn has_changed(&mut self) -> bool {
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
