//! A program, from its command line to its exit code.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::assemble::{Addresses, With, assemble, whole};
use super::command::{self, Task};
use super::config::{Configuration, Loaded, Sources, toml};
use super::follow::{self, Follow, Validate};
use super::lifecycle::{self, Phase, REGISTRY, Times};
use super::metrics::Reloads;
use super::part::{BoxError, guarded};
use super::settings::{DOCS, Settings};
use super::setup::{Setup, Shared};
use super::spans::Spans;
use crate::config::Watch;
use crate::sync::shutdown::{Cause, Event, Life, Signal, Signals};
use crate::sync::{Shutdown, Snapshot};
use crate::telemetry::{LevelHandle, Log, LogGuard, LogSettings};

/// Unless told otherwise, callers have this long to hear that we go.
const DELAY: Duration = Duration::from_secs(5);

/// The exit code when the drain's time was up before everything had finished.
const CUT: u8 = 3;

/// A program: what it is called, how it is configured, and [`run`](Self::run).
///
/// ```no_run
/// use seawall::app::App;
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     App::<()>::new("hello")
///         .version(env!("CARGO_PKG_VERSION"))
///         .run(async |app| {
///             let hello = axum::routing::get(async || "hello\n");
///             app.http(axum::Router::new().route("/", hello));
///             Ok(())
///         })
/// }
/// ```
pub struct App<C = ()> {
    name: String,
    version: String,
    about: String,
    arguments: Option<Vec<OsString>>,
    environment: Option<Vec<(String, String)>>,
    validate: Option<Validate<C>>,
}

/// A program that runs inside this process: for tests.
pub struct Running {
    addresses: Addresses,
    signals: mpsc::UnboundedSender<Signal>,
    task: tokio::task::JoinHandle<u8>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// As if the process were sent this signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = self.signals.send(signal);
    }

    /// Ends it as SIGTERM would, and returns its exit code.
    pub async fn stop(self) -> u8 {
        self.signal(Signal::Terminate);
        self.ended().await
    }

    /// Returns its exit code when it has ended.
    pub async fn ended(self) -> u8 {
        self.task.await.unwrap_or(1)
    }
}

