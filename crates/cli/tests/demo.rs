//! The demo as its user meets it: what it leaves behind when it ends, however it ends.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const SEAWALL: &str = env!("CARGO_BIN_EXE_seawall");

fn demo(directory: &Path) -> Command {
    let mut command = Command::new(SEAWALL);
    command
        .args(["demo", "--seconds", "3"])
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Starts a demo and returns once its load is under way, with the ids of its children.
fn under_way(directory: &Path) -> (Child, Vec<u32>) {
    let mut child = demo(directory)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary");
    let stderr = child.stderr.take().expect("piped");
    let mut lines = BufReader::new(stderr).lines();
    let begun = |line: &Result<String, _>| line.as_ref().is_ok_and(|l| l.starts_with("without"));
    assert!(
        lines.any(|line| begun(&line)),
        "it ended before its load began"
    );
    // The rest has a reader too, so that nothing breaks on a closed pipe.
    std::thread::spawn(move || lines.count());
    let children = children(&child);
    (child, children)
}

fn children(of: &Child) -> Vec<u32> {
    let id = of.id();
    let listed = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let listed = listed.expect("Linux");
    let ids = listed.split_whitespace();
    ids.map(|id| id.parse().expect("an id")).collect()
}

fn signal(name: &str, id: u32) {
    let sent = Command::new("kill")
        .args(["-s", name, &id.to_string()])
        .status();
    assert!(sent.expect("kill").success());
}

/// Whether the process has ended, though nobody may have asked for its status yet.
fn gone(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

fn eventually(what: &str, look: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if look() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

#[test]
fn it_shows_both_runs_and_leaves_a_page_a_picture_and_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let Output {
        status,
        stdout,
        stderr,
    } = demo(directory.path())
        .args(["--json", "out.json", "--svg", "out.svg"])
        .output()
        .expect("the binary");
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert!(status.success(), "{stderr}");
    assert!(
        stdout.contains("time to recover") && stdout.contains("seawall-demo.html"),
        "{stdout}"
    );
    assert!(
        stderr.contains("with Seawall: 10× the capacity"),
        "{stderr}"
    );
    assert!(
        !stdout.contains('\x1b') && !stderr.contains('\x1b'),
        "no colour off a terminal"
    );

    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("written");
    assert!(read("seawall-demo.html").ends_with("</html>\n"));
    assert!(read("out.svg").ends_with("</svg>\n"));
    let figures: serde_json::Value = serde_json::from_str(&read("out.json")).expect("JSON");
    for side in ["without", "with"] {
        let bins = figures[side]["bins"].as_array().expect("bins");
        let served: f64 = bins.iter().filter_map(|bin| bin["goodput"].as_f64()).sum();
        assert!(served > 0.0, "{side}: nothing was served at all");
    }
    let offered = |side: &str| figures[side]["phases"][1]["offered"].clone();
    assert_eq!(
        offered("without"),
        offered("with"),
        "the same load for both"
    );
}

#[test]
fn left_up_it_answers_until_it_is_interrupted() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = demo(directory.path())
        .arg("--keep")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = |part: &str| {
        let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(part)));
        found.expect("told").expect("text")
    };
    let gateway = line("curl -i").replace("curl -i http://", "");
    line("Ctrl-C");
    let reached = TcpStream::connect(gateway.trim().trim_end_matches('/'));
    assert!(reached.is_ok(), "{gateway}: {reached:?}");
    let children = children(&child);
    assert_eq!(children.len(), 2, "origin and gateway");
    signal("INT", child.id());
    assert_eq!(child.wait().expect("its status").code(), Some(0));
    assert!(children.iter().all(|id| gone(*id)));
}

#[test]
fn an_interrupt_ends_it_and_everything_it_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut child, children) = under_way(directory.path());
    assert_eq!(children.len(), 1, "an origin, no gateway yet");
    signal("INT", child.id());
    let status = child.wait().expect("its status");
    assert_eq!(status.code(), Some(130));
    assert!(children.iter().all(|id| gone(*id)));
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .expect("readable")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn killed_it_takes_its_children_along() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut child, children) = under_way(directory.path());
    child.kill().expect("ours");
    child.wait().expect("its status");
    eventually("the children end", || children.iter().all(|id| gone(*id)));
}

#[test]
fn what_would_fail_later_fails_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = held.local_addr().expect("bound").to_string();
    for (arguments, remedy) in [
        (
            ["--listen", address.as_str()],
            "choose another address with --listen",
        ),
        (
            ["--admin", address.as_str()],
            "choose another address with --admin",
        ),
        (
            ["--html", "no/such/directory.html"],
            "name another file with --html",
        ),
    ] {
        let output = demo(directory.path())
            .args(arguments)
            .output()
            .expect("the binary");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(remedy), "{stderr}");
        assert!(
            !stderr.contains("measuring"),
            "only after a look at everything: {stderr}"
        );
    }
}
