//! The same laws on a real MariaDB and Redis, and all of the shop over these and NATS: a suite with
//! set-up and tear-down.
//!
//! Starting a server takes seconds, so the tests of a program share one: whoever is first starts
//! it, whoever is last ends it. Each test has a database of its own on it, made when the test
//! begins and dropped when it ends, however it ends; so tests run side by side, in any order.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use seawall::data::Settings;
use seawall_testkit::{MariaDb, Recipe, Redis, Server};
use shop::catalog::data::cache::{Cached, Fencing, open as cache};
use shop::config::{CacheSettings, Rows};
use tempfile::TempDir;

use crate::laws;
use crate::shop::{Shop, get, http, place, send, until};

struct Servers {
    mariadb: MariaDb,
    redis: Redis,
    nats: Server,
}

/// What a test is given, and what is put away when it goes.
pub(crate) struct Suite {
    servers: Arc<Servers>,
    /// Its number among the tests: names its databases.
    number: u32,
}

/// One of each kind for all that a service keeps.
const DATABASES: [&str; 3] = ["catalog", "order", "notify"];

impl Suite {
    /// Set-up.
    pub(crate) fn new() -> Self {
        static SHARED: Mutex<Weak<Servers>> = Mutex::new(Weak::new());
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // A test that failed to start it leaves nothing half done.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let servers = shared.upgrade().unwrap_or_else(|| {
            let servers = Arc::new(Servers {
                mariadb: MariaDb::start().expect("a MariaDB"),
                redis: Redis::start().expect("a Redis"),
                nats: Server::start(&Recipe::nats()).expect("a NATS"),
            });
            *shared = Arc::downgrade(&servers);
            servers
        });
        let suite = Self {
            servers,
            number: NEXT.fetch_add(1, Relaxed),
        };
        for name in DATABASES {
            let name = suite.database(name);
            suite.servers.mariadb.create(&name).expect("a database");
        }
        suite
    }

    fn database(&self, name: &str) -> String {
        format!("shop{}_{name}", self.number)
    }

    fn url(&self, name: &str) -> String {
        self.servers.mariadb.url(&self.database(name))
    }

    pub(crate) fn settings(&self, name: &str) -> Settings {
        Rows::new(self.url(name)).settings()
    }

    /// A Redis has sixteen databases, told apart by number.
    fn redis(&self) -> String {
        format!("{}/{}", self.servers.redis.url(), self.number % 16)
    }

    /// As all services are told.
    fn config(&self) -> String {
        let data = |name| format!("[data.{name}]\nurl = \"{}\"\n\n", self.url(name));
        let (redis, nats) = (self.redis(), self.servers.nats.address());
        let more =
            format!("[cache]\nredis = \"{redis}\"\n\n[events]\nnats = \"nats://{nats}\"\n\n");
        DATABASES.map(data).concat() + &more
    }
}

/// Tear-down. It waits for what the server is still told by the test's connections, which end on the
/// runtime's other thread.
impl Drop for Suite {
    fn drop(&mut self) {
        for name in DATABASES {
            let statement = format!("DROP DATABASE {}", self.database(name));
            let dropped = self.servers.mariadb.execute(&statement);
            dropped.expect("it is ours to drop");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_redis_keeps_are_those_that_are_sold() {
    use shop::catalog::data::Views as _;
    use shop::catalog::data::mysql::{Shelves, Shown, open, seed};
    let suite = Suite::new();
    let database = open(&suite.settings("catalog")).await.expect("opened");
    seed(&database).await.expect("seeded");
    let redis = Some(suite.redis());
    let settings = CacheSettings {
        redis,
        ..CacheSettings::default()
    };
    let (cache, _) = cache(&settings).expect("a URL");
    let shown = Cached::new(Shown::new(database.clone()), cache.clone());
    let shelves = Fencing::new(Shelves::new(database.clone()), cache);

    let before = shown.product(20).await.expect("read").expect("there");
    let mut behind = database.write().await.expect("connected");
    sqlx::query("UPDATE products SET title = 'another' WHERE id = 20")
        .execute(&mut behind)
        .await
        .expect("written");
    drop(behind);
    let kept = shown.product(20).await.expect("read");
    assert_eq!(kept, Some(before), "from the cache");
    // All that the business does goes through the cache as without it.
    laws::catalog(shelves, shown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_real_servers_an_order_is_placed_listed_paid_and_told() {
    let suite = Suite::new();
    let directory = TempDir::with_prefix("shop-").expect("temporary directory");
    let shop = Shop::start_on(directory, &suite.config()).await;
    let orders = http(&shop.order);
    let (status, placed) = send(&orders, "POST", "/v1/orders", place("key-0001", 1)).await;
    assert_eq!(status, 200, "{placed}");
    let (_, listed) = get(&orders, "/v1/customers/ann/orders").await;
    assert_eq!(
        listed["orders"][0]["id"], placed["id"],
        "one's own is seen at once"
    );
    let (_, product) = get(&http(&shop.catalog), "/v1/products/2").await;
    assert_eq!(product["stock"], 9_999);
    let pay = format!("/v1/orders/{}/pay", placed["id"].as_str().expect("an id"));
    let (status, paid) = send(&orders, "POST", &pay, serde_json::json!({})).await;
    assert_eq!((status, &paid["status"]), (200, &"PAID".into()));
    // The worker sends it by NATS, the notify service takes it from there.
    let notices = http(&shop.notify);
    until("a receipt", || async {
        let (_, told) = get(&notices, "/v1/customers/ann/notices").await;
        let sent = |notice: &serde_json::Value| notice["state"] == "SENT";
        told["notices"].as_array()?.iter().any(sent).then_some(())
    })
    .await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn shelves_keep_what_the_catalog_relies_on() {
    use shop::catalog::data::mysql::{Shelves, Shown, open, seed};
    let suite = Suite::new();
    let database = open(&suite.settings("catalog")).await.expect("opened");
    seed(&database).await.expect("seeded");
    seed(&database).await.expect("seeded once");
    laws::catalog(Shelves::new(database.clone()), Shown::new(database)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn books_keep_what_orders_rely_on() {
    use shop::order::data::mysql::{Books, Listed, open};
    let suite = Suite::new();
    let database = open(&suite.settings("order")).await.expect("opened");
    laws::order(Books::new(database.clone()), Listed::new(database)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn notes_keep_what_notices_rely_on() {
    use shop::notify::data::mysql::{Notes, open};
    let suite = Suite::new();
    let database = open(&suite.settings("notify")).await.expect("opened");
    laws::notify(Notes::new(database)).await;
}
