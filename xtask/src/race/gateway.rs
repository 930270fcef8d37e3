//! The gateway, built with the sanitizer, under more load than its origin can take.
//!
//! Overload is what makes threads meet: places run out, calls wait for one another, levels move.
//! Both protocols, then a drain; meanwhile the admin listener reads what the threads write.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{CAUGHT, Race, sanitized};
use crate::run::{cargo, line, shown, target};

/// Requests a second, to an origin that can do 1,000 and a gateway slowed by the sanitizer.
const RATE: u32 = 2_000;
/// How long the gateway may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn under_load(race: &Race<'_>) -> Result<Duration, String> {
    let mut gateway = race.cargo("build");
    gateway.args([
        "--package",
        "seawall-cli",
        "--features",
        "tokio/parking_lot",
    ]);
    shown(&mut gateway)?;
    // Load and origin are not under test, so they are built without.
    shown(&mut cargo(&[
        "build",
        "--locked",
        "--profile",
        "quick",
        "--package",
        "seawall-bench",
    ]))?;
    let start = Instant::now();
    let bench = target().join("quick").join("seawall-bench");
    let mut origin = Running::start(Command::new(&bench).arg("origin").stdout(Stdio::piped()))?;
    let upstream = format!("http://{}", origin.first_line()?);
    let log = race.folder.join("gateway.log");
    let gateway = Gateway::start(&race.built("seawall"), &upstream, &log)?;
    let loaded = gateway.load(&bench, race.args.seconds);
    // Its reports are worth more than how the load went.
    gateway.end(&log)?;
    loaded.map(|()| start.elapsed())
}

struct Gateway {
    running: Running,
    address: String,
    admin: String,
}

impl Gateway {
    fn start(program: &Path, upstream: &str, log: &PathBuf) -> Result<Self, String> {
        let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = Command::new(program);
        command.args(["gateway", "--upstream", upstream]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        sanitized(command.stderr(file));
        let mut running = Running::start(&mut command)?;
        let until = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(log).unwrap_or_default();
            // The line that follows says that both addresses are written out.
            if let (Some(address), Some(admin), true) = (
                word_after(&text, "listening on http://"),
                word_after(&text, "admin on http://"),
                text.contains("protections:"),
            ) {
                return Ok(Self {
                    running,
                    address,
                    admin: admin.trim_end_matches(':').to_owned(),
                });
            }
            if Instant::now() > until || running.ended().is_some() {
                return Err(format!("the gateway does not listen:\n{text}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn load(&self, bench: &Path, seconds: u32) -> Result<(), String> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for page in ["/metrics", "/explain?text"] {
                        // Busy is no failure; the reports and the load's outcome tell.
                        let _ = get(&self.admin, page);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let loaded = ["h1", "h2"].iter().try_for_each(|wire| {
                let mut load = Command::new(bench);
                load.args(["load", "--timeout-ms", "500", "--wire", wire]);
                load.args([
                    "--rate",
                    &RATE.to_string(),
                    "--seconds",
                    &seconds.to_string(),
                ]);
                load.args(["--url", &format!("http://{}/", self.address)]);
                shown(&mut load).map(|_| ())
            });
            done.store(true, Ordering::Relaxed);
            loaded
        })
    }

    /// Has it drain; its exit code and its log say whether anything was reported.
    fn end(mut self, log: &Path) -> Result<(), String> {
        let id = self.running.0.id().to_string();
        shown(Command::new("kill").args(["-TERM", &id]))?;
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match self.running.ended() {
                Some(status) => break status,
                None if Instant::now() > until => {
                    return Err(format!("the gateway did not drain in {PATIENCE:?}"));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let text = fs::read_to_string(log).unwrap_or_default();
        let races = text.matches("WARNING: ThreadSanitizer").count();
        if races > 0 || status.code() == Some(CAUGHT) {
            eprintln!("{text}");
            return Err(format!("{races} races reported in {}", log.display()));
        }
        status
            .success()
            .then_some(())
            .ok_or_else(|| format!("the gateway: {status}; see {}", log.display()))
    }
}

/// A process that ends with its owner.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self, String> {
        let line = line(command);
        eprintln!("\n$ {line} &");
        let child = command.spawn();
        child
            .map(Self)
            .map_err(|error| format!("cannot run `{line}`: {error}"))
    }

    fn first_line(&mut self) -> Result<String, String> {
        let out = self.0.stdout.take().ok_or("its output is not ours")?;
        let mut text = String::new();
        BufReader::new(out)
            .read_line(&mut text)
            .map_err(|error| error.to_string())?;
        Ok(text.trim_end().to_owned())
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for one that has ended, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn word_after(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    rest.split_whitespace().next().map(str::to_owned)
}

fn get(address: &str, page: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {page} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
