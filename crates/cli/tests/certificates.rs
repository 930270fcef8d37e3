//! Certificates as the command's user meets them: what `seawall check` says of files, the example of
//! docs/tls.md, and the authorities that the system trusts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use seawall_testkit::{Recipe, Server, free_port};

const SEAWALL: &str = env!("CARGO_BIN_EXE_seawall");

/// In seconds of two weeks and more.
const DAY: i64 = 86_400;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check(directory: &Path, config: &str) -> Output {
    std::fs::write(directory.join("seawall.toml"), config).unwrap();
    let mut command = Command::new(SEAWALL);
    command
        .args(["check", "seawall.toml"])
        .current_dir(directory);
    command.output().unwrap()
}

/// Writes `NAME.pem` and `NAME.key`, which only their owner can read.
fn issue(directory: &Path, name: &str, days: i64) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let end = i64::try_from(now).unwrap() + days * DAY;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = epoch + Duration::from_secs(u64::try_from(end).unwrap());
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    std::fs::write(directory.join(format!("{name}.pem")), cert.pem()).unwrap();
    secret(directory, name, &key.serialize_pem(), 0o600);
}

fn secret(directory: &Path, name: &str, text: &str, mode: u32) {
    let path = directory.join(format!("{name}.key"));
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn config(pairs: &[(&str, &str)]) -> String {
    let mut config = String::from(
        "[upstreams.default]\nurl = 'http://127.0.0.1:3000'\n[listeners.default]\naddress = '127.0.0.1:8443'\n",
    );
    for (cert, key) in pairs {
        config += &format!(
            "[[listeners.default.tls.certificates]]\ncert = '{cert}.pem'\nkey = '{key}.key'\n"
        );
    }
    config
}

#[test]
fn check_looks_into_files() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (name, days) in [
        ("good", 90),
        ("other", 90),
        ("old", -2),
        ("soon", 5),
        ("open", 90),
    ] {
        issue(at, name, days);
    }
    std::fs::write(at.join("junk.pem"), "junk").unwrap();
    secret(at, "junk", "junk", 0o600);
    let key = std::fs::read_to_string(at.join("open.key")).unwrap();
    secret(at, "open", &key, 0o644);

    let right = check(at, &config(&[("good", "good")]));
    assert!(right.status.success(), "{}", text(&right.stderr));
    let told = text(&right.stdout);
    assert!(
        told.contains("(default, edge, TLS)") && !told.contains("warning"),
        "{told}"
    );

    // Each by its line: 5 is the first entry, its cert 6, its key 7.
    let wrong = check(
        at,
        &config(&[
            ("none", "good"),
            ("good", "other"),
            ("old", "old"),
            ("junk", "good"),
            ("good", "junk"),
        ]),
    );
    assert_eq!(wrong.status.code(), Some(1));
    let told = text(&wrong.stderr);
    for part in [
        "5 errors",
        "seawall.toml:6:8: `listeners.default.tls.certificates[0].cert` none.pem cannot be read",
        "seawall.toml:10:7: `listeners.default.tls.certificates[1].key` the key in other.key is not that",
        "seawall.toml:12:8: `listeners.default.tls.certificates[2].cert` the certificate in old.pem expired on 20",
        "seawall.toml:15:8: `listeners.default.tls.certificates[3].cert` junk.pem holds no certificate",
        "seawall.toml:19:7: `listeners.default.tls.certificates[4].key` junk.key holds no private key",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    let secret = std::fs::read_to_string(at.join("other.key")).unwrap();
    assert!(!told.contains(secret.lines().nth(1).unwrap()), "{told}");

    let warned = check(at, &config(&[("soon", "soon"), ("open", "open")]));
    assert!(warned.status.success(), "{}", text(&warned.stderr));
    let told = text(&warned.stdout);
    for part in [
        "seawall.toml:6: warning: `listeners.default.tls.certificates[0].cert` expires on 20",
        "seawall.toml:10: warning: `listeners.default.tls.certificates[1].key` open.key can be read by everyone",
        "chmod o= open.key",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }

    let upstream =
        "[upstreams.default]\nurl = 'https://a'\n[upstreams.default.tls]\nca = 'junk.pem'\n";
    let told = text(&check(at, upstream).stderr);
    assert!(
        told.contains("seawall.toml:4:6: `upstreams.default.tls.ca` junk.pem holds no"),
        "{told}"
    );
}

/// A gateway that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(port: u16) {
    for _ in 0..2_000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it does not listen");
}

