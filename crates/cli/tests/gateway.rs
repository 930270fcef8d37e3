//! The gateway as a process: signals, shortages, abuse, and its configuration file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use support::{Running, SEAWALL, eventually, free, get, origin, text};

#[test]
fn sigterm_drains_and_ends_with_success() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut running = Running::start(origin(), "", "");
        assert!(get(running.listen, "/").ends_with("ok"));
        running.signal(signal);
        assert_eq!(running.child.wait().unwrap().code(), Some(0), "{signal}");
        let mut told = String::new();
        running
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut told)
            .unwrap();
        for part in [
            "listening on",
            "protecting",
            "admin on",
            "protections: adaptive",
            "draining",
        ] {
            assert!(told.contains(part), "{part} in\n{told}");
        }
    }
}

#[test]
fn an_unreachable_upstream_is_a_warning() {
    let mut running = Running::start(free(), "", "--shadow");
    for _ in 0..30 {
        assert!(get(running.listen, "/").starts_with("HTTP/1.1 502"));
    }
    running.signal("TERM");
    let mut told = String::new();
    running
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(
        told.contains("warning: ") && told.contains("in shadow"),
        "{told}"
    );
    // The failing calls are told of too, a line a second however many they are.
    let lines = told
        .lines()
        .filter(|line| line.contains("the upstream is not reached"));
    assert!((1..30).contains(&lines.count()), "{told}");
    assert!(
        told.contains("Connection refused") && told.contains("held_back"),
        "{told}"
    );
}

#[test]
fn descriptors_that_run_out() {
    let mut running = Running::start(origin(), "ulimit -n 96;", "");
    // More connections than there are descriptors; they send nothing yet.
    let hoard: Vec<_> = (0..150)
        .filter_map(|_| TcpStream::connect(running.listen).ok())
        .collect();
    let shortage = || get(running.admin, "/metrics");
    drop(hoard.into_iter().skip(60).collect::<Vec<_>>());
    eventually("others are served again", || {
        get(running.listen, "/").ends_with("ok")
    });
    eventually("the shortage was counted", || {
        shortage().lines().any(|line| {
            line.starts_with("seawall_faults_total{fault=\"shortage\"}") && !line.ends_with(" 0")
        })
    });
    running.signal("TERM");
    let mut told = String::new();
    let mut stderr = running.child.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert!(
        told.contains("a connection cannot be accepted") && told.contains("ulimit -n"),
        "{told}"
    );
}

#[test]
fn memory_stays_flat_under_abuse() {
    let running = Running::start(origin(), "", "");
    let abuse = |rounds: usize| {
        for round in 0..rounds {
            let Ok(mut stream) = TcpStream::connect(running.listen) else {
                continue;
            };
            let bytes: &[u8] = match round % 5 {
                0 => b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
                1 => b"GET / HTTP/1.1\r\nhost: a\r\nx: ",
                2 => b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nsome",
                3 => b"\x00\xff garbage\r\n\r\n",
                _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
            };
            // And leaves without reading.
            let _ = stream.write_all(bytes);
        }
        eventually("all have left", || {
            let metrics = get(running.admin, "/metrics");
            metrics.contains("seawall_connections{listener=\"default\"} 0.0")
                && metrics.contains("seawall_inflight{upstream=\"default\"} 0.0")
        });
        running.resident_kib()
    };
    // The allocator keeps what one burst took; a leak would grow with every burst.
    let before = abuse(4_000).max(abuse(4_000));
    let after = abuse(8_000);
    assert!(after < before + 16 * 1024, "{before} KiB, then {after} KiB");
}

/// The connection that brings a request; others only look whether somebody is there.
fn asked(listener: &TcpListener) -> TcpStream {
    let mut streams = listener.incoming().map(Result::unwrap);
    let brings = |stream: &mut TcpStream| stream.read(&mut [0; 1]).is_ok_and(|read| read > 0);
    streams
        .find_map(|mut stream| brings(&mut stream).then_some(stream))
        .unwrap()
}

#[test]
fn a_second_signal_ends_at_once() {
    // An origin that never answers, and more time to drain than a test has.
    let silent = std::net::TcpListener::bind(free()).unwrap();
    let mut running = Running::start(silent.local_addr().unwrap(), "", "");
    let mut caller = TcpStream::connect(running.listen).unwrap();
    caller
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let asked = asked(&silent);
    running.signal("TERM");
    eventually("it drains", || TcpStream::connect(running.listen).is_err());
    // One that comes within half a second of the first belongs to it.
    eventually("it ends", || {
        running.signal("TERM");
        running.child.try_wait().unwrap().is_some()
    });
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
    drop((asked, caller));
}

#[test]
fn a_drain_whose_time_runs_out_has_a_code_of_its_own() {
    let silent = TcpListener::bind(free()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seawall.toml");
    let upstream = "[upstreams.default]\nurl = 'http://127.0.0.1:3000'\n";
    std::fs::write(&file, format!("drain_timeout = '50ms'\n{upstream}")).unwrap();
    let config = format!("--config {}", file.display());
    let mut running = Running::start(silent.local_addr().unwrap(), "", &config);
    let mut caller = TcpStream::connect(running.listen).unwrap();
    caller
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let asked = asked(&silent);
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(3));
    let mut told = String::new();
    let mut stderr = running.child.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert!(told.contains("1 connection was cut"), "{told}");
    drop((asked, caller));
}

