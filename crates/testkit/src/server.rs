//! A running server.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Error, Process, Recipe, free_port};

/// A server of one's own on a port of 127.0.0.1, ended with its directory when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    // Before the directory: it must have ended when that goes.
    process: Process,
    directory: TempDir,
    recipe: Recipe,
}

impl Server {
    /// Starts it and waits until it accepts connections. Blocks the thread.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or shows what the server wrote.
    pub fn start(recipe: &Recipe) -> Result<Self, Error> {
        let directory =
            TempDir::with_prefix("seawall-").map_err(Error::io("temporary directory"))?;
        let port = free_port()?;
        let recipe = recipe
            .clone()
            .set("port", port)
            .set("dir", directory.path().display());
        for (name, from) in &recipe.trees {
            copy(from, &directory.path().join(name))?;
        }
        for (name, content) in &recipe.files {
            let path = directory.path().join(name);
            std::fs::write(&path, recipe.fill(content)).map_err(Error::io(path))?;
        }
        let server = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process: run(&recipe, directory.path())?,
            directory,
            recipe,
        };
        server.wait_ready()?;
        Ok(server)
    }

    /// Ends it with SIGKILL, as a crash does, and waits until it has ended. Its directory stays for a
    /// [`restart`](Self::restart).
    pub fn kill(&self) {
        // It fails where the process has ended, and that is what is wanted.
        let _ = self.process.signal(Signal::KILL);
        self.process.wait(self.recipe.patience);
    }

    /// Kills it if it runs, and starts it anew: the same port, the same directory.
    ///
    /// # Errors
    /// As those of [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill();
        self.process = run(&self.recipe, self.directory.path())?;
        self.wait_ready()
    }

    /// Stops it from running, without its end (SIGSTOP): it accepts connections and answers nothing.
    ///
    /// # Errors
    /// It has ended.
    pub fn freeze(&self) -> std::io::Result<()> {
        self.process.freeze()
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// It has ended.
    pub fn thaw(&self) -> std::io::Result<()> {
        self.process.signal(Signal::CONT)
    }

    fn wait_ready(&self) -> Result<(), Error> {
        let program = self.recipe.program.display().to_string();
        let end = Instant::now() + self.recipe.patience;
        loop {
            if self.process.has_ended() {
                let log = self.process.log();
                return Err(Error::Ended { program, log });
            }
            if TcpStream::connect_timeout(&self.address, Duration::from_millis(100)).is_ok() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Error::Silent {
                    program,
                    waited: self.recipe.patience,
                    log: self.process.log(),
                });
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

fn run(recipe: &Recipe, directory: &Path) -> Result<Process, Error> {
    let mut command = Command::new(&recipe.program);
    command
        .args(recipe.arguments.iter().map(|text| recipe.fill(text)))
        .current_dir(directory);
    Process::start(command, &directory.join("log"), &recipe.remedy)
}

/// A directory with all that is in it; links are followed.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to).map_err(Error::io(to))?;
    for entry in std::fs::read_dir(from).map_err(Error::io(from))? {
        let path = entry.map_err(Error::io(from))?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            std::fs::copy(&path, to.join(name)).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_restart_keeps_port_and_directory() {
        let mut server = Server::start(&Recipe::etcd()).expect("etcd");
        let (address, id) = (server.address(), server.process().id());
        let kept = server.directory().join("kept");
        std::fs::write(&kept, "").expect("a file");
        server.kill();
        assert!(TcpStream::connect(address).is_err());
        server.restart().expect("etcd");
        assert_eq!(server.address(), address);
        assert_ne!(server.process().id(), id);
        assert!(kept.exists() && TcpStream::connect(address).is_ok());
    }

    #[test]
    fn a_frozen_server_accepts_and_says_nothing() {
        let server = Server::start(&Recipe::nats()).expect("nats-server");
        // It greets whoever connects.
        let greeting = |wait| {
            let mut stream = TcpStream::connect(server.address())?;
            stream.set_read_timeout(Some(wait))?;
            stream.read(&mut [0; 4])
        };
        server.freeze().expect("it runs");
        assert!(greeting(Duration::from_millis(50)).is_err());
        server.thaw().expect("it runs");
        assert_eq!(greeting(Duration::from_secs(10)).expect("a greeting"), 4);
    }

    #[test]
    fn what_is_missing_names_the_remedy() {
        let recipe = Recipe::command("no-such-server", "install it with: apt-get install x");
        let error = Server::start(&recipe).expect_err("missing");
        assert!(error.to_string().contains("apt-get install x"), "{error}");
    }

    #[test]
    fn a_server_that_ends_shows_what_it_wrote() {
        let recipe = Recipe::command("sh", "").arguments(&["-c", "echo bad @port@ >&2; exit 1"]);
        let error = Server::start(&recipe).expect_err("ended");
        assert!(error.to_string().contains("bad "), "{error}");
    }

    #[test]
    fn a_silent_server_is_ended_with_its_children() {
        let recipe = Recipe::command("sh", "")
            .arguments(&["-c", "sleep 60 & echo $!; wait"])
            .patience(Duration::from_millis(300));
        let error = Server::start(&recipe).expect_err("silent");
        let Error::Silent { log, .. } = error else {
            panic!("{error}");
        };
        let child: u32 = log.trim().parse().expect("the child's id");
        let gone = (0..200).any(|_| {
            sleep(Duration::from_millis(10));
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        });
        assert!(gone, "the child lives on");
    }
}
