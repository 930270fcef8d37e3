//! Starting and ending: a thread with a runtime of its own for every CPU that we may use.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seawall::clock::Clock;
use seawall::config::Config;
use seawall::context::KeyError;
use seawall::signals::scheduling_delay;
use seawall::telemetry::Log;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::core::{Core, Shared};
use crate::listen;
use crate::setup::{self, Lanes};
use crate::site::Site;
use crate::tls::FileError;

/// The gateway.
///
/// ```no_run
/// use seawall::config::Config;
/// use seawall_gateway::Gateway;
///
/// let config = Config::for_upstream("http://127.0.0.1:3000".parse().unwrap());
/// let running = Gateway::start(&config).unwrap();
/// println!("listening on {}", running.addr);
/// running.shutdown(); // drains
/// ```
#[derive(Debug)]
pub struct Gateway;

/// A gateway that runs. Dropping it ends it at once; [`Running::shutdown`] drains it first.
#[derive(Debug)]
pub struct Running {
    /// Where the first listener listens, in order of names.
    pub addr: SocketAddr,
    /// Where all of them listen.
    pub addrs: Vec<(String, SocketAddr)>,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    shared: Arc<Shared>,
    sites: Vec<Arc<Site>>,
    stop: watch::Sender<Stage>,
    /// Shared with every core that accepts.
    accepting: Arc<()>,
    threads: Vec<JoinHandle<()>>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nowhere to send calls to.
    #[error(
        "no upstream: pass `--upstream http://HOST:PORT`, or add an `[upstreams.default]` with a `url` to the file"
    )]
    NoUpstream,
    /// There is nowhere to accept calls.
    #[error(
        "no listener: pass `--listen ADDRESS`, or add a `[listeners.default]` with an `address` to the file"
    )]
    NoListener,
    /// A route goes where nothing is.
    #[error("a route names the upstream `{0}`, which does not exist: see `[upstreams]`")]
    UnknownUpstream(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}, the address of {what}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Which listener it belongs to.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// A key for marks of work under way that cannot be used.
    #[error("`under_way.keys`: {0}")]
    Key(#[from] KeyError),
    /// A certificate or key that cannot be used.
    #[error(transparent)]
    Certificate(#[from] FileError),
    /// No thread, no runtime, no number of CPUs.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Serve,
    Drain,
    End,
}

impl Gateway {
    /// Starts listening and returns. Threads of the gateway's own do the work.
    ///
    /// # Errors
    /// An address in use, a configuration that leads nowhere, or a system without resources.
    /// Nothing is left running then.
    pub fn start(config: &Config) -> Result<Running, StartError> {
        Self::start_with_log(config, None)
    }

    /// As [`Gateway::start`], with a log for access lines.
    ///
    /// # Errors
    /// As there.
    pub fn start_with_log(config: &Config, log: Option<Log>) -> Result<Running, StartError> {
        let cores = std::thread::available_parallelism()?.get();
        let shared = setup::shared(config, cores, Clock::system(), log)?;
        let mut sites = Vec::new();
        let mut addrs = Vec::new();
        let mut sockets: Vec<Vec<(Arc<Site>, std::net::TcpListener)>> =
            (0..cores).map(|_| Vec::new()).collect();
        for (name, listener) in &config.listeners {
            let tls = shared.certificates.acceptor(name, listener)?;
            let site = Arc::new(Site::new(name, listener, tls));
            let bound = bind(listener.address, cores, &format!("listener `{name}`"))?;
            addrs.push((name.clone(), bound[0].local_addr()?));
            for (core, socket) in bound.into_iter().enumerate() {
                sockets[core].push((site.clone(), socket));
            }
            sites.push(site);
        }
        let addr = addrs.first().ok_or(StartError::NoListener)?.1;
        let mut socket = bind(config.admin.address, 1, "the admin listener")?;
        let socket = socket.pop().ok_or(StartError::NoListener)?;
        let admin = socket.local_addr()?;
        let (stop, stopped) = watch::channel(Stage::Serve);
        let state = Arc::new(Admin::new(
            shared.clone(),
            sites.clone(),
            Lanes::new(&config.lanes).names(),
            config,
        ));
        let mut running = Running {
            addr,
            addrs,
            admin,
            shared: shared.clone(),
            sites,
            stop,
            accepting: Arc::default(),
            threads: Vec::new(),
        };
        running.thread(
            "seawall-admin".into(),
            admin::serve(state, socket, ended(stopped.clone())),
            || {},
        )?;
        // Reading files blocks, and on a network file system for long.
        let (watched, watched_until) = (shared.clone(), ended(stopped.clone()));
        running.thread(
            "seawall-tls".into(),
            async move {
                tokio::select! {
                    () = watched.certificates.watch() => {}
                    () = watched_until => {}
                }
            },
            || {},
        )?;
        for (index, sockets) in sockets.into_iter().enumerate() {
            let core = Core::new(index, shared.clone());
            let shared = shared.clone();
            running.thread(
                format!("seawall-core-{index}"),
                run(core, sockets, running.accepting.clone(), stopped.clone()),
                move || shared.coalesce(),
            )?;
        }
        Ok(running)
    }
}

fn bind(
    address: SocketAddr,
    count: usize,
    what: &str,
) -> Result<Vec<std::net::TcpListener>, StartError> {
    let what = what.to_owned();
    listen::bind(address, count).map_err(|error| StartError::Bind {
        address,
        what,
        error,
    })
}

impl Running {
    /// A thread with a runtime of its own that does one thing, and calls `idle` before it sleeps.
    fn thread(
        &mut self,
        name: String,
        work: impl Future<Output = ()> + Send + 'static,
        idle: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(idle)
            .build()?;
        self.threads.push(
            std::thread::Builder::new()
                .name(name)
                .spawn(move || runtime.block_on(work))?,
        );
        Ok(())
    }

    /// Client connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sites.iter().map(|site| site.open()).sum()
    }

    /// Stops accepting and lets what is under way finish. Returns at once.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        let _ = self.stop.send(Stage::Drain);
    }

    /// Whether nothing is accepted any more and no client connection is open.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        // A core may accept in the last moment before it learns of the end.
        let accepting = Arc::strong_count(&self.accepting) > 1;
        !accepting && self.connections() == 0
    }

    /// Drains for at most `drain_timeout`, and ends. Returns how many connections had to be cut.
    /// Blocks the calling thread for as long.
    pub fn shutdown(self) -> usize {
        self.drain();
        let until = Instant::now() + self.shared.drain_timeout;
        while !self.is_drained() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.connections()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(Stage::End);
        for thread in self.threads.drain(..) {
            // What a panicking core had to say, it has said.
            let _ = thread.join();
        }
    }
}

