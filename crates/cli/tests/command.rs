//! The command as its user meets it: what it says, how it ends, what it survives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const SEAWALL: &str = env!("CARGO_BIN_EXE_seawall");

fn run(args: &[&str]) -> Output {
    Command::new(SEAWALL).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()))
}

/// A running gateway, killed if a test ends early.
struct Running {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    /// `before` is put before the command in a shell: a limit, say.
    fn start(upstream: SocketAddr, before: &str, more: &str) -> Self {
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

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    fn resident_kib(&self) -> u64 {
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

fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if look() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// Answers every request with 200 and `ok`.
fn origin() -> SocketAddr {
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

fn get(addr: SocketAddr, path: &str) -> String {
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

#[test]
fn help_teaches() {
    let help = text(&run(&["gateway", "--help"]).stdout);
    for part in ["Examples:", "--upstream", "/explain?text", "kill -TERM"] {
        assert!(help.contains(part), "{part} in\n{help}");
    }
    let nothing = run(&["gateway"]);
    assert_eq!(nothing.status.code(), Some(2));
    let told = text(&nothing.stderr);
    assert!(
        told.contains("--upstream") && told.contains("--config"),
        "{told}"
    );
    for command in ["gateway", "check", "demo"] {
        let help = text(&run(&[command, "--help"]).stdout);
        assert!(help.contains("Exit code:"), "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
}

#[test]
fn a_wrong_url_is_explained() {
    for (url, remedy) in [
        ("127.0.0.1:3000", "http://"),
        ("ftp://a", "http://"),
        ("http://a/path", "path"),
    ] {
        let output = run(&["gateway", "--upstream", url]);
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(
            text(&output.stderr).contains(remedy),
            "{url}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn check_tells_everything_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seawall.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(&["check", file.to_str().unwrap()])
    };
    let wrong = check(
        "drain_timeout = 30\n[upstreams.default]\nurl = 'http://127.0.0.1:3000'\nmax_conections = 3\n\
         [[routes]]\npath = '/a'\n[[routes]]\npath = '/a'\n",
    );
    let told = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(1));
    for part in [
        "seawall.toml:1:",
        "no unit",
        "seawall.toml:4:",
        "max_connections",
        "Kubernetes",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    let twice = check(
        "[upstreams.default]\nurl = 'http://127.0.0.1:3000'\n[[routes]]\npath = '/a'\n[[routes]]\npath = '/a'\n",
    );
    assert!(
        text(&twice.stderr).contains("seawall.toml:5:"),
        "{}",
        text(&twice.stderr)
    );

    let right = check("[upstreams.default]\nurl = 'http://127.0.0.1:3000'\n");
    assert_eq!(right.status.code(), Some(0), "{}", text(&right.stderr));
    assert!(text(&right.stdout).contains("is right"));

    let defaults = text(&run(&["check", "--defaults"]).stdout);
    assert_eq!(check(&defaults).status.code(), Some(0));
    assert!(text(&run(&["check", "--explain", "admission.max_wait"]).stdout).contains("queue"));
    assert!(text(&run(&["check", "--explain", "listeners"]).stdout).contains("listeners.*.trust"));
    assert_eq!(
        run(&["check", "--explain", "nothing"]).status.code(),
        Some(1)
    );
}

#[test]
fn what_cannot_be_read_is_not_to_be_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("binary");
    std::fs::write(&binary, b"\xff\xfe\x00").unwrap();
    for (file, remedy) in [
        (dir.path(), "name a file in it"),
        (&*binary, "UTF-8"),
        (&*dir.path().join("none"), "seawall check --defaults"),
    ] {
        let output = run(&["check", file.to_str().unwrap()]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(remedy), "{told}");
        assert_eq!(told.contains("--defaults"), remedy.contains("--defaults"));
    }
}

#[test]
fn check_reads_standard_input() {
    let mut child = Command::new(SEAWALL)
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let file = b"[upstreams.default]\nurl = 'http://127.0.0.1:3000'\n[[routes]]\npath = '/a'\n";
    child.stdin.take().unwrap().write_all(file).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for part in [
        "standard input is right",
        "(default, edge)",
        "adaptive limit",
        "1 route,",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
}

#[test]
fn a_setting_is_found_by_its_last_name() {
    let output = run(&["check", "--explain", "max_wait"]);
    let told = text(&output.stderr);
    assert!(
        told.contains("did you mean `admission.max_wait`?"),
        "{told}"
    );
}

#[test]
fn addresses_that_collide_are_told_before_the_start() {
    let upstream = "http://127.0.0.1:1";
    for (args, parts) in [
        (
            ["--upstream", upstream, "--listen", "localhost:24105"],
            ["IP address and a port", "127.0.0.1:8080"],
        ),
        (
            ["--upstream", upstream, "--listen", "127.0.0.1:9090"],
            ["`listeners.default.address`", "`admin.address`"],
        ),
        (
            [
                "--upstream",
                "http://localhost:24106",
                "--listen",
                "0.0.0.0:24106",
            ],
            ["`upstreams.default.url`", "`listeners.default.address`"],
        ),
    ] {
        let output = run(&[&["gateway"][..], &args].concat());
        let told = text(&output.stderr);
        assert!(!output.status.success());
        for part in parts {
            assert!(told.contains(part), "{part} in\n{told}");
        }
    }
}

#[test]
fn a_port_in_use_names_the_flag() {
    let taken = TcpListener::bind(free()).unwrap();
    let (taken, other) = (taken.local_addr().unwrap().to_string(), free().to_string());
    let gateway = |listen: &str, admin: &str| {
        run(&[
            "gateway",
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            listen,
            "--admin",
            admin,
        ])
    };
    for (output, flag) in [
        (gateway(&taken, &other), "--listen"),
        (gateway(&other, &taken), "--admin"),
    ] {
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&taken) && told.contains(flag) && told.contains("another process"),
            "{told}"
        );
    }
    let open = gateway(&other, "0.0.0.0:1");
    assert!(
        text(&open.stderr).contains("admin.token"),
        "{}",
        text(&open.stderr)
    );
}

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
fn a_full_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seawall.toml");
    std::fs::write(
        &file,
        "[upstreams.default]\nurl = 'http://127.0.0.1:3000'\n",
    )
    .unwrap();
    for args in [
        &["check", file.to_str().unwrap()][..],
        &["check", "--defaults"],
        &["check", "--schema"],
        &["check", "--explain", "listeners"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = Command::new(SEAWALL)
            .args(args)
            .stdout(full)
            .output()
            .unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.contains("cannot write"), "{args:?}: {told}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(SEAWALL)
        .args(["check", "--defaults"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
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
fn upstreams_that_cannot_be() {
    for (url, why) in [
        ("http://127.0.0.1:99999", "port"),
        ("http://127.0.0.1:0", "port"),
        ("http://me:secret@127.0.0.1:80", "user information"),
    ] {
        let output = Command::new(SEAWALL)
            .args(["gateway", "--upstream", url])
            .output()
            .unwrap();
        let told = text(&output.stderr);
        assert!(
            !output.status.success() && told.contains(why),
            "{url}: {told}"
        );
    }
}

#[test]
fn nobody_reads_what_it_says_and_it_serves_and_drains_all_the_same() {
    let mut running = Running::start(origin(), "", "");
    drop(running.child.stderr.take());
    assert!(get(running.listen, "/").contains("200 OK"));
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_changed_file_takes_effect_and_a_bad_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seawall.toml");
    let (upstream, dir) = (origin(), dir.path());
    let with = |timeout: &str| {
        format!(
            "[context]\ntimeout = \"{timeout}\"\n[upstreams.default]\nurl = \"http://{upstream}\"\n"
        )
    };
    std::fs::write(&file, with("1s")).unwrap();
    let config = format!("--config {} 2>{}/told", file.display(), dir.display());
    let running = Running::start(upstream, "", &config);
    let reloads = |result: &str, count: u32| {
        let line = format!("seawall_config_reloads_total{{result=\"{result}\"}} {count}");
        get(running.admin, "/metrics").contains(&line)
    };
    std::fs::write(&file, with("22s")).unwrap();
    eventually("it is in force", || reloads("done", 1));
    std::fs::write(&file, with("twenty")).unwrap();
    eventually("it is refused", || reloads("refused", 1));
    assert!(get(running.listen, "/").contains("200"));
    let told = std::fs::read_to_string(dir.join("told")).unwrap();
    assert!(
        told.contains("refused") && told.contains("seawall.toml:2:"),
        "{told}"
    );
    std::fs::write(&file, with("333s")).unwrap();
    eventually("the next good one is in force", || reloads("done", 2));
}
