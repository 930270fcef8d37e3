//! The embedded database, by the same API: one writer, many readers, migrations.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![cfg(feature = "sqlite")]

use std::time::Duration;

use seawall::data::{Connection, Database, Error, Settings};
use seawall_sync::testing::drop_after_each_poll;
use sqlx::Sqlite;
use tempfile::TempDir;

type Shop = Database<Sqlite>;

const SCHEMA: &[(&str, &str)] = &[(
    "0001_stock",
    "CREATE TABLE stock (item INT PRIMARY KEY, count INT NOT NULL); INSERT INTO stock VALUES (1, 100)",
)];

fn settings(directory: &TempDir) -> Settings {
    Settings::new(format!("sqlite://{}/shop.db", directory.path().display()))
}

async fn shop() -> (Shop, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::open(&settings(&directory)).await.unwrap();
    assert_eq!(shop.migrate(SCHEMA).await.unwrap(), 1);
    (shop, directory)
}

async fn count(connection: &mut Connection<Sqlite>) -> Result<i64, Error> {
    let count = sqlx::query_scalar("SELECT count FROM stock WHERE item = 1");
    Ok(count.fetch_one(connection).await?)
}

async fn take(connection: &mut Connection<Sqlite>, taken: i64) -> Result<(), Error> {
    let take = sqlx::query("UPDATE stock SET count = count - ? WHERE item = 1").bind(taken);
    take.execute(connection).await?;
    Ok(())
}

async fn left(shop: &Shop) -> i64 {
    count(&mut shop.read().await.unwrap()).await.unwrap()
}

/// Futures of handlers are sent between threads, with what they borrow.
fn sent<F: Future + Send>(future: F) -> F {
    future
}

#[tokio::test]
async fn a_transaction_is_whole_or_nothing() {
    let (shop, _directory) = shop().await;
    let taken = String::from("7");
    let done = sent(shop.transaction(async |tx| {
        take(tx, taken.parse().unwrap()).await?;
        count(tx).await
    }));
    assert_eq!(done.await.unwrap(), 93);

    let failed = shop.transaction(async |tx| {
        take(tx, 50).await?;
        let missing = sqlx::query("SELECT 1 FROM nowhere");
        missing.execute(&mut *tx).await?;
        Ok::<_, Error>(())
    });
    assert!(matches!(failed.await, Err(Error::Query(_))));
    assert_eq!(left(&shop).await, 93);

    let other = shop.clone();
    let panicked = tokio::spawn(async move {
        let work = other.transaction(async |tx| -> Result<(), Error> {
            take(tx, 50).await?;
            panic!("on purpose")
        });
        work.await
    });
    assert!(panicked.await.is_err());
    assert_eq!(left(&shop).await, 93);
}

