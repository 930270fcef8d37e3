//! A file that is replaced whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Why an image could not be written to disk.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The path does not end in a file name.
    #[error("cannot save to {path:?}: it names no file; give the path of a file")]
    NoFile {
        /// The path that was given.
        path: PathBuf,
    },
    /// The temporary file beside the image could not be created.
    #[error("cannot create {path:?}: {source}; the directory must exist and be writable")]
    Create {
        /// The temporary file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The image could not be written or serialised.
    #[error("cannot write {path:?}: {source}")]
    Write {
        /// The temporary file.
        path: PathBuf,
        /// What the system or the caller's closure says.
        source: io::Error,
    },
    /// What was written may not be on the disk.
    #[error("cannot sync {path:?} to disk: {source}")]
    Sync {
        /// The temporary file, or the directory if the image is already in place.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The finished image could not be moved over the old one.
    #[error("cannot replace {path:?}: {source}")]
    Replace {
        /// The image.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Removes the temporary file unless it has become the image; also when `write` panics.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // There is nothing to be done about a file that cannot be removed.
            let _ = fs::remove_file(path);
        }
    }
}

pub(super) fn save(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), SaveError> {
    let (temporary, mut file) = create_beside(path)?;
    let mut guard = Temporary(Some(temporary.clone()));
    if let Ok(old) = fs::metadata(path) {
        // Before anything is in it: an image that others may not read must not become readable.
        file.set_permissions(old.permissions())
            .map_err(|source| SaveError::Create {
                path: temporary.clone(),
                source,
            })?;
    }
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered)
        .and_then(|()| buffered.flush())
        .map_err(|source| SaveError::Write {
            path: temporary.clone(),
            source,
        })?;
    drop(buffered);
    file.sync_all().map_err(|source| SaveError::Sync {
        path: temporary.clone(),
        source,
    })?;
    fs::rename(&temporary, path).map_err(|source| SaveError::Replace {
        path: path.into(),
        source,
    })?;
    guard.0 = None;
    sync_directory(path)
}

/// A new file in the same directory, since a rename is atomic only within one file system.
fn create_beside(path: &Path) -> Result<(PathBuf, File), SaveError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| SaveError::NoFile { path: path.into() })?;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut unique = OsString::from(".");
        unique.push(name);
        unique.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(unique);
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => return Ok((temporary, file)),
            // Left by a process that was killed; in a container its id may well have been ours.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(SaveError::Create {
                    path: temporary,
                    source,
                });
            }
        }
    }
}

/// Makes the rename itself durable.
fn sync_directory(path: &Path) -> Result<(), SaveError> {
    if !cfg!(unix) {
        // Elsewhere directories cannot be opened as files.
        return Ok(());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| SaveError::Sync {
            path: directory.into(),
            source,
        })
}
