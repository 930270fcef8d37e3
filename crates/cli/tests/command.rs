//! The command as its user meets it: what it says, and how it ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

mod support;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use support::{SEAWALL, free, run, text};

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
    for command in [
        &["gateway"][..],
        &["check"],
        &["demo"],
        &["new"],
        &["proto"],
        &["cache"],
        &["cache", "top"],
    ] {
        let help = text(&run(&[command, &["--help"]].concat()).stdout);
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
    for section in ["retry", "upstreams.retry", "upstreams.*.retry"] {
        let told = text(&run(&["check", "--explain", section]).stdout);
        assert!(told.contains("upstreams.*.retry.ratio"), "{section}");
        assert!(!told.contains("upstreams.*.url"), "{section}");
    }
    assert_eq!(
        run(&["check", "--explain", "nothing"]).status.code(),
        Some(1)
    );
}

#[test]
fn check_looks_at_the_files_that_name_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let (file, hosts) = (dir.path().join("seawall.toml"), dir.path().join("hosts"));
    let config = format!(
        "[upstreams.default]\nurl = 'http://service'\nendpoints = ['file://{}']\nretry.ratio = 1.0\n",
        hosts.display()
    );
    std::fs::write(&file, config).unwrap();
    let check = || run(&["check", file.to_str().unwrap()]);
    for (contents, why) in [(None, "cannot be read"), (Some("a:1\nb\n"), "line 2")] {
        if let Some(contents) = contents {
            std::fs::write(&hosts, contents).unwrap();
        }
        let output = check();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("seawall.toml:3:") && told.contains(why),
            "{told}"
        );
    }
    std::fs::write(&hosts, "a:1\n").unwrap();
    let output = check();
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for part in [
        "seawall.toml:4: warning: `upstreams.default.retry.ratio`",
        "(default, 1 endpoint)",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
}

#[test]
fn what_cannot_be_read_is_not_to_be_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("binary");
    std::fs::write(&binary, b"\xff\xfe\x00").unwrap();
    let large = dir.path().join("large");
    std::fs::write(&large, vec![b'#'; 2 * 1024 * 1024]).unwrap();
    for (file, remedy) in [
        (dir.path(), "name a file in it"),
        (&*binary, "UTF-8"),
        (&*large, "more than 1 MiB"),
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
