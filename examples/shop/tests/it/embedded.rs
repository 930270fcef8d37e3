//! The ports of the business over SQLite, as the shop runs by default: what the fakes of the unit
//! tests only claim, a database must keep.

use std::time::Duration;

use seawall::config::Time;
use seawall::data::Settings;
use seawall_cache::Event;
use shop::catalog::data::cache::{self, Cached, Fencing};
use shop::config::{CacheSettings, Rows};
use tempfile::TempDir;

use crate::laws;

/// A file of one's own, gone with the test.
fn file() -> (TempDir, Settings) {
    let directory = TempDir::with_prefix("shop-").expect("temporary directory");
    let url = format!("sqlite://{}/shop.db", directory.path().display());
    (directory, Rows::new(url).settings())
}

#[tokio::test]
async fn shelves_keep_what_the_catalog_relies_on() {
    let (_directory, settings) = file();
    let database = shop::catalog::data::sqlite::open(&settings)
        .await
        .expect("opened");
    shop::catalog::data::sqlite::seed(&database)
        .await
        .expect("seeded");
    shop::catalog::data::sqlite::seed(&database)
        .await
        .expect("seeded once");
    let shelves = shop::catalog::data::sqlite::Shelves::new(database.clone());
    let shown = shop::catalog::data::sqlite::Shown::new(database);
    laws::catalog(shelves, shown).await;
}

#[tokio::test]
async fn rows_that_are_cached_are_those_that_are_sold() {
    use shop::catalog::data::Views as _;
    use shop::catalog::data::sqlite::{Shelves, Shown, open, seed};
    let (_directory, settings) = file();
    let database = open(&settings).await.expect("opened");
    seed(&database).await.expect("seeded");
    // For longer than any test: what shows is shown for being thrown out.
    let settings = CacheSettings {
        alone: Time::new(Duration::from_secs(60)),
        ..CacheSettings::default()
    };
    let (cache, filter) = cache::open(&settings).expect("no URL");
    let shown = Shown::new(database.clone());
    cache::fill(&filter, &shown).await.expect("filled");
    let shelves = Fencing::new(Shelves::new(database), cache.clone());
    let cached = Cached::new(shown, cache.clone());
    // Of three hundred that do not exist hardly any is looked for.
    for absent in 1_000..1_300 {
        assert_eq!(cached.product(absent).await.expect("read"), None);
    }
    assert!(cache.metrics().get(Event::Load) < 30);
    laws::catalog(shelves, cached).await;
    assert!(cache.metrics().get(Event::LocalHit) > 0);
}

#[tokio::test]
async fn books_keep_what_orders_rely_on() {
    let (_directory, settings) = file();
    let database = shop::order::data::sqlite::open(&settings)
        .await
        .expect("opened");
    let books = shop::order::data::sqlite::Books::new(database.clone());
    let listed = shop::order::data::sqlite::Listed::new(database);
    laws::order(books, listed).await;
}

#[tokio::test]
async fn notes_keep_what_notices_rely_on() {
    let (_directory, settings) = file();
    let database = shop::notify::data::sqlite::open(&settings)
        .await
        .expect("opened");
    laws::notify(shop::notify::data::sqlite::Notes::new(database)).await;
}
