//! A child process and its children, ended when dropped, or when who started them is killed.
//!
//! A drop runs in neither a signal's default action nor SIGKILL, and a server that outlives its test
//! or benchmark holds a port and a CPU that nobody looks for. The kernel's own bond
//! (`PR_SET_PDEATHSIG`) can only be made in the child before it becomes its program, which takes
//! unsafe code, and it is one with a thread. So each group is led by a shell that reads from a pipe
//! which we hold: whatever ends us closes it.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
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

/// What the group's leader does: waits until we are gone, then does as [`Process`]'s drop. The group
/// keeps its id while the leader lives, so that `0` is never another.
const LEADER: &str = "trap '' TERM; read -r _; kill -TERM 0; sleep 3; kill -KILL 0";

/// A process in a group of its own. Dropping it sends SIGTERM to it and, when it has ended or
/// after three seconds, SIGKILL to what is left of its group: exactly what it started, by id. The
/// same becomes of it when this process ends without dropping it, SIGKILL included.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Until the drop.
    group: Option<Group>,
}

/// A process group; killed when dropped.
#[derive(Debug)]
struct Group {
    leader: Child,
    /// Closed by our end.
    _held: Option<ChildStdin>,
}

impl Group {
    fn start() -> io::Result<Self> {
        let mut leader = Command::new("sh")
            .args(["-c", LEADER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let held = leader.stdin.take();
        Ok(Self {
            leader,
            _held: held,
        })
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.leader)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(self.id(), Signal::KILL);
        let _ = self.leader.wait();
    }
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
        let group = Group::start().map_err(Error::io("sh"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(group.id().as_raw_nonzero().get())
            .spawn();
        match child {
            Ok(child) => Ok(Self {
                child,
                log: log.to_owned(),
                group: Some(group),
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

    /// Stops all of its threads from running (SIGSTOP), and returns when they have stopped: the
    /// signal alone is only on its way.
    ///
    /// # Errors
    /// It has ended.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        // Reported again to whoever asks next.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()), options)?;
        Ok(())
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

    pub(crate) fn wait(&self, longest: Duration) {
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
        drop(self.group.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names the log to whom this test starts to be killed.
    const LOG: &str = "SEAWALL_TESTKIT_LOG";

    fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
        (0..2_000).find_map(|_| {
            sleep(Duration::from_millis(5));
            look()
        })
    }

    #[test]
    fn whatever_ends_us_ends_what_we_started() {
        if let Some(log) = std::env::var_os(LOG) {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 60 & echo $! $$; wait"]);
            let _started = Process::start(command, log.as_ref(), "").expect("sh");
            loop {
                std::thread::park();
            }
        }
        let directory = tempfile::tempdir().expect("a directory");
        for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
            let log = directory.path().join(format!("{signal:?}"));
            let mut owner = Command::new(std::env::current_exe().expect("this test"))
                .args([
                    "--exact",
                    "process::tests::whatever_ends_us_ends_what_we_started",
                ])
                .env(LOG, &log)
                .stdout(Stdio::null())
                .spawn()
                .expect("this test");
            let started = eventually(|| {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                text.ends_with('\n').then_some(text)
            });
            kill_process(Pid::from_child(&owner), signal).expect("it runs");
            owner.wait().expect("it ends");
            for id in started.expect("it starts something").split_whitespace() {
                let gone = eventually(|| {
                    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
                    stat.map_or(true, |stat| stat.contains(") Z "))
                        .then_some(())
                });
                assert!(gone.is_some(), "{signal:?}: {id} lives on");
            }
        }
    }
}
