//! A program of this test's own, in a process of its own: this test binary, told to be it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path as Segment;
use axum::routing::post;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use seawall::app::{App, BoxError, Part, Setup};
use seawall::discovery::etcd::{self, Etcd};
use seawall::sync::shutdown::Life;
use seawall_testkit::{Process, free_port};

use crate::app_support::{greeter, see};
use crate::etcd_support::until;

/// How long a killed instance may stay registered.
pub(crate) const TTL: Duration = Duration::from_secs(2);
const ROLE: &str = "SEAWALL_TEST_INSTANCE";
/// What a call takes, so that some are under way whenever anything happens.
const WORK: Duration = Duration::from_millis(5);

/// What an instance is told, by its environment.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: &'static str,
    pub(crate) etcd: SocketAddr,
    /// The step at which it stays.
    pub(crate) hold: &'static str,
    pub(crate) delay: &'static str,
    pub(crate) ports: [u16; 3],
}

impl Wanted {
    pub(crate) fn new(id: &'static str, etcd: SocketAddr) -> Self {
        Self {
            id,
            etcd,
            hold: "",
            delay: "500ms",
            ports: [(); 3].map(|()| free_port().unwrap()),
        }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[1]))
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[2]))
    }
}

/// An instance that runs.
pub(crate) struct Instance {
    pub(crate) wanted: Wanted,
    pub(crate) process: Process,
    held: PathBuf,
}

impl Instance {
    /// Begins to start it, with its files in `directory`.
    pub(crate) fn start(wanted: &Wanted, directory: &Path) -> Self {
        let held = directory.join(format!("{}.held", wanted.id));
        let _ = std::fs::remove_file(&held);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "program", "--nocapture"])
            .env(ROLE, wanted.id)
            .env("HOLD", wanted.hold)
            .env("HELD", &held)
            .env("DONE", directory.join("done"))
            .env("ETCD", wanted.etcd.to_string())
            .env("DELAY", wanted.delay);
        for (name, port) in ["HTTP", "GRPC", "ADMIN"].into_iter().zip(wanted.ports) {
            command.env(name, port.to_string());
        }
        let log = directory.join(format!("{}.log", wanted.id));
        Self {
            wanted: wanted.clone(),
            process: Process::start(command, &log, "").unwrap(),
            held,
        }
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn ready(wanted: &Wanted, directory: &Path) -> Self {
        let instance = Self::start(wanted, directory);
        instance.says("ready\n").await;
        instance
    }

    /// Waits until `/readyz` says this.
    pub(crate) async fn says(&self, phase: &str) {
        let admin = self.wanted.admin();
        until(async || {
            assert!(!self.process.has_ended(), "{}", self.process.log());
            tokio::net::TcpStream::connect(admin).await.is_ok()
                && see(admin, "/readyz").await.1 == phase
        })
        .await;
    }

    /// Waits until it has come to the step at which it stays.
    pub(crate) async fn held(&self) {
        until(async || {
            let ended = self.process.has_ended();
            assert!(self.held.exists() || !ended, "{}", self.process.log());
            self.held.exists()
        })
        .await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// Waits until it has ended: its exit code, `None` where a signal ended it.
    pub(crate) async fn ended(&self) -> Option<i32> {
        until(async || self.process.has_ended()).await;
        let id = Pid::from_raw(self.process.id().cast_signed()).unwrap();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(id), options).unwrap();
        status.and_then(|status| status.exit_status())
    }
}

/// Stays here for ever, where that was asked for, and says so.
async fn step(name: &str) {
    if std::env::var("HOLD").as_deref() == Ok(name) {
        std::fs::write(std::env::var("HELD").unwrap(), name).unwrap();
        std::future::pending().await
    }
}

struct Holding;

impl Part for Holding {
    fn name(&self) -> std::borrow::Cow<'static, str> {
        "holding".into()
    }

    async fn start(&self, _: Life) -> Result<(), BoxError> {
        step("start").await;
        Ok(())
    }

    async fn drain(&self) -> Result<(), BoxError> {
        step("drain").await;
        Ok(())
    }

    async fn stop(&self) -> Result<(), BoxError> {
        step("stop").await;
        Ok(())
    }
}

/// Is an instance to its end, where the environment says so.
pub(crate) fn program() {
    let Ok(id) = std::env::var(ROLE) else {
        return;
    };
    let of = |name: &str| std::env::var(name).unwrap();
    let mut arguments = vec!["demo".to_owned()];
    for set in [
        format!("http.address=127.0.0.1:{}", of("HTTP")),
        format!("grpc.address=127.0.0.1:{}", of("GRPC")),
        format!("admin.address=127.0.0.1:{}", of("ADMIN")),
        format!("registry.id={id}"),
        format!("drain.delay={}", of("DELAY")),
        "drain.timeout=2s".to_owned(),
        "log.access=0".to_owned(),
    ] {
        arguments.extend(["--set".to_owned(), set]);
    }
    let app = App::<()>::new("demo")
        .environment([])
        .arguments(arguments.into_iter().skip(1));
    let code = app.run(async |app| {
        assembled(&app);
        Ok(())
    });
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code);
    std::process::exit(number.unwrap().into());
}

fn assembled(app: &Setup<()>) {
    let of = |name: &str| std::env::var(name).unwrap();
    greeter(app, Arc::new(|| Box::pin(tokio::time::sleep(WORK))));
    let done = OpenOptions::new()
        .create(true)
        .append(true)
        .open(of("DONE"));
    let done = Arc::new(done.unwrap());
    let order = move |Segment(id): Segment<String>| {
        let done = done.clone();
        async move {
            tokio::time::sleep(WORK).await;
            // In one write, so that lines of several processes do not mix.
            (&*done).write_all(format!("{id}\n").as_bytes()).unwrap();
            id
        }
    };
    app.http(Router::new().route("/v1/orders/{id}", post(order)));
    let cluster = format!("etcd://{}/seawall", of("ETCD")).parse().unwrap();
    let settings = etcd::Settings {
        ttl: TTL,
        ..etcd::Settings::default()
    };
    app.registry(Etcd::new(cluster, settings));
    app.worker("idler", async |life: Life| {
        life.stopping().await;
        Ok(())
    });
    app.job("nothing", "every 100ms", async || Ok(()));
    app.part(Holding);
    let hook = |name: &'static str| {
        move || async move {
            step(name).await;
            Ok(())
        }
    };
    app.before_start(hook("before_start"));
    app.after_start(hook("after_start"));
    app.before_stop(hook("before_stop"));
    app.after_stop(hook("after_stop"));
}
