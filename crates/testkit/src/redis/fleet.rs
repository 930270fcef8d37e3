//! Several of them: a master with a replica and a Sentinel, and a Cluster.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Error, Recipe, Redis, free_port};

/// How long servers may take to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// A master, a replica, and a Sentinel that makes the replica master when the other is gone for half
/// a second.
///
/// ```
/// # fn main() -> Result<(), seawall_testkit::Error> {
/// let fleet = seawall_testkit::RedisFailover::start()?;
/// assert_eq!(fleet.master()?, fleet.servers()[0].address().to_string());
/// assert!(fleet.sentinel_url().starts_with("redis://127.0.0.1:"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RedisFailover {
    servers: [Redis; 2],
    sentinel: Redis,
}

impl RedisFailover {
    /// What the Sentinel calls the master.
    pub const NAME: &'static str = "main";

    /// Starts them, and returns when the replica follows. Blocks the thread for about a second.
    ///
    /// # Errors
    /// One does not start, or they do not find each other.
    pub fn start() -> Result<Self, Error> {
        // It would wait for more replicas before it sends its data to one.
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let master = Redis::of(&Recipe::redis().arguments(&at_once))?;
        let port = master.address().port().to_string();
        let follow = ["--replicaof", "127.0.0.1", &port];
        let replica = Redis::of(&Recipe::redis().arguments(&at_once).arguments(&follow))?;
        wait("a replica", || {
            Ok(replica
                .ask(&["INFO", "replication"])?
                .contains("master_link_status:up"))
        })?;
        let name = Self::NAME;
        let config = format!(
            "bind 127.0.0.1\nport @port@\ndir @dir@\nprotected-mode no\n\
             sentinel monitor {name} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 2000\n"
        );
        let sentinel = Redis::of(
            &Recipe::debian("redis-server")
                .file("sentinel.conf", &config)
                .arguments(&["@dir@/sentinel.conf", "--sentinel"]),
        )?;
        wait("a Sentinel that knows the replica", || {
            Ok(sentinel
                .ask(&["SENTINEL", "REPLICAS", name])?
                .contains("slave"))
        })?;
        Ok(Self {
            servers: [master, replica],
            sentinel,
        })
    }

    /// The first master and the first replica.
    #[must_use]
    pub fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    /// The URL of the Sentinel.
    #[must_use]
    pub fn sentinel_url(&self) -> String {
        self.sentinel.url()
    }

    /// The address of the master, as the Sentinel has it.
    ///
    /// # Errors
    /// The Sentinel does not answer.
    pub fn master(&self) -> Result<String, Error> {
        let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME];
        Ok(self.sentinel.ask(&ask)?.replace('\n', ":"))
    }
}

/// A Cluster of masters that share the slots evenly. A shard that is down takes its own slots with
/// it, and no others.
///
/// ```
/// # fn main() -> Result<(), seawall_testkit::Error> {
/// let cluster = seawall_testkit::RedisCluster::start(3)?;
/// assert_eq!(cluster.urls().len(), 3);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<Redis>,
}

impl RedisCluster {
    /// Starts so many, and returns when all of them agree on who has what. Blocks the thread for about
    /// two seconds.
    ///
    /// # Errors
    /// One does not start, or they do not find each other.
    pub fn start(masters: u16) -> Result<Self, Error> {
        let mut servers = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..masters {
            // By default it is the other port and 10,000, which may be out of range or taken.
            let bus = free_port()?.to_string();
            let recipe = Recipe::redis()
                .arguments(&["--cluster-enabled", "yes", "--cluster-port", &bus])
                .arguments(&["--cluster-node-timeout", "1000"])
                .arguments(&["--cluster-require-full-coverage", "no"]);
            servers.push(Redis::of(&recipe)?);
            buses.push(bus);
        }
        let share = |index: usize| 16_384 * index / servers.len();
        for (index, server) in servers.iter().enumerate() {
            let (first, last) = (share(index), share(index + 1) - 1);
            let (first, last) = (first.to_string(), last.to_string());
            server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
            server.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            let port = servers[0].address().port().to_string();
            server.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &buses[0]])?;
        }
        let whole = format!("cluster_known_nodes:{masters}\r\n");
        for server in &servers {
            wait("a Cluster", || {
                let info = server.ask(&["CLUSTER", "INFO"])?;
                Ok(info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && info.contains(&whole))
            })?;
        }
        Ok(Self { servers })
    }

    /// The masters, in the order of their slots.
    #[must_use]
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The same, to restart one.
    pub fn servers_mut(&mut self) -> &mut [Redis] {
        &mut self.servers
    }

    /// Their URLs.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Redis::url).collect()
    }

    /// What a server calls itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn id(&self, server: usize) -> Result<String, Error> {
        self.servers[server].ask(&["CLUSTER", "MYID"])
    }
}

fn wait(what: &str, mut look: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    while !look()? {
        if Instant::now() > end {
            return Err(Error::Silent {
                program: what.to_owned(),
                waited: PATIENCE,
                log: String::new(),
            });
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
