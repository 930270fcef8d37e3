//! The command run as a process, and an origin for it.

#![allow(dead_code, reason = "no test uses all of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub(crate) const SEAWALL: &str = env!("CARGO_BIN_EXE_seawall");

pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(SEAWALL).args(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()))
}

/// A running gateway, killed if a test ends early.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Running {
    /// `before` is put before the command in a shell: a limit, say.
    pub(crate) fn start(upstream: SocketAddr, before: &str, more: &str) -> Self {
        let (listen, admin) = (free(), free());
        let line = format!(
            "{before} exec {SEAWALL} gateway --upstream http://{upstream} --listen {listen} --admin {admin} {more}"
        );
        let child = Command::new("sh")
            .args(["-c", &line])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let running = Self {
            child,
            listen,
            admin,
        };
        eventually("it listens", || TcpStream::connect(admin).is_ok());
        running
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if look() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// Answers every request with 200 and `ok`.
pub(crate) fn origin() -> SocketAddr {
    let listener = TcpListener::bind(free()).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    if stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    addr
}

pub(crate) fn get(addr: SocketAddr, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(addr) else {
        return String::new();
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let _ = stream.write_all(
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes(),
    );
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    text(&response)
}