#[tokio::test]
async fn another_connection_within_a_transaction_is_refused() {
    let (shop, _directory) = shop().await;
    let nested = shop.transaction(async |_| {
        assert!(matches!(shop.write().await, Err(Error::Nested)));
        assert!(matches!(shop.read().await, Err(Error::Nested)));
        shop.transaction(async |tx| take(tx, 1).await).await
    });
    assert!(matches!(nested.await, Err(Error::Nested)));
    // Not after it, nor in a database of another name.
    let (other, _directory) = self::shop().await;
    let apart = shop.transaction(async |_| Ok::<_, Error>(left(&other).await));
    assert_eq!(apart.await.unwrap(), 100);
    assert_eq!(left(&shop).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_readers_at_once_lose_nothing() {
    let (shop, _directory) = shop().await;
    let writers = (0..50).map(|_| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let work = shop.write().transaction_with_retry(async |tx| {
                let before = count(tx).await?;
                take(tx, 1).await?;
                assert_eq!(count(tx).await?, before - 1);
                Ok::<_, Error>(())
            });
            work.await.unwrap();
            left(&shop).await
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        assert!(writer.await.unwrap() < 100, "its own write, at least");
    }
    assert_eq!(left(&shop).await, 50);
}

#[tokio::test]
async fn who_reads_cannot_write() {
    let (shop, _directory) = shop().await;
    let mut reader = shop.read().await.unwrap();
    assert!(matches!(take(&mut reader, 1).await, Err(Error::Query(_))));
    assert_eq!(count(&mut reader).await.unwrap(), 100);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_at_any_point_leaves_nothing() {
    let (shop, _directory) = shop().await;
    let polls = drop_after_each_poll(
        || {
            let work = shop.write().transaction_with_retry(async |tx| {
                take(tx, 10).await?;
                take(tx, 20).await
            });
            async move { work.await.unwrap() }
        },
        async |_| {
            let left = left(&shop).await;
            assert!(left % 30 == 10, "a part of it: {left}");
        },
    )
    .await;
    assert!(polls > 4, "{polls}");
    assert!(left(&shop).await <= 70);
    let writes = &shop.stats().pools[0];
    assert_eq!((writes.limit, writes.waiting), (1, 0));
}

#[tokio::test]
async fn migrations_are_applied_once_and_whole() {
    let (shop, directory) = shop().await;
    assert_eq!(shop.migrate(SCHEMA).await.unwrap(), 0);
    let with = |step| SCHEMA.iter().copied().chain([step]).collect::<Vec<_>>();
    let bad = with((
        "0002_bad",
        "CREATE TABLE a (n INT); CREATE TABLE stock (n INT)",
    ));
    let error = shop.migrate(&bad).await.unwrap_err();
    assert!(error.to_string().contains("0002_bad"), "{error}");
    // Nothing is left of it, so that it can be corrected.
    let good = with(("0002_bad", "CREATE TABLE a (n INT)"));
    assert_eq!(shop.migrate(&good).await.unwrap(), 1);
    for (wrong, why) in [
        (with(("0002_bad", "CREATE TABLE a (n TEXT)")), "changed"),
        (with(("0001_z", "SELECT 1")), "comes before"),
        (with(("0000_a", "SELECT 1")), "after"),
        (with(("0003'; DROP TABLE stock; --", "SELECT 1")), "A-Z"),
    ] {
        let error = shop.migrate(&wrong).await.unwrap_err();
        assert!(matches!(&error, Error::Migration { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    // Other instances at once.
    let again = Shop::open(&settings(&directory)).await.unwrap();
    let more = with(("0002_bad", "CREATE TABLE a (n INT)"));
    let more: Vec<_> = more
        .into_iter()
        .chain([("0003_b", "CREATE TABLE b (n INT)")])
        .collect();
    let (one, other) = tokio::join!(shop.migrate(&more), again.migrate(&more));
    assert_eq!(one.unwrap() + other.unwrap(), 1);
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let with_replica = Settings {
        replicas: vec!["sqlite:///x".into()],
        ..settings(&directory)
    };
    for settings in [
        with_replica,
        Settings::new("sqlite::memory:"),
        Settings::new(""),
    ] {
        let error = Shop::open(&settings).await.unwrap_err();
        assert!(matches!(error, Error::Settings { .. }), "{error}");
    }
    let nowhere = Settings::new("sqlite:///nowhere/at/all.db");
    let error = Shop::open(&nowhere).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let (shop, _directory) = shop().await;
    let error = shop.read().lane("reports").await.unwrap_err();
    assert!(
        error.to_string().contains("[data.lanes.reports]"),
        "{error}"
    );
}

#[tokio::test]
async fn a_lane_takes_no_others_connections() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(&directory);
    settings.acquire_timeout = Duration::from_millis(50);
    settings.lanes.insert("reports".into(), Default::default());
    let shop = Shop::open(&settings).await.unwrap();
    shop.migrate(SCHEMA).await.unwrap();
    let _one = shop.read().lane("reports").await.unwrap();
    let _two = shop.read().lane("reports").await.unwrap();
    let third = shop.read().lane("reports").await.unwrap_err();
    let rejection = third.rejection().expect("a rejection");
    assert_eq!(rejection.reason, seawall::Reason::Lane);
    assert_eq!(left(&shop).await, 100);
}

#[tokio::test]
async fn a_transaction_that_is_kept_is_whole_or_nothing() {
    let (shop, _directory) = shop().await;
    let mut tx = sent(shop.begin()).await.unwrap();
    take(&mut tx, 7).await.unwrap();
    assert_eq!(left(&shop).await, 100, "not yet");
    sent(tx.commit()).await.unwrap();
    assert_eq!(left(&shop).await, 93);

    let ended = |shop: &Shop| {
        shop.stats()
            .pools
            .iter()
            .map(|pool| pool.ended)
            .sum::<u64>()
    };
    let before = ended(&shop);
    let mut tx = shop.begin().await.unwrap();
    take(&mut tx, 7).await.unwrap();
    drop(tx);
    // The one writer, as soon as that is undone.
    let mut tx = shop.begin().await.unwrap();
    assert_eq!(
        count(&mut tx).await.unwrap(),
        93,
        "dropped, nothing was done"
    );
    take(&mut tx, 1).await.unwrap();
    tx.roll_back().await;
    assert_eq!(left(&shop).await, 93);
    assert_eq!(ended(&shop), before, "a refusal costs no connection");
}
