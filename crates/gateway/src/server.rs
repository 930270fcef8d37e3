//! Starting and ending: a thread with a runtime of its own for every CPU that we may use.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seawall::clock::Clock;
use seawall::config::{Config, Listener};
use seawall::context::KeyError;
use seawall::signals::scheduling_delay;
use seawall::sync::Snapshot;
use seawall::sync::threads::{Cpus, Single};
use seawall::telemetry::Log;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle as Task;

use crate::access;
use crate::admin::{self, Admin};
use crate::cache::Cache;
use crate::core::{Book, Core, Reloads, Shared};
use crate::fleet::{Control, Ground};
use crate::listen;
use crate::notice::Notice;
use crate::setup;
use crate::signals::Signals;
use crate::site::Listening;
use crate::tls::{Acceptor, FileError};

/// The gateway.
///
/// ```no_run
/// use seawall::config::{Config, Listener};
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
    pub(crate) shared: Arc<Shared>,
    pub(crate) cores: Vec<Driven>,
    pub(crate) ground: Ground,
    /// Held while the configuration is replaced.
    pub(crate) reloading: parking_lot::Mutex<()>,
    stop: watch::Sender<Stage>,
    /// Shared with every core that accepts.
    accepting: Arc<()>,
    threads: Vec<Single>,
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
    /// Starts listening and returns. Threads of the gateway's own do the work. Blocks until the
    /// upstreams' hosts are found, for a second at most.
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
        let clock = Clock::system();
        let (control, controlled) = Control::new(&config.discovery);
        let ground = Ground {
            control,
            clock: clock.clone(),
            cores,
            certificates: Arc::default(),
        };
        let plan = setup::plan(config, None, &ground)?;
        let mut opened = Vec::new();
        for (name, listener) in &config.listeners {
            let tls = ground.certificates.acceptor(name, listener)?;
            opened.push(Opened::new(name, listener, tls, cores)?);
        }
        let mut addrs = Vec::new();
        for opened in &opened {
            addrs.push((opened.listening.name().to_string(), opened.address()?));
        }
        let addr = addrs.first().ok_or(StartError::NoListener)?.1;
        let mut socket = bind(config.admin.address, 1, "the admin listener")?;
        let socket = socket.pop().ok_or(StartError::NoListener)?;
        let admin = socket.local_addr()?;
        let (stop, stopped) = watch::channel(Stage::Serve);
        let listening = opened.iter().map(|opened| opened.listening.clone());
        let shared = Arc::new(Shared {
            clock,
            names: parking_lot::Mutex::new(VecDeque::from([plan.names()])),
            plan: Snapshot::new(plan),
            listening: Snapshot::new(listening.collect()),
            retired: parking_lot::Mutex::default(),
            reloads: Reloads::default(),
            draining: AtomicBool::new(false),
            access: access::Writer { log },
            signals: Signals::start(cores)?,
            shortage: Notice::default(),
            books: (0..cores).map(|_| Book::default()).collect(),
            cache: Cache::new(config.cache.size),
            certificates: ground.certificates.clone(),
        });
        let mut running = Running {
            addr,
            addrs,
            admin,
            shared: shared.clone(),
            cores: Vec::new(),
            ground,
            reloading: parking_lot::Mutex::default(),
            stop,
            accepting: Arc::default(),
            threads: Vec::new(),
        };
        let state = Arc::new(Admin::new(shared.clone()));
        let ended = ended(stopped.clone());
        running.thread(
            "seawall-admin".into(),
            async move {
                tokio::spawn(controlled);
                admin::serve(state, socket, ended).await;
            },
            || {},
        )?;
        // Reading files blocks, and on a network file system for long.
        let (certificates, end) = (shared.certificates.clone(), self::ended(stopped.clone()));
        running.thread(
            "seawall-tls".into(),
            async move {
                tokio::select! {
                    () = certificates.watch() => {}
                    () = end => {}
                }
            },
            || {},
        )?;
        for index in 0..cores {
            let core = Core::new(index, shared.clone());
            let (orders, obeys) = mpsc::unbounded_channel();
            let shared = shared.clone();
            let work = run(
                core.clone(),
                obeys,
                running.accepting.clone(),
                stopped.clone(),
            );
            running.cores.push(Driven { core, orders });
            running.thread(format!("seawall-core-{index}"), work, move || {
                shared.coalesce();
            })?;
        }
        shared.plan.load().await_hosts(None);
        for opened in opened {
            running.listen(opened);
        }
        Ok(running)
    }
}

