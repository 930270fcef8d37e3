//! What `seawall new` makes, as a newcomer has it: made, checked, tested, started and called.
//!
//! Its snapshot shows what is made, this that it works. It is built into this workspace's own target
//! directory, where most of what it depends on is already.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::run::{cargo, root, shown, target};

/// With every part. No example of ours has these names, so that no binary of one is overwritten.
const NAME: &str = "newcomer";
const DEFINITION: &str = "api/proto/newcomer/v1/orders.proto";
/// With none.
const PLAIN: &str = "plain-newcomer";
/// How long the program may take to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// All of it; tells how long it took.
pub(crate) fn check() -> Result<Duration, String> {
    let start = Instant::now();
    let directory = target().join("generated");
    let plain = made(&directory, PLAIN, &[])?;
    sound(&plain)?;
    let project = made(&directory, NAME, &["--with", "job,admin"])?;
    inside(&project, &["fmt", "--check"])?;
    seawall(&project, &["proto", "add", DEFINITION])?;
    seawall(&project, &["proto", "server", DEFINITION])?;
    sound(&project)?;
    started(&project)?;
    Ok(start.elapsed())
}

/// Makes a project anew.
fn made(directory: &Path, name: &str, with: &[&str]) -> Result<PathBuf, String> {
    let project = directory.join(name);
    let failed = |error| format!("{}: {error}", directory.display());
    if project.exists() {
        fs::remove_dir_all(&project).map_err(failed)?;
    }
    fs::create_dir_all(directory).map_err(failed)?;
    seawall(directory, &[&["new", name], with].concat())?;
    Ok(project)
}

/// Its format, lints and tests.
fn sound(project: &Path) -> Result<(), String> {
    inside(project, &["fmt", "--check"])?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked"];
    let strict = ["--quiet", "--", "-D", "warnings"];
    inside(project, &[&clippy[..], &strict].concat())?;
    inside(project, &["test", "--workspace", "--locked"])
}

fn seawall(directory: &Path, arguments: &[&str]) -> Result<(), String> {
    let manifest = root().join("Cargo.toml");
    let mut command = cargo(&["run", "--quiet", "--locked", "--package", "seawall-cli"]);
    command.arg("--manifest-path").arg(manifest).arg("--");
    command.args(arguments).current_dir(directory);
    shown(&mut command).map(drop)
}

fn within(project: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target());
    command
}

fn inside(project: &Path, arguments: &[&str]) -> Result<(), String> {
    shown(&mut within(project, arguments)).map(drop)
}

/// The program; killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `cargo run`, a request, and an end in order.
fn started(project: &Path) -> Result<(), String> {
    let ports = free_ports()?;
    let mut command = within(project, &["run", "--quiet", "--locked", "--"]);
    for (name, port) in ["http", "grpc", "admin"].iter().zip(ports) {
        command.args(["--set", &format!("{name}.address=127.0.0.1:{port}")]);
    }
    command.args(["--config", "config.toml"]);
    eprintln!("\n$ cargo run");
    let child = command
        .spawn()
        .map_err(|error| format!("cargo run: {error}"))?;
    let mut program = Program(child);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
    let note = "{\"title\": \"Milk\"}";
    let reply = until(|| call(address, "POST /v1/notes", note).ok())
        .ok_or("the generated project does not answer")?;
    if !(reply.starts_with("HTTP/1.1 200 ") && reply.contains("\"title\":\"Milk\"")) {
        return Err(format!("the generated project answers: {reply}"));
    }
    // cargo has become the program: the id is its own.
    let id = program.0.id().to_string();
    let told = Command::new("kill").args(["-s", "TERM", &id]).status();
    told.map_err(|error| format!("kill: {error}"))?;
    let ended = until(|| program.0.try_wait().ok().flatten());
    let ended = ended.ok_or("the generated project does not end when it is told to")?;
    match ended.success() {
        true => Ok(()),
        false => Err(format!("the generated project ended with {ended}")),
    }
}

fn call(address: SocketAddr, line: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// Below those that outgoing connections take.
fn free_ports() -> Result<[u16; 3], String> {
    let first = 15_000 + u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = (first..32_000).filter(free);
    match (ports.next(), ports.next(), ports.next()) {
        (Some(a), Some(b), Some(c)) => Ok([a, b, c]),
        _ => Err("no free ports below 32000".to_owned()),
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
        sleep(Duration::from_millis(20));
    }
}
