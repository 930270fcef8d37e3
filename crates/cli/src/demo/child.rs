//! The processes of the demo: this executable again, in another role.
//!
//! A child is ended by its own process id, from [`Child`]'s drop. Should this process be killed
//! before it can do so, the kernel ends the child: each child asks for that before anything else.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use seawall_bench::origin::{Config, Gone, Origin};

use crate::Failure;

/// How long a gateway may take to finish what is under way.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is remembered of what a child says.
const SAID: usize = 4096;

/// What a process of the demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// The service to be protected.
    Origin,
    /// `seawall gateway`.
    Gateway,
}

/// A child; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    role: Role,
    process: std::process::Child,
    said: Option<JoinHandle<String>>,
}

impl Child {
    /// Starts an origin that listens on `address`.
    pub(super) fn origin(address: SocketAddr) -> Result<Self, Failure> {
        Self::start(Role::Origin, &[address])
    }

    /// Starts a gateway.
    pub(super) fn gateway(
        upstream: SocketAddr,
        listen: SocketAddr,
        admin: SocketAddr,
    ) -> Result<Self, Failure> {
        Self::start(Role::Gateway, &[upstream, listen, admin])
    }

    fn start(role: Role, addresses: &[SocketAddr]) -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("cannot start another process: {error}"));
        let name = match role {
            Role::Origin => "origin",
            Role::Gateway => "gateway",
        };
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["demo", "--role", name])
            .arg(std::process::id().to_string())
            .args(addresses.iter().map(ToString::to_string))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for us; we then end the children in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let said = process.stderr.take().map(|stderr| {
            // A pipe nobody reads would block its writer.
            std::thread::spawn(move || last_words(stderr))
        });
        Ok(Self {
            role,
            process,
            said,
        })
    }

    /// Whether it has ended; then what it said.
    pub(super) fn ended(&mut self) -> Option<String> {
        let ended = !matches!(self.process.try_wait(), Ok(None));
        ended.then(|| {
            let said = self.said.take().and_then(|reader| reader.join().ok());
            said.unwrap_or_default()
        })
    }

    fn terminate(&mut self) {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.role == Role::Gateway) {
            let _ = kill_process(pid, Signal::TERM);
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && matches!(self.process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // Not an error where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Reaped already: the id may be another process's by now.
        if matches!(self.process.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}

fn last_words(mut from: impl std::io::Read) -> String {
    let mut said = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        said.extend_from_slice(&piece[..length]);
        let excess = said.len().saturating_sub(SAID);
        said.drain(..excess);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// What a child does: `arguments` are its parent's process id and its addresses.
pub(super) fn play(role: Role, arguments: &[String]) -> Result<(), Failure> {
    let unclear = || Failure::new("--role is for `seawall demo` itself; leave it out");
    let (parent, addresses) = arguments.split_first().ok_or_else(unclear)?;
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    let parent = parent.ok_or_else(unclear)?;
    let addresses: Vec<SocketAddr> = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| unclear())?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::new(format!("cannot be bound to its parent: {error}")))?;
    if getppid() != Some(parent) {
        // The parent ended before the line above.
        return Err(unclear());
    }
    match (role, addresses.as_slice()) {
        (Role::Origin, [listen]) => origin(*listen),
        (Role::Gateway, [upstream, listen, admin]) => Err(gateway(*upstream, *listen, *admin)),
        _ => Err(unclear()),
    }
}

/// Serves for ever. Like most servers, it finds out that a caller has left when it writes the
/// answer, and so does the work for nobody.
fn origin(listen: SocketAddr) -> Result<(), Failure> {
    seawall_bench::system::raise_descriptor_limit();
    let config = Config {
        listen,
        gone: Gone::Work,
        ..Config::default()
    };
    let origin = Origin::start(config).map_err(|error| Failure::new(format!("{error:#}")))?;
    origin
        .wait()
        .map_err(|error| Failure::new(error.to_string()))
}

/// Becomes the very command that a user types; the bond to the parent outlives that.
fn gateway(upstream: SocketAddr, listen: SocketAddr, admin: SocketAddr) -> Failure {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Failure::new(format!("cannot find the program itself: {error}")),
    };
    let error = Command::new(program)
        .arg("gateway")
        .args(["--upstream", &format!("http://{upstream}")])
        .args(["--listen", &listen.to_string()])
        .args(["--admin", &admin.to_string()])
        .exec();
    Failure::new(format!("cannot start the gateway: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_much_text_is_kept() {
        let text = format!("{}the end", "x".repeat(3 * SAID));
        let said = last_words(text.as_bytes());
        assert_eq!(said.len(), SAID);
        assert!(said.ends_with("the end"));
    }

    #[test]
    fn a_role_without_its_parent_is_refused() {
        for arguments in [
            vec![],
            vec!["0".to_owned()],
            vec!["x".to_owned(), "127.0.0.1:1".to_owned()],
        ] {
            let refused = play(Role::Origin, &arguments).expect_err("no parent");
            assert!(refused.text.contains("leave it out"), "{}", refused.text);
        }
    }
}