/// A core, and how it is told what to do.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) core: Arc<Core>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
}

/// What a core is told while it runs.
#[derive(Debug)]
pub(crate) enum Order {
    Listen(Arc<Listening>, std::net::TcpListener),
    /// Stop accepting there. Connections go on.
    Close(Arc<Listening>),
}

/// A listener whose sockets are bound, one for every core.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) listening: Arc<Listening>,
    sockets: Vec<std::net::TcpListener>,
}

impl Opened {
    pub(crate) fn new(
        name: &str,
        listener: &Listener,
        tls: Option<Acceptor>,
        cores: usize,
    ) -> Result<Self, StartError> {
        let sockets = bind(listener.address, cores, &format!("listener `{name}`"))?;
        Ok(Self {
            listening: Listening::new(name, listener, tls),
            sockets,
        })
    }

    fn address(&self) -> io::Result<SocketAddr> {
        match self.sockets.first() {
            Some(socket) => socket.local_addr(),
            None => Ok(self.listening.address),
        }
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
        let thread = Single::start(name, Cpus::Shared, work, idle)?;
        self.threads.push(thread);
        Ok(())
    }

    pub(crate) fn listen(&self, opened: Opened) {
        for (driven, socket) in self.cores.iter().zip(opened.sockets) {
            // A core that has ended accepts nothing.
            let _ = driven
                .orders
                .send(Order::Listen(opened.listening.clone(), socket));
        }
    }

    /// Client connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        let open = |book: &Book| book.counters.connections.load(Ordering::Acquire);
        self.shared.books.iter().map(open).sum::<u64>() as usize
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
        let until = Instant::now() + self.shared.plan.load().drain_timeout;
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
    reached(&mut stop, Stage::End).await;
}

async fn reached(stop: &mut watch::Receiver<Stage>, stage: Stage) {
    let _ = stop.wait_for(|now| *now >= stage).await;
}

async fn run(
    core: Arc<Core>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    accepts: Arc<()>,
    mut stop: watch::Receiver<Stage>,
) {
    tokio::spawn(core.sweep.clone().run());
    tokio::spawn(prune(core.clone()));
    tokio::spawn(probe(core.clone()));
    let mut accepting = Vec::new();
    loop {
        tokio::select! {
            () = reached(&mut stop, Stage::Drain) => break,
            Some(order) = orders.recv() => obey(&core, order, &mut accepting).await,
        }
    }
    for (_, task) in accepting {
        end(task).await;
    }
    // Who sends another from now on learns that nobody listens.
    orders.close();
    drop(accepts);
    core.sweep.wake_all();
    ended(stop).await;
}

async fn obey(core: &Arc<Core>, order: Order, accepting: &mut Vec<(Arc<Listening>, Task<()>)>) {
    match order {
        // The sockets are non-blocking already; what else can fail is registering them.
        Order::Listen(listening, socket) => match TcpListener::from_std(socket) {
            Ok(listener) => {
                let task = listen::accept(core.clone(), listening.clone(), listener);
                accepting.push((listening, tokio::spawn(task)));
            }
            Err(error) => core.tell_shortage(&error),
        },
        Order::Close(gone) => {
            let is_gone = |at: &(Arc<Listening>, _)| Arc::ptr_eq(&at.0, &gone);
            if let Some(at) = accepting.iter().position(is_gone) {
                end(accepting.swap_remove(at).1).await;
            }
        }
    }
}

async fn end(task: Task<()>) {
    task.abort();
    // What matters is that it has ended.
    let _ = task.await;
}

/// Measures how late this core runs what is ready.
async fn probe(core: Arc<Core>) {
    let delay = &core.shared.signals.scheduling[core.index];
    match scheduling_delay(delay, &core.clock).await {}
}

/// Closes upstream connections that have been idle for too long, or that no plan leads to any more.
async fn prune(core: Arc<Core>) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = core.clock.now();
        for origin in &core.plan.load().origins {
            for (_, set) in origin.sets() {
                set.fleet.prune(core.index, now);
                let mut retired = set.fleet.take_retired();
                core.shared.retired.lock().append(&mut retired);
            }
        }
        let mut retired = core.shared.retired.lock();
        for pool in retired.iter() {
            pool.prune(core.index, now);
        }
        // While a request or a connection holds it, something may come back to it.
        retired.retain(|pool| Arc::strong_count(pool) > 1);
    }
}
