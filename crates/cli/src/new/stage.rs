//! A directory that is there whole, or not at all.
//!
//! Files are written beside where they are to be, in a directory that is renamed when all of them
//! are there. The rename is also what never overwrites: no check before it could be sure.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is being written; removed when dropped before it is [kept](Stage::keep).
#[derive(Debug)]
pub(super) struct Stage {
    directory: PathBuf,
    kept: bool,
}

impl Stage {
    /// For a directory `name` below `parent`.
    pub(super) fn new(parent: &Path, name: &str) -> io::Result<Self> {
        let directory = parent.join(format!(".{name}.{}.partial", std::process::id()));
        fs::create_dir(&directory)?;
        let kept = false;
        Ok(Self { directory, kept })
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    pub(super) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)
    }

    /// Gives it its name. Fails where something of that name is, but for an empty directory.
    pub(super) fn keep(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.directory, target)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let names = || -> Vec<_> {
            let entries = fs::read_dir(parent.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        let target = parent.path().join("shop");

        let stage = Stage::new(parent.path(), "shop").unwrap();
        stage.write("src/a.rs", "a").unwrap();
        assert!(!target.exists());
        drop(stage);
        assert!(names().is_empty());

        let stage = Stage::new(parent.path(), "shop").unwrap();
        stage.write("src/a.rs", "a").unwrap();
        stage.keep(&target).unwrap();
        assert_eq!(names(), ["shop"]);

        let late = Stage::new(parent.path(), "shop").unwrap();
        late.write("src/a.rs", "b").unwrap();
        late.keep(&target).unwrap_err();
        assert_eq!(names(), ["shop"]);
        assert_eq!(fs::read_to_string(target.join("src/a.rs")).unwrap(), "a");
    }
}
