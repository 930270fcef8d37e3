//! A child process and its children, ended when dropped.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use crate::Error;

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes of log shown in an error.
const TAIL: usize = 2_000;

/// A process in a group of its own. Dropping it sends SIGTERM to it and, when it has ended or
/// after three seconds, SIGKILL to what is left of its group: exactly what it started, by id.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output going to the file `log`.
    ///
    /// # Errors
    /// [`Error::Missing`] with `remedy` when the program is not there; [`Error::Io`] else.
    pub fn start(mut command: Command, log: &Path, remedy: &str) -> Result<Self, Error> {
        let output = File::create(log).map_err(Error::io(log))?;
        let errors = output.try_clone().map_err(Error::io(log))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn();
        match child {
            Ok(child) => Ok(Self {
                child,
                log: log.to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Missing {
                program,
                remedy: remedy.to_owned(),
            }),
            Err(source) => Err(Error::Io {
                path: program.into(),
                source,
            }),
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, for example STOP, CONT or KILL.
    ///
    /// # Errors
    /// Fails when it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid(), signal)?)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // Left unreaped, so that its id and its group's stay ours until the drop.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    /// The end of what it has written.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(TAIL)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn wait(&self, longest: Duration) {
        let end = Instant::now() + longest;
        while !self.has_ended() && Instant::now() < end {
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::TERM);
        self.wait(GRACE);
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}