/// Why a program did not start: what it told, and its exit code.
#[derive(Debug)]
pub struct NotStarted {
    /// The exit code.
    pub code: u8,
    /// What was told.
    pub text: String,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for NotStarted {}

impl<C: Configuration> App<C> {
    /// A program of this name, which also begins the names of its environment variables:
    /// `SHOP_ORDER__HTTP__ADDRESS` for `shop-order`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: String::new(),
            about: String::new(),
            arguments: None,
            environment: None,
            validate: None,
        }
    }

    /// The version, for `--version` and metrics: `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// What it does, for `--help`.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Other arguments than the process's, without the program's name.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Other variables than the process's; a [`Secret`](super::Secret) still reads those.
    #[must_use]
    pub fn environment<'a>(
        mut self,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        self.environment = Some(variables.into_iter().map(owned).collect());
        self
    }

    /// What settings say of one another, and no type can: a configuration that `check` refuses is
    /// not used, at the start or later.
    #[must_use]
    pub fn validate(
        mut self,
        check: impl Fn(&C) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.validate = Some(Arc::new(check));
        self
    }

    /// Runs the program that `set_up` puts together until it has ended; blocks the calling thread.
    /// For `main` to return.
    ///
    /// `set_up` runs on the runtime, before anything is started; its error keeps the program from
    /// starting. It is dropped at an await when a signal comes meanwhile.
    pub fn run<F, Fut>(self, set_up: F) -> ExitCode
    where
        F: FnOnce(Setup<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let name = self.name.clone();
        let (plan, loaded) = match self.plan() {
            Ok(plan) => plan,
            Err(Ended::Told(text)) => {
                // Who reads it may have seen enough.
                let _ = std::io::stdout().write_all(text.as_bytes());
                return ExitCode::SUCCESS;
            }
            Err(Ended::Wrong(wrong)) => {
                let _ = writeln!(std::io::stderr(), "{}", wrong.text.trim_end());
                return ExitCode::from(wrong.code);
            }
        };
        let (logging, _written) = match log(&loaded.settings) {
            Ok(log) => log,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{name}: cannot start the log: {error}");
                return ExitCode::FAILURE;
            }
        };
        let has_file = plan.sources.file.is_some();
        let mut shutdown = Shutdown::new().tell(tell);
        if has_file {
            shutdown = shutdown.leave_hangup();
        }
        let finished = plan.finished.clone();
        let code = shutdown.run(move |life| {
            let hangups = has_file
                .then(|| Signals::only(&[Signal::Hangup]).ok())
                .flatten();
            plan.go(loaded, life, set_up, logging, hangups, None)
        });
        if code == ExitCode::SUCCESS && !finished.load(Relaxed) {
            return ExitCode::from(CUT);
        }
        code
    }

    /// Starts the program inside this process and returns when it serves: for tests. It hears no
    /// signals but [`Running::signal`], and logs to whatever subscriber there is. Bind to port 0,
    /// and ask [`Running::addresses`].
    ///
    /// # Errors
    /// It did not get that far; also for `--help` and the like.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn launch<F, Fut>(self, set_up: F) -> Result<Running, NotStarted>
    where
        F: FnOnce(Setup<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let (plan, loaded) = self.plan().map_err(|ended| match ended {
            Ended::Told(text) => NotStarted { code: 0, text },
            Ended::Wrong(wrong) => wrong,
        })?;
        let (signals, heard) = mpsc::unbounded_channel();
        let (serving, served) = oneshot::channel();
        let addresses = plan.addresses.clone();
        let (finished, failed) = (plan.finished.clone(), plan.failed.clone());
        let task = tokio::spawn(async move {
            let run = Shutdown::new().tell(tell);
            let program = |life| {
                plan.go(
                    loaded,
                    life,
                    set_up,
                    Logging::default(),
                    None,
                    Some(serving),
                )
            };
            let run = run.run_within(program, heard);
            match run.await {
                0 if !finished.load(Relaxed) => CUT,
                code => code,
            }
        });
        match served.await {
            Ok(()) => Ok(Running {
                addresses,
                signals,
                task,
            }),
            Err(_) => Err(NotStarted {
                code: task.await.unwrap_or(1),
                text: failed
                    .lock()
                    .take()
                    .unwrap_or_else(|| "told to end".to_owned()),
            }),
        }
    }

    /// Reads the command line and the configuration.
    fn plan(self) -> Result<(Plan<C>, Loaded<C>), Ended> {
        let arguments = self
            .arguments
            .unwrap_or_else(|| std::env::args_os().skip(1).collect());
        let environment = self.environment.unwrap_or_else(|| {
            // One that is no UTF-8 is none of ours.
            let text = |(name, value): (OsString, OsString)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            };
            std::env::vars_os().filter_map(text).collect()
        });
        let read = command::parse(
            &self.name,
            &self.version,
            &self.about,
            arguments,
            environment,
        );
        let (task, sources) = read.map_err(|error| match error.exit_code() {
            0 => Ended::Told(error.render().to_string()),
            _ => Ended::Wrong(NotStarted {
                code: 2,
                text: error.render().to_string(),
            }),
        })?;
        // Before the file is read: a change in between is one.
        let watch = sources.file.clone().map(Watch::new);
        let mut loaded = follow::read(&sources, self.validate.as_ref())
            .map_err(|text| Ended::Wrong(NotStarted { code: 1, text }))?;
        loaded.warnings.extend(sources.nearly_ours());
        match task {
            Task::Run => {}
            Task::Check => {
                let mut text = String::new();
                for warning in &loaded.warnings {
                    text.push_str(&format!("warning: {warning}\n"));
                }
                text.push_str("the configuration can be used\n");
                return Err(Ended::Told(text));
            }
            Task::Print => {
                let all = whole(&loaded.settings, &loaded.own);
                let all = all.as_object().cloned().unwrap_or_default();
                return Err(Ended::Told(toml(&all, DOCS)));
            }
        }
        let plan = Plan {
            name: self.name,
            version: self.version,
            validate: self.validate,
            sources,
            watch,
            addresses: Addresses::default(),
            finished: Arc::new(AtomicBool::new(true)),
            failed: Arc::default(),
        };
        Ok((plan, loaded))
    }
}

/// Why there is nothing to run.
enum Ended {
    /// What was asked for.
    Told(String),
    Wrong(NotStarted),
}

/// What lines are written by; none of our own in a test.
#[derive(Default)]
struct Logging {
    levels: Option<LevelHandle>,
    log: Option<Log>,
    spans: Spans,
}

/// Everything that is known before the runtime is there.
struct Plan<C> {
    name: String,
    version: String,
    validate: Option<Validate<C>>,
    sources: Sources,
    watch: Option<Watch>,
    addresses: Addresses,
    /// Everything under way finished in the drain's time.
    finished: Arc<AtomicBool>,
    /// Why it could not start.
    failed: Arc<Mutex<Option<String>>>,
}

