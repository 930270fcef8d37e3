//! The shop's instances as processes, and load from several generators at once.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use rustix::process::Signal;
use seawall_testkit::{Process, free_port};
use tempfile::TempDir;

use crate::load::{self, Bucket, Plan, Report, WIDTH};

/// How long an instance may take to begin; the first has tables to make.
const START: Duration = Duration::from_secs(30);
/// How long an instance may take to end after SIGTERM.
const END: Duration = Duration::from_secs(30);

/// What the instances of a service are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) service: &'static str,
    pub(super) instances: usize,
    /// For all of them, as `--set` takes it.
    pub(super) settings: &'static [&'static str],
    /// Its instances keep no rows in common.
    pub(super) apart: bool,
}

/// One instance of a service; ended when dropped.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) service: &'static str,
    number: usize,
    http: SocketAddr,
    grpc: SocketAddr,
    admin: SocketAddr,
    settings: Vec<String>,
    process: Mutex<Option<Process>>,
}

/// The instances.
#[derive(Debug)]
pub(super) struct Bed {
    // Callers before whom they call, and then the files.
    pub(super) instances: Vec<Instance>,
    directory: TempDir,
}

impl Bed {
    /// Starts them in this order: whoever is called before its callers. `more` is told to one
    /// instance of a service beside the rest.
    pub(super) fn start(parts: &[Part], more: &[(&str, usize, String)]) -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("seawall-shop-")?;
        let at = directory.path().display().to_string();
        let mut instances = Vec::new();
        for part in parts {
            for number in 0..part.instances {
                let mut settings: Vec<String> =
                    part.settings.iter().map(|&set| set.to_owned()).collect();
                if part.apart {
                    let Part { service, .. } = part;
                    settings.push(format!(
                        "data.{service}.url=sqlite://{at}/{service}-{number}.db"
                    ));
                }
                let told = more
                    .iter()
                    .filter(|(service, n, _)| *service == part.service && *n == number);
                settings.extend(told.map(|(_, _, set)| set.clone()));
                instances.push(Instance::new(part.service, number, settings)?);
            }
        }
        let mut bed = Self {
            instances,
            directory,
        };
        std::fs::write(bed.file(), bed.config())?;
        for instance in &bed.instances {
            instance.start(bed.directory.path())?;
        }
        bed.instances.reverse();
        Ok(bed)
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("shop.toml")
    }

    fn config(&self) -> String {
        let at = self.directory.path().display();
        let mut text = format!("[operator]\nfile = \"{at}/shop.toml\"\n\n");
        // Writing to a string cannot fail.
        for service in ["catalog", "order", "notify"] {
            let _ = write!(
                text,
                "[data.{service}]\nurl = \"sqlite://{at}/{service}.db\"\n\n"
            );
        }
        for service in ["catalog", "notify"] {
            let hosts = self.of(service).map(|host| format!("\"{}\"", host.grpc));
            let hosts: Vec<_> = hosts.collect();
            if hosts.is_empty() {
                continue;
            }
            let _ = write!(
                text,
                "[upstreams.{service}]\nurl = \"http://{service}.shop\"\nendpoints = [{}]\n\
                 retry.per_try_timeout = \"700ms\"\n\n",
                hosts.join(", ")
            );
        }
        text
    }

    /// The instances of a service.
    pub(super) fn of(&self, service: &str) -> impl Iterator<Item = &Instance> {
        let instances = self.instances.iter();
        instances.filter(move |instance| instance.service == service)
    }

    /// That instance.
    pub(super) fn instance(&self, service: &str, number: usize) -> anyhow::Result<&Instance> {
        let mut found = self.of(service);
        let found = found.find(|instance| instance.number == number);
        found.with_context(|| format!("there is no {service} {number}"))
    }

    /// Where the instances of a service take JSON.
    pub(super) fn http(&self, service: &str) -> Vec<SocketAddr> {
        self.of(service).map(|instance| instance.http).collect()
    }

    /// Ends an instance by SIGTERM and starts it again where it was: how long that took.
    pub(super) fn restart(&self, instance: &Instance) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        instance.signal(Signal::TERM)?;
        let ended = || {
            let process = instance.process.lock();
            process.as_ref().is_none_or(Process::has_ended)
        };
        while !ended() {
            if begin.elapsed() > END {
                bail!("{} does not end: {}", instance.service, instance.log());
            }
            sleep(Duration::from_millis(5));
        }
        *instance.process.lock() = None;
        instance.start(self.directory.path())?;
        Ok(begin.elapsed())
    }
}

impl Instance {
    fn new(service: &'static str, number: usize, settings: Vec<String>) -> anyhow::Result<Self> {
        let address = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        Ok(Self {
            service,
            number,
            http: address()?,
            grpc: address()?,
            admin: address()?,
            settings,
            process: Mutex::new(None),
        })
    }

