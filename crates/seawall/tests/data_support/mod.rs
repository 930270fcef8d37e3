//! MariaDB servers for the tests of `seawall::data`.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::time::{Duration, Instant};

use seawall::data::{Connection, Database, Error, Settings};
use seawall_testkit::MariaDb;
use sqlx::MySql;

pub(crate) type Shop = Database<MySql>;

pub(crate) const SCHEMA: &[(&str, &str)] = &[
    (
        "0001_t",
        "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT NOT NULL)",
    ),
    ("0002_rows", "INSERT INTO t SELECT seq, 0 FROM seq_1_to_100"),
];

/// A primary with its replicas, which have caught up.
pub(crate) struct Servers {
    pub(crate) primary: MariaDb,
    pub(crate) replicas: Vec<MariaDb>,
    pub(crate) settings: Settings,
}

impl Servers {
    pub(crate) async fn start(replicas: usize) -> Self {
        let primary = MariaDb::start().unwrap();
        let url = primary.create("shop").unwrap();
        let mut settings = Settings::new(url);
        Shop::open(&settings)
            .await
            .unwrap()
            .migrate(SCHEMA)
            .await
            .unwrap();
        let replicas: Vec<_> = (0..replicas)
            .map(|_| MariaDb::replica_of(&primary).unwrap())
            .collect();
        for replica in &replicas {
            replica.catch_up(&primary).unwrap();
            settings.replicas.push(replica.url("shop").into());
        }
        settings.probe_interval = Duration::from_millis(20);
        Self {
            primary,
            replicas,
            settings,
        }
    }

    pub(crate) async fn open(&self) -> Shop {
        Shop::open(&self.settings).await.unwrap()
    }
}

pub(crate) async fn value(connection: &mut Connection<MySql>, id: u32) -> Result<i64, Error> {
    let value = sqlx::query_scalar("SELECT n FROM t WHERE id = ?").bind(id);
    Ok(value.fetch_one(connection).await?)
}

pub(crate) async fn set(connection: &mut Connection<MySql>, id: u32, n: i64) -> Result<(), Error> {
    let set = sqlx::query("UPDATE t SET n = ? WHERE id = ?")
        .bind(n)
        .bind(id);
    set.execute(connection).await?;
    Ok(())
}

/// Whether a read of nobody's goes to a replica now.
pub(crate) async fn at_replica(shop: &Shop) -> bool {
    let read = shop.read().stale().await;
    read.is_ok_and(|read| read.server().starts_with("replica"))
}

/// Waits, within a time that nothing healthy takes.
pub(crate) async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
