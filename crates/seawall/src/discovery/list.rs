//! A file of targets, one a line.
//!
//! Lines rather than TOML: such files are written by scripts and templates, are compared line by
//! line when something went wrong, and a line is what the configuration's own lists hold too.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::target::{Target, TargetError};

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
/// The most targets that a file may name.
const MAX_TARGETS: usize = 10_000;

/// Why a file of targets is refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read, or is not UTF-8.
    #[error("cannot be read: {0}")]
    Io(Arc<io::Error>),
    /// A line is no target.
    #[error("line {line}: {error}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        error: TargetError,
    },
    /// It names no target.
    #[error(
        "names no endpoint; an upstream is taken out in the configuration, not by an empty file"
    )]
    Empty,
    /// Over 1 MiB or 10,000 targets.
    #[error("is too large: at most 1 MiB and 10000 targets")]
    TooLarge,
}

/// Reads a file of targets. Blocks on the disk.
pub(super) fn read(path: &Path) -> Result<Vec<Target>, ListError> {
    let failed = |error| ListError::Io(Arc::new(error));
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ListError::TooLarge);
    }
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Target>, ListError> {
    let mut targets = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line_text = line.split('#').next().unwrap_or_default().trim();
        if line_text.is_empty() {
            continue;
        }
        let target = line_text.parse();
        targets.push(target.map_err(|error| ListError::Line { line: n + 1, error })?);
        if targets.len() > MAX_TARGETS {
            return Err(ListError::TooLarge);
        }
    }
    if targets.is_empty() {
        return Err(ListError::Empty);
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "# ours\n\n 10.0.0.7:80 weight=2 # the large one\r\ndb.internal:80\n";
        let targets = parse(text).unwrap();
        let shown: Vec<String> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.7:80 weight=2", "db.internal:80"]);
    }

    #[test]
    fn refused_whole() {
        let error = parse("10.0.0.7:80\n10.0.0.8\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: `10.0.0.8` has no port: write 10.0.0.8:80"
        );
        assert!(matches!(parse("# none\n\n"), Err(ListError::Empty)));
        assert!(matches!(
            parse(&"a:1\n".repeat(10_001)),
            Err(ListError::TooLarge)
        ));
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        assert!(matches!(read(&path), Err(ListError::Io(_))));
        for (content, expected) in [
            (b"\xFF\xFE".to_vec(), "cannot be read"),
            (vec![b'#'; (1 << 20) + 1], "too large"),
            (b"".to_vec(), "names no endpoint"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
