//! `seawall cache top` against a service, a gateway, and what is neither.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

mod support;

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use seawall::app::{App, Running as Service};
use seawall_cache::{Cache, Caches, Guard, GuardSettings};
use serde_json::Value;
use support::{Running, SEAWALL, free, get, run, text};

const FAST: [&str; 4] = ["cache", "top", "--interval", "100ms"];

/// A service with one cache, which is read all the time.
async fn service(token: Option<&str>) -> (Service, SocketAddr) {
    let token = token.map(|token| format!("admin.token={token}"));
    let mut arguments = vec!["--set", "admin.address=127.0.0.1:0"];
    if let Some(token) = &token {
        arguments.extend(["--set", token]);
    }
    let app = App::<()>::new("demo").environment([]).arguments(arguments);
    let launched = app.launch(async |app| {
        let guard = Guard::new(GuardSettings::default());
        let users = Cache::<u64, u64>::builder("users").guard(guard).build();
        let caches = Caches::default();
        caches.show(&app);
        caches.add(&users);
        for n in 0..2 {
            let load = move || async move { Ok::<_, Infallible>(Some(n)) };
            users.get_or_load(&7, load).await?;
        }
        tokio::spawn(async move {
            for n in 0_u64.. {
                let load = move || async move { Ok::<_, Infallible>(Some(n)) };
                let _ = users.get_or_load(&(n % 10), load).await;
                tokio::task::yield_now().await;
            }
        });
        Ok(())
    });
    let service = launched.await.expect("it runs");
    let admin = service.addresses().admin().expect("an admin listener");
    (service, admin)
}

/// Runs the command with these admin addresses, off the runtime.
async fn top(admins: &[SocketAddr], more: &[&str]) -> std::process::Output {
    let mut args: Vec<String> = FAST
        .iter()
        .chain(more)
        .map(|arg| (*arg).to_owned())
        .collect();
    args.extend(
        admins
            .iter()
            .flat_map(|admin| ["--admin".into(), format!("http://{admin}")]),
    );
    let ran = tokio::task::spawn_blocking(move || {
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    });
    ran.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_shown_as_one() {
    let (_one, first) = service(None).await;
    let (_two, second) = service(None).await;
    let output = top(&[first, second], &["--once", "--json"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let view: Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
    let cache = &view["caches"][0];
    assert_eq!(
        (&cache["name"], &cache["instances"]),
        (&"users".into(), &2.into())
    );
    assert!(cache["rates"]["local_hits"].is_number(), "{view}");
    assert!(
        cache["counts"]["local_hits"].as_u64().unwrap() >= 2,
        "{view}"
    );
    assert!(cache["counts"]["loads"].as_u64().unwrap() >= 2, "{view}");
    assert_eq!(view["guards"][0]["rate"], 2_000.0);

    let output = top(&[first, second], &["--once"]).await;
    let shown = text(&output.stdout);
    assert!(shown.starts_with("2 of 2 instances"), "{shown}");
    assert!(shown.contains("\nusers "), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_away_is_named_beside_those_that_answer() {
    let (_one, there) = service(None).await;
    let away = free();
    let output = top(&[there, away], &["--once"]).await;
    let shown = text(&output.stdout);
    assert!(
        output.status.success() && shown.starts_with("1 of 2 instances"),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("http://{away}: cannot be reached")),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_asked_for_and_sent() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "open-sesame-open-sesame").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let (_one, admin) = service(Some(&format!("file:{path}"))).await;
    let told = top(&[admin], &["--once"]).await;
    assert_eq!(told.status.code(), Some(1));
    assert!(
        text(&told.stderr).contains("--token-file"),
        "{}",
        text(&told.stderr)
    );
    let output = top(&[admin], &["--once", "--token-file", &path]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_gateway_is_read_by_the_same_command() {
    let origin = cacheable();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seawall.toml");
    let lines = format!(
        "[upstreams.default]\nurl = 'http://{origin}'\n\
         [[routes]]\npath_prefix = '/'\n[routes.cache]\n"
    );
    std::fs::write(&file, lines).unwrap();
    let gateway = Running::start(origin, "", &format!("--config {}", file.display()));
    for _ in 0..4 {
        get(gateway.listen, "/a");
    }
    let admin = format!("http://{}", gateway.admin);
    let output = run(&[&FAST[..], &["--once", "--json", "--admin", &admin]].concat());
    let view: Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
    let cache = &view["caches"][0];
    assert_eq!(
        (&cache["name"], &cache["kind"]),
        (&"responses".into(), &"responses".into())
    );
    assert_eq!(
        (&cache["counts"]["local_hits"], &cache["counts"]["loads"]),
        (&3.into(), &1.into())
    );
}

/// Answers everything with what may be kept.
fn cacheable() -> SocketAddr {
    answering(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    )
}

fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(free()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn what_is_no_admin_listener_is_told_with_what_to_do() {
    let other = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    let none =
        answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    for (address, remedy) in [
        (free(), "admin.address"),
        (other, "is it one?"),
        (none, "caches.show(&app)"),
    ] {
        let admin = format!("http://{address}");
        let output = run(&[&FAST[..], &["--once", "--admin", &admin]].concat());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&admin) && told.contains(remedy), "{told}");
    }
    let wrong = run(&["cache", "top", "--admin", "127.0.0.1:9090"]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// A command that goes on, ended if a test ends early.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_until_ctrl_c_which_is_no_failure() {
    let (_one, admin) = service(None).await;
    let ended = tokio::task::spawn_blocking(move || {
        let child = Command::new(SEAWALL)
            .args(FAST)
            .args(["--json", "--admin", &format!("http://{admin}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut watching = Watching(child);
        // Held to the end: a reader that leaves would end it, too.
        let mut reader = BufReader::new(watching.0.stdout.take().unwrap()).lines();
        let lines: Vec<_> = reader.by_ref().take(2).map(Result::unwrap).collect();
        assert!(
            lines
                .iter()
                .all(|line| serde_json::from_str::<Value>(line).is_ok())
        );
        let id = watching.0.id().to_string();
        let killed = Command::new("kill").args(["-s", "INT", &id]).status();
        assert!(killed.unwrap().success());
        watching.0.wait().unwrap()
    });
    let ended = ended.await.unwrap();
    assert_eq!(ended.code(), Some(0), "{ended}");
}