    fn start(&self, directory: &Path) -> anyhow::Result<()> {
        let binary = std::env::current_exe()?.with_file_name("shop");
        let mut command = Command::new(binary);
        command
            .arg(self.service)
            .arg("--config")
            .arg(directory.join("shop.toml"))
            .current_dir(directory);
        for (section, address) in [
            ("http", self.http),
            ("grpc", self.grpc),
            ("admin", self.admin),
        ] {
            command.args(["--set", &format!("{section}.address={address}")]);
        }
        for set in &self.settings {
            command.args(["--set", set]);
        }
        let log = directory.join(format!("{}-{}.log", self.service, self.number));
        let process = Process::start(command, &log, "build it with: cargo xtask bench shop")?;
        // The worker serves nobody but its operator.
        let serves = if self.service == "worker" {
            self.admin
        } else {
            self.grpc
        };
        let end = Instant::now() + START;
        while TcpStream::connect(serves).is_err() {
            if process.has_ended() || Instant::now() > end {
                bail!("{} does not start: {}", self.service, process.log());
            }
            sleep(Duration::from_millis(5));
        }
        *self.process.lock() = Some(process);
        Ok(())
    }

    /// Sends its process a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = self.process.lock();
        let process = process.as_ref().context("the instance does not run")?;
        Ok(process.signal(signal)?)
    }

    /// The end of what it wrote.
    fn log(&self) -> String {
        let process = self.process.lock();
        process.as_ref().map(Process::log).unwrap_or_default()
    }
}

/// What several generators saw of the same load.
#[derive(Debug)]
pub(super) struct Seen(Vec<Report>);

/// Runs the plans at once, a thread each, and does what is to be done meanwhile.
pub(super) fn run<A>(plans: &[Plan], act: A) -> anyhow::Result<Seen>
where
    A: FnOnce(Instant) -> anyhow::Result<()> + Send,
{
    let start = Instant::now() + Duration::from_millis(20);
    std::thread::scope(|scope| {
        let act = scope.spawn(move || act(start));
        let plans: Vec<_> = plans
            .iter()
            .map(|plan| scope.spawn(move || load::run_from(plan, start)))
            .collect();
        let reports = plans.into_iter().map(|plan| match plan.join() {
            Ok(report) => Ok(report?),
            Err(_) => bail!("a load generator panicked"),
        });
        let reports = reports.collect::<anyhow::Result<Vec<_>>>();
        match act.join() {
            Ok(done) => done?,
            Err(_) => bail!("what was to be done meanwhile panicked"),
        }
        Ok(Seen(reports?))
    })
}

impl Seen {
    /// Says what became of the calls of the classes whose name begins so, and why not better.
    pub(super) fn tell(&self, name: &str) {
        for (generator, report) in self.0.iter().enumerate() {
            for class in report.classes.iter().filter(|c| c.name.starts_with(name)) {
                let Bucket {
                    offered,
                    ok,
                    timeout,
                    error,
                    ..
                } = class.due;
                let rejected = class.rejected.iter().map(|(reason, times)| {
                    let reason = if reason.is_empty() {
                        "by what is below"
                    } else {
                        reason
                    };
                    format!(", {reason} {}", times.len())
                });
                let rejected: String = rejected.collect();
                eprintln!(
                    "  generator {generator}, {}: {ok} of {offered}, timeout {timeout}, \
                     error {error}{rejected}",
                    class.name
                );
            }
        }
    }

    /// The 99th percentile of the lateness of the latest generator.
    pub(super) fn lateness(&self) -> Duration {
        let late = self.0.iter().map(Report::lateness_p99);
        late.max().unwrap_or(Duration::ZERO)
    }

    /// Calls of the classes whose name begins so, each counted when it was due.
    pub(super) fn due(&self, name: &str) -> Bucket {
        let mut sum = Bucket::default();
        for report in &self.0 {
            for class in report.classes.iter().filter(|c| c.name.starts_with(name)) {
                sum.offered += class.due.offered;
                sum.ok += class.due.ok;
                sum.rejected += class.due.rejected;
                sum.timeout += class.due.timeout;
                sum.error += class.due.error;
            }
        }
        sum
    }

    /// When a call of the classes whose name begins so last failed, or was turned away.
    pub(super) fn last_failure(&self, name: &str) -> Option<Duration> {
        let classes = self.0.iter().flat_map(|report| &report.classes);
        let classes = classes.filter(|class| class.name.starts_with(name));
        let last = |buckets: &[Bucket]| {
            buckets
                .iter()
                .rposition(|b| b.rejected + b.timeout + b.error > 0)
        };
        let last = classes.filter_map(|class| last(&class.buckets)).max()?;
        Some(WIDTH * u32::try_from(last + 1).unwrap_or(u32::MAX))
    }

    /// The slowest quantile that one of the generators saw.
    pub(super) fn latency(&self, name: &str, q: f64) -> Duration {
        let classes = self.0.iter().flat_map(|report| &report.classes);
        let classes = classes.filter(|class| class.name.starts_with(name));
        let latency = classes.map(|class| class.latency(q));
        latency.max().unwrap_or(Duration::ZERO)
    }
}
