//! A file that is read again when it has changed.
//!
//! By polling: a watch on a file ends with the file when another is renamed over it, and does not
//! cross network file systems. Time, length and number of a file tell most changes; what was
//! written within two seconds of being read is read again, as a change that follows in the same
//! tick of the file system's clock could not be told.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The coarsest clock of a file system (FAT).
const TICK: Duration = Duration::from_secs(2);

/// A file, and how it was when it was last read.
#[derive(Debug)]
pub(super) struct Filed {
    path: PathBuf,
    seen: Option<Seen>,
}

type Seen = (u64, u64, u64, SystemTime);

impl Filed {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            seen: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it must be read; the next call asks about what comes after. A file that cannot be
    /// looked at must always be: reading says why.
    pub(super) fn has_changed(&mut self) -> bool {
        let seen = std::fs::metadata(&self.path)
            .and_then(|meta| seen(&meta))
            .ok();
        let settled = seen.filter(|(_, _, _, modified)| {
            // A time in the future settles when it has come.
            modified.elapsed().is_ok_and(|age| age > TICK)
        });
        let same = settled.is_some() && self.seen == settled;
        self.seen = settled;
        !same
    }
}

fn seen(meta: &Metadata) -> io::Result<Seen> {
    Ok((meta.dev(), meta.ino(), meta.len(), meta.modified()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, rename, write};

    fn set_age(path: &Path, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    #[test]
    fn what_was_written_just_now_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut filed = Filed::new(&path);
        assert!(filed.has_changed() && filed.has_changed(), "missing");
        write(&path, "a").unwrap();
        assert!(filed.has_changed() && filed.has_changed(), "young");
        set_age(&path, 100);
        assert!(filed.has_changed());
        assert!(!filed.has_changed(), "settled");
    }

    #[test]
    fn a_rename_is_a_change_even_of_the_same_length_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        let time = SystemTime::now() - Duration::from_secs(100);
        for path in [&path, &other] {
            write(path, "a").unwrap();
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        let mut filed = Filed::new(&path);
        assert!(filed.has_changed());
        assert!(!filed.has_changed());
        rename(&other, &path).unwrap();
        assert!(filed.has_changed());
    }
}
