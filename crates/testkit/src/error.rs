//! Why a server did not start.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not installed.
    #[error("{program} is not installed; {remedy}")]
    Missing {
        /// The program.
        program: String,
        /// The line to type.
        remedy: String,
    },
    /// It ended before it answered.
    #[error("{program} ended at its start:\n{log}")]
    Ended {
        /// The program.
        program: String,
        /// The end of what it wrote.
        log: String,
    },
    /// It runs but does not accept connections.
    #[error("{program} does not answer after {} s:\n{log}", waited.as_secs())]
    Silent {
        /// The program.
        program: String,
        /// How long it was given.
        waited: Duration,
        /// The end of what it wrote.
        log: String,
    },
    /// No port below 32768 was free in many tries.
    #[error("no free port between 10000 and 32767")]
    Ports,
    /// A statement that the server refused.
    #[error("`{statement}` was refused: {message}")]
    Refused {
        /// What was asked.
        statement: String,
        /// What the server said.
        message: String,
    },
    /// A file could not be written or a process not be started.
    #[error("{path}: {source}")]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
