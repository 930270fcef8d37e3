//! The servers of a shop in production, private and gone when dropped.

use seawall_testkit::{Error, MariaDb, Redis};

/// A MariaDB with a replica, and a Redis.
pub(super) struct Real {
    // The replica before whom it follows.
    replica: MariaDb,
    primary: MariaDb,
    redis: Redis,
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
        Ok(Self {
            replica,
            primary,
            redis,
        })
    }

    /// What the services are told of them.
    pub(super) fn config(&self) -> String {
        let data = |name: &str| {
            let (primary, replica) = (
                self.primary.url(&database(name)),
                self.replica.url(&database(name)),
            );
            format!("[data.{name}]\nurl = \"{primary}\"\nreplica = \"{replica}\"\n\n")
        };
        let cache = format!("[cache]\nredis = \"{}\"\n\n", self.redis.url());
        DATABASES.map(data).concat() + &cache
    }
}

/// `order` is a word of SQL.
fn database(name: &str) -> String {
    format!("shop_{name}")
}
