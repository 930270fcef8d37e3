//! Starting and ending: a thread with a runtime of its own for every CPU that we may use.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seawall::clock::Clock;
use tokio::sync::watch;

use crate::core::{Core, Shared};
use crate::limits::Limits;
use crate::listen;
use crate::origin::{Origin, OriginSettings};

/// The gateway; see [`Gateway::start`].
#[derive(Debug)]
pub struct Gateway;

/// A gateway that runs. Dropping it ends it at once; [`Running::shutdown`] drains it first.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    cores: Vec<Arc<Core>>,
    stop: watch::Sender<Stage>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Serve,
    Drain,
    End,
}

impl Gateway {
    /// Plain start.
    pub fn start(listen: SocketAddr, upstream: &str) -> io::Result<Running> {
        let (host, port) = upstream
            .trim_start_matches("http://")
            .rsplit_once(':')
            .ok_or(io::ErrorKind::InvalidInput)?;
        let count = std::thread::available_parallelism()?.get();
        let settings = OriginSettings {
            name: "origin".into(),
            host: host.into(),
            port: port.parse().map_err(io::Error::other)?,
            protocol: crate::origin::Protocol::Auto,
            max_connections: 1024,
            idle: Duration::from_secs(4),
            connect: Duration::from_secs(2),
            response_head: Duration::from_secs(60),
            response_body_idle: Duration::from_secs(60),
        };
        let clock = Clock::system();
        let shared = Arc::new(Shared {
            limits: Limits::default(),
            origins: vec![Origin::new(settings, count)],
            draining: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let sockets = listen::bind(listen, count)?;
        let addr = sockets[0].local_addr()?;
        let (stop, stopped) = watch::channel(Stage::Serve);
        let mut running = Running {
            addr,
            shared: shared.clone(),
            cores: Vec::new(),
            stop,
            threads: Vec::new(),
        };
        for (index, socket) in sockets.into_iter().enumerate() {
            let core = Core::new(index, shared.clone(), clock.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            running.cores.push(core.clone());
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(move || runtime.block_on(run(core, socket, stopped)))?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

impl Running {
    /// Stops accepting, lets what is under way finish within the drain limit, and ends. Returns
    /// whether everything finished.
    pub fn shutdown(self) -> bool {
        self.shared.draining.store(true, Ordering::SeqCst);
        let _ = self.stop.send(Stage::Drain);
        let until = Instant::now() + self.shared.limits.drain;
        while self.shared.connections.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.shared.connections.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(Stage::End);
        for thread in self.threads.drain(..) {
            // A panic of a core has been printed by it.
            let _ = thread.join();
        }
    }
}

async fn run(core: Arc<Core>, socket: std::net::TcpListener, mut stop: watch::Receiver<Stage>) {
    tokio::spawn(core.sweep.clone().run());
    tokio::spawn(prune(core.clone()));
    tokio::select! {
        _ = listen::accept(core.clone(), socket) => {}
        _ = stop.wait_for(|stage| *stage >= Stage::Drain) => {}
    }
    core.sweep.wake_all();
    let _ = stop.wait_for(|stage| *stage >= Stage::End).await;
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
