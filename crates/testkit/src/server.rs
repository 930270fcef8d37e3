//! A running server.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Error, Process, Recipe, free_port};

/// A server of one's own on a port of 127.0.0.1, ended with its directory when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    // Before the directory: it must have ended when that goes.
    process: Process,
    directory: TempDir,
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
        for (name, content) in &recipe.files {
            let path = directory.path().join(name);
            std::fs::write(&path, recipe.fill(content)).map_err(Error::io(path))?;
        }
        let mut command = Command::new(&recipe.program);
        command
            .args(recipe.arguments.iter().map(|text| recipe.fill(text)))
            .current_dir(directory.path());
        let log = directory.path().join("log");
        let process = Process::start(command, &log, &recipe.remedy)?;
        let server = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process,
            directory,
        };
        server.wait_ready(&recipe)?;
        Ok(server)
    }

    fn wait_ready(&self, recipe: &Recipe) -> Result<(), Error> {
        let program = recipe.program.display().to_string();
        let end = Instant::now() + recipe.patience;
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
                    waited: recipe.patience,
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
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