impl<C: Configuration> Plan<C> {
    /// The program itself, for [`Shutdown`] to run.
    async fn go<F, Fut>(
        self,
        loaded: Loaded<C>,
        life: Life,
        set_up: F,
        logging: Logging,
        hangups: Option<Signals>,
        serving: Option<oneshot::Sender<()>>,
    ) -> Result<(), BoxError>
    where
        F: FnOnce(Setup<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let shared = Arc::new(Shared {
            name: self.name,
            version: self.version,
            life: life.clone(),
            settings: Snapshot::new(loaded.settings),
            upstreams: loaded.upstreams,
            own: Arc::new(Snapshot::new(loaded.own)),
            metrics: Arc::default(),
            assembly: Mutex::default(),
        });
        let reloads = Arc::new(Reloads::default());
        let setup = Setup {
            shared: shared.clone(),
        };
        let course = async {
            let settings = shared.settings.load_full();
            let spans =
                logging
                    .spans
                    .start(&settings.trace, &shared.name, &shared.version, &life)?;
            guarded("set-up", async { set_up(setup).await }).await?;
            let with = With {
                addresses: &self.addresses,
                reloads: reloads.clone(),
                levels: logging.levels.clone(),
                log: logging.log,
                spans,
            };
            assemble(&shared, with).await
        };
        let course = tokio::select! {
            biased;
            course = course => course,
            () = life.stopping() => return Ok(()),
        };
        let (course, health, stacks) = match course {
            Ok(course) => course,
            Err(error) => {
                *self.failed.lock() = Some(error.to_string());
                return Err(error);
            }
        };
        let follow = Follow {
            shared: shared.clone(),
            sources: self.sources,
            validate: self.validate,
            reloads,
            levels: logging.levels,
            stacks,
        };
        let serving = Mutex::new(serving);
        let tell = move |phase| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            let health = health.clone();
            let serving = match phase {
                Phase::Serving => serving.lock().take(),
                _ => None,
            };
            Box::pin(async move {
                health.tell(phase).await;
                tracing::info!("{}", phase.as_str());
                if let Some(serving) = serving {
                    // Who waited for it may be gone.
                    let _ = serving.send(());
                }
            })
        };
        let registered = !course.register.is_empty();
        let times = {
            let (shared, life) = (shared.clone(), life.clone());
            move || {
                let times = times(&shared.settings.load(), registered);
                // What is outside waits for all of it, and a little longer than what is inside.
                let whole = times.delay + times.drain + 2 * REGISTRY;
                life.set_drain_timeout(whole);
                times
            }
        };
        times();
        let failed = self.failed.clone();
        let lived = lifecycle::run(course, &life, &tell, &times, &failed);
        tokio::select! {
            finished = lived => self.finished.store(finished, Relaxed),
            () = follow.run(self.watch, hangups) => {}
        }
        Ok(())
    }
}

fn times(settings: &Settings, registered: bool) -> Times {
    let near = settings.http.address.ip().is_loopback() && settings.grpc.address.ip().is_loopback();
    let delay = match settings.drain.delay {
        Some(delay) => delay.get(),
        // Nobody was told of it, and nobody else reaches it.
        None if near && !registered => Duration::ZERO,
        None => DELAY,
    };
    Times {
        delay,
        drain: settings.drain.timeout.get(),
    }
}

/// Lines to stderr, by a thread of their own.
fn log(settings: &Settings) -> std::io::Result<(Logging, LogGuard)> {
    let (log, guard) = Log::start(std::io::stderr(), LogSettings::default())?;
    let levels = LevelHandle::new(settings.log.level.clone());
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry()
        .with(spans.layer(&settings.trace))
        .with(log.layer().with_filter(levels.filter()));
    // The program may have one already, and then that one is right.
    let ours = tracing::subscriber::set_global_default(subscriber).is_ok();
    let logging = Logging {
        levels: ours.then_some(levels),
        log: Some(log),
        spans,
    };
    Ok((logging, guard))
}

fn tell(event: &Event) {
    match event {
        Event::Draining(Cause::Fatal(error) | Cause::Panic(error), _) => {
            tracing::error!("cannot go on: {error}");
        }
        Event::Draining(..) => tracing::info!("told to end; a second signal ends at once"),
        event => tracing::warn!("{event}"),
    }
}