async fn ended(mut stop: watch::Receiver<Stage>) {
    let _ = stop.wait_for(|stage| *stage == Stage::End).await;
}

async fn run(
    core: Arc<Core>,
    sockets: Vec<(Arc<Site>, std::net::TcpListener)>,
    accepts: Arc<()>,
    mut stop: watch::Receiver<Stage>,
) {
    tokio::spawn(core.sweep.clone().run());
    tokio::spawn(prune(core.clone()));
    tokio::spawn(probe(core.clone()));
    let mut accepting = Vec::new();
    for (site, socket) in sockets {
        // The sockets are non-blocking already; what else can fail is registering them.
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                accepting.push(tokio::spawn(listen::accept(core.clone(), site, listener)))
            }
            Err(error) => core.tell_shortage(&error),
        }
    }
    let _ = stop.wait_for(|stage| *stage >= Stage::Drain).await;
    for task in accepting {
        task.abort();
        // What matters is that it has ended.
        let _ = task.await;
    }
    drop(accepts);
    core.sweep.wake_all();
    ended(stop).await;
}

/// Measures how late this core runs what is ready.
async fn probe(core: Arc<Core>) {
    let delay = &core.shared.signals.scheduling[core.index];
    match scheduling_delay(delay, &core.clock).await {}
}

/// Closes upstream connections that have been idle for too long.
async fn prune(core: Arc<Core>) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = core.clock.now();
        for origin in &core.shared.origins {
            origin.pool.prune(core.index, now);
        }
    }
}
