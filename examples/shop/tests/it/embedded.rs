//! The ports of the business over SQLite, as the shop runs by default: what the fakes of the unit
//! tests only claim, a database must keep.

use seawall::data::Settings;
use shop::config::Rows;
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
