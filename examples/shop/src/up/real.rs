//! The servers of a shop in production, private and gone when dropped.

use seawall_testkit::{Error, MariaDb, Recipe, Redis, Server};

/// A MariaDB with a replica, a Redis, a NATS and an etcd.
pub(super) struct Real {
    // The replica before whom it follows.
    replica: MariaDb,
    primary: MariaDb,
    redis: Redis,
    nats: Server,
    etcd: Server,
}

const DATABASES: [&str; 3] = ["catalog", "order", "notify"];

impl Real {
    /// Starts them; blocks for some seconds.
    pub(super) fn start(tell: fn(&str)) -> Result<Self, Error> {
        tell("starting MariaDB …");
        let primary = MariaDb::start()?;
        for name in DATABASES {
            primary.create(&database(name))?;
        }
        tell("starting its replica …");
        let replica = MariaDb::replica_of(&primary)?;
        replica.catch_up(&primary)?;
        tell("starting Redis …");
        let redis = Redis::start()?;
        tell("starting NATS …");
        let nats = Server::start(&Recipe::nats())?;
        tell("starting etcd …");
        let etcd = Server::start(&Recipe::etcd())?;
        Ok(Self {
            replica,
            primary,
            redis,
            nats,
            etcd,
        })
    }

    /// What the services are told of them.
    pub(super) fn config(&self) -> String {
        let data = |name: &str| {
            let (primary, replica) = (
                self.primary.url(&database(name)),
                self.replica.url(&database(name)),
            );
            format!("[data.{name}]\nurl = \"{primary}\"\nreplicas = [\"{replica}\"]\n\n")
        };
        let more = format!(
            "[cache]\nredis = \"{}\"\n\n[events]\nnats = \"nats://{}\"\n\n[drain]\ndelay = \"1s\"\n",
            self.redis.url(),
            self.nats.address(),
        );
        DATABASES.map(data).concat() + &more
    }
}

impl Real {
    /// Where services make themselves known.
    pub(super) fn registry(&self) -> String {
        format!("etcd://{}/shop", self.etcd.address())
    }
}

/// `order` is a word of SQL.
fn database(name: &str) -> String {
    format!("shop_{name}")
}