#[test]
fn a_stderr_that_takes_nothing_is_no_reason_to_die() {
    let mut running = Running::start(origin(), "", "2>/dev/full");
    assert!(get(running.listen, "/").ends_with("ok"));
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_that_is_ignored_from_the_start_stays_so() {
    // As with nohup.
    let running = Running::start(origin(), "trap '' HUP;", "");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    assert_eq!(ignored & 1, 1, "SIGHUP");
}

#[test]
fn flags_stand_over_the_only_entry_of_a_file_and_add_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seawall.toml");
    let taken = TcpListener::bind(free()).unwrap();
    let other = taken.local_addr().unwrap();
    let write = |more: &str| {
        let text = format!(
            "[upstreams.main]\nurl = 'http://127.0.0.1:1'\n[listeners.public]\naddress = '{other}'\n{more}"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("");
    let config = format!("--config {}", file.display());
    let mut running = Running::start(origin(), "", &config);
    assert!(get(running.listen, "/").ends_with("ok"));
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));

    write("[listeners.private]\naddress = '127.0.0.1:2'\n");
    let file = file.to_str().unwrap();
    let output = Command::new(SEAWALL)
        .args(["gateway", "--config", file, "--listen", "127.0.0.1:3"])
        .output()
        .unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("--listen") && told.contains("`private`, `public`"),
        "{told}"
    );
}

#[test]
fn nobody_reads_what_it_says_and_it_serves_and_drains_all_the_same() {
    let mut running = Running::start(origin(), "", "");
    drop(running.child.stderr.take());
    assert!(get(running.listen, "/").contains("200 OK"));
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

/// A gateway with a configuration file that can be written anew.
struct Configured {
    running: Running,
    dir: tempfile::TempDir,
}

impl Configured {
    fn start(upstream: SocketAddr, top: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seawall.toml");
        std::fs::write(&file, configured(upstream, top)).unwrap();
        let told = dir.path().join("told");
        let more = format!("--config {} 2>{}", file.display(), told.display());
        let running = Running::start(upstream, "", &more);
        Self { running, dir }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dir.path().join("seawall.toml"), text).unwrap();
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("told")).unwrap()
    }

    fn reloads(&self, result: &str) -> u32 {
        let start = format!("seawall_config_reloads_total{{result=\"{result}\"}} ");
        let metrics = get(self.running.admin, "/metrics");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&start));
        count.unwrap().parse().unwrap()
    }
}

fn configured(upstream: SocketAddr, top: &str) -> String {
    format!("{top}\n[upstreams.default]\nurl = \"http://{upstream}\"\n")
}

#[test]
fn a_changed_file_takes_effect_and_a_bad_one_is_refused() {
    let upstream = origin();
    let with = |timeout: &str| configured(upstream, &format!("[context]\ntimeout = \"{timeout}\""));
    let gateway = Configured::start(upstream, "");
    gateway.write(&with("22s"));
    eventually("it is in force", || gateway.reloads("taken") >= 1);
    gateway.write(&with("twenty"));
    eventually("it is refused", || gateway.reloads("refused") >= 1);
    assert!(get(gateway.running.listen, "/").contains("200"));
    eventually("that is told", || {
        let told = gateway.told();
        told.contains("is refused") && told.contains("seawall.toml:2:")
    });
    gateway.write(&with("333s"));
    eventually("the next good one is in force", || {
        gateway.reloads("taken") >= 2
    });
    gateway.write(&(with("333s") + "# only a remark\n"));
    eventually("that it says the same is told", || {
        gateway.told().contains("says what is in force already")
    });
    assert_eq!(gateway.reloads("taken"), 2, "and it is not taken over");
}

#[test]
fn sighup_has_the_file_read_and_a_changed_drain_timeout_holds() {
    let silent = TcpListener::bind(free()).unwrap();
    let upstream = silent.local_addr().unwrap();
    let mut gateway = Configured::start(upstream, "drain_timeout = \"20s\"");
    gateway.running.signal("HUP");
    eventually("the same is in force", || gateway.reloads("taken") >= 1);
    eventually("that is told", || {
        gateway
            .told()
            .contains("was read again and says what is in force already")
    });
    gateway.write("[upstreams");
    gateway.running.signal("HUP");
    eventually("a bad one is refused", || gateway.reloads("refused") >= 1);
    gateway.write(&configured(upstream, "drain_timeout = \"50ms\""));
    gateway.running.signal("HUP");
    eventually("a good one is in force", || gateway.reloads("taken") >= 2);
    let mut caller = TcpStream::connect(gateway.running.listen).unwrap();
    caller
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let asked = asked(&silent);
    gateway.running.signal("TERM");
    gateway.running.signal("HUP");
    assert_eq!(gateway.running.child.wait().unwrap().code(), Some(3));
    let told = gateway.told();
    assert!(told.contains("within 0.05 s"), "{told}");
    drop((asked, caller));
}
