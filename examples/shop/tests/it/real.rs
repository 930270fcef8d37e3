//! The same laws on a real MariaDB: a suite with set-up and tear-down.
//!
//! Starting a server takes seconds, so the tests of a program share one: whoever is first starts
//! it, whoever is last ends it. Each test has a database of its own on it, made when the test
//! begins and dropped when it ends, however it ends; so tests run side by side, in any order.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use seawall_testkit::MariaDb;
use shop::pkg::sql::Settings;

use crate::laws;

/// What a test is given, and what is put away when it goes.
struct Suite {
    server: Arc<MariaDb>,
    database: String,
}

impl Suite {
    /// Set-up.
    fn new() -> Self {
        static SHARED: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // A test that failed to start it leaves nothing half done.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(MariaDb::start().expect("a MariaDB"));
            *shared = Arc::downgrade(&server);
            server
        });
        let database = format!("shop{}", NEXT.fetch_add(1, Relaxed));
        server.create(&database).expect("a database");
        Self { server, database }
    }

    fn settings(&self) -> Settings {
        Settings::new(self.server.url(&self.database))
    }
}

/// Tear-down.
impl Drop for Suite {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE {}", self.database);
        self.server.execute(&statement).expect("it is ours to drop");
    }
}

#[tokio::test]
async fn shelves_keep_what_the_catalog_relies_on() {
    use shop::catalog::data::mysql::{Shelves, Shown, open, seed};
    let suite = Suite::new();
    let database = open(&suite.settings()).await.expect("opened");
    seed(&database).await.expect("seeded");
    seed(&database).await.expect("seeded once");
    laws::catalog(Shelves::new(database.clone()), Shown::new(database)).await;
}

#[tokio::test]
async fn books_keep_what_orders_rely_on() {
    use shop::order::data::mysql::{Books, Listed, open};
    let suite = Suite::new();
    let database = open(&suite.settings()).await.expect("opened");
    laws::order(Books::new(database.clone()), Listed::new(database)).await;
}

#[tokio::test]
async fn notes_keep_what_notices_rely_on() {
    use shop::notify::data::mysql::{Notes, open};
    let suite = Suite::new();
    let database = open(&suite.settings()).await.expect("opened");
    laws::notify(Notes::new(database)).await;
}