fn curl(arguments: &[&str], directory: &Path) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("install it with: apt-get install --yes curl");
    text(&output.stdout) + &text(&output.stderr)
}

const HELLO: &str = "
    worker_processes 1; daemon off; pid @dir@/pid; error_log stderr;
    events {}
    http { access_log off; server { listen 127.0.0.1:@port@@tls@; return 200 hello; } }";

/// docs/tls.md, as it stands there.
#[test]
fn the_example_of_the_documentation_runs() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tls.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block = |language: &str| {
        let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .args(["-ec", &block("sh")])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{} (openssl: apt-get install --yes openssl)",
        text(&made.stderr)
    );
    let nginx = Server::start(&Recipe::nginx(HELLO).set("tls", "")).unwrap();
    let [port, admin] = [(); 2].map(|()| free_port().unwrap());
    let config = block("toml")
        .replace("127.0.0.1:3000", &nginx.address().to_string())
        .replace("8443", &port.to_string());
    let checked = check(directory.path(), &config);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let gateway = Command::new(SEAWALL)
        .args(["gateway", "--config", "seawall.toml"])
        .args(["--admin", &format!("127.0.0.1:{admin}")])
        .current_dir(directory.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let _gateway = Running(gateway);
    wait_for(port);
    let url = format!("https://localhost:{port}/");
    let answer = curl(&["--cacert", "ca.pem", &url], directory.path());
    assert_eq!(answer, "hello");

    // A client's certificate, and what comes of it without the extensions.
    let client = page.split("```sh\n").nth(2).unwrap();
    let client = client.split_once("```").unwrap().0;
    let shown =
        "[upstreams.default]\nurl = 'https://a'\ntls.cert = 'client.pem'\ntls.key = 'client.key'\n";
    for (commands, said) in [
        (client.to_owned(), "is right"),
        (client.replace("-extfile client.ext ", ""), "-extfile FILE"),
    ] {
        let made = Command::new("sh")
            .args(["-ec", &commands])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let checked = check(directory.path(), shown);
        let told = text(&checked.stdout) + &text(&checked.stderr);
        assert!(told.contains(said), "{said}: {told}");
    }
}

#[test]
fn what_the_system_trusts_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    let tls = " ssl; ssl_certificate @dir@/cert.pem; ssl_certificate_key @dir@/key.pem";
    let nginx = Recipe::nginx(&HELLO.replace("@tls@", tls))
        .file("cert.pem", &cert.pem())
        .file("key.pem", &key.serialize_pem());
    let nginx = Server::start(&nginx).unwrap();
    std::fs::write(directory.path().join("trusted.pem"), ca).unwrap();
    for (trusted, expected) in [("trusted.pem", "200"), ("/etc/hostname", "502")] {
        let [port, admin] = [(); 2].map(|()| free_port().unwrap());
        let gateway = Command::new(SEAWALL)
            .args(["gateway", "--upstream"])
            .arg(format!("https://localhost:{}", nginx.address().port()))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--admin", &format!("127.0.0.1:{admin}")])
            .env("SSL_CERT_FILE", trusted)
            .env_remove("SSL_CERT_DIR")
            .current_dir(directory.path())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut gateway = Running(gateway);
        if expected == "200" {
            wait_for(port);
            let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
            let url = format!("http://localhost:{port}/");
            assert_eq!(
                curl(&[&status[..], &[&url]].concat(), directory.path()),
                expected
            );
        } else {
            // No list at all: it says so rather than refuse every call.
            let ended = (0..2_000).any(|_| {
                std::thread::sleep(Duration::from_millis(5));
                gateway.0.try_wait().unwrap().is_some()
            });
            assert!(ended, "it runs");
            let mut told = String::new();
            let mut stderr = gateway.0.stderr.take().unwrap();
            std::io::Read::read_to_string(&mut stderr, &mut told).unwrap();
            assert!(told.contains("ca-certificates"), "{told}");
            assert_eq!(gateway.0.wait().unwrap().code(), Some(1));
        }
    }
}
