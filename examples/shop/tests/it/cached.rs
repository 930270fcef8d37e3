//! Product rows in the cache of several catalogs, each with connections of its own, as if in as many
//! processes: over one real MariaDB and one real Redis.

use std::time::Duration;

use seawall::data::Settings;
use seawall_cache::Event;
use seawall_testkit::Redis;
use shop::catalog::biz::{self, Catalog, Held, ProductId, Reservation, ReservationId};
use shop::catalog::biz::{State, Store, Tx, Wanted};
use shop::catalog::data::Views as _;
use shop::catalog::data::cache::{Cache, Cached, Fencing, open};
use shop::catalog::data::mysql::{self, Shelves, Shown};
use shop::config::CacheSettings;
use shop::pkg::{Money, Time};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::real::Suite;
use crate::shop::until;

const NOW: Time = Time::from_millis(1_000_000);
/// Of each product, as it is seeded.
const ALL: u32 = 10_000;

/// A catalog.
struct Instance {
    catalog: Catalog<Fencing<Shelves>>,
    shown: Cached<Shown>,
    cache: Cache,
}

fn cache(redis: &str) -> Cache {
    let settings = CacheSettings {
        redis: Some(redis.to_owned()),
        ..CacheSettings::default()
    };
    open(&settings).expect("a URL").0
}

impl Instance {
    async fn open(database: &Settings, redis: &str) -> Self {
        let database = mysql::open(database).await.expect("opened");
        mysql::seed(&database).await.expect("seeded");
        let cache = cache(redis);
        Self {
            catalog: Catalog::new(Fencing::new(Shelves::new(database.clone()), cache.clone())),
            shown: Cached::new(Shown::new(database), cache.clone()),
            cache,
        }
    }

    /// What its page shows of the product.
    async fn stock(&self) -> u32 {
        let row = self.shown.product(1).await.expect("pages go on");
        row.expect("there").stock
    }

    async fn shows(&self, stock: u32) {
        until("the page follows", || async {
            (self.stock().await == stock).then_some(())
        })
        .await;
    }

    fn loads(&self) -> u64 {
        self.cache.metrics().get(Event::Load)
    }
}

fn id(text: &str) -> ReservationId {
    ReservationId(text.to_owned())
}

async fn sell<S: Store>(catalog: &Catalog<S>, as_id: &str, quantity: u32) {
    let product = ProductId(1);
    let wanted = [Wanted { product, quantity }];
    let sold = catalog.reserve(&id(as_id), &wanted, NOW).await;
    sold.expect("in stock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_one_catalog_sells_another_shows() {
    let (suite, redis) = (Suite::new(), Redis::start().expect("a Redis"));
    let one = Instance::open(&suite.settings("catalog"), &redis.url()).await;
    let two = Instance::open(&suite.settings("catalog"), &redis.url()).await;
    assert_eq!((one.stock().await, two.stock().await), (ALL, ALL));
    assert_eq!(one.loads() + two.loads(), 1, "the other has it from Redis");
    // Rows are kept for ten minutes: what shows at all shows for being told.
    sell(&one.catalog, "a", 3).await;
    assert_eq!(one.stock().await, ALL - 3);
    two.shows(ALL - 3).await;
    let price = Money::cents(7).expect("small");
    let repriced = two.catalog.reprice(ProductId(1), price).await;
    repriced.expect("there");
    until("the price follows", || async {
        let row = one.shown.product(1).await.expect("read").expect("there");
        (row.price == 7).then_some(())
    })
    .await;
    two.catalog.release(&id("a")).await.expect("held");
    one.shows(ALL).await;
    two.shows(ALL).await;

    // What is not there is known not to be, by both.
    let before = one.loads() + two.loads();
    for _ in 0..3 {
        for instance in [&one, &two] {
            let row = instance.shown.product(999).await.expect("read");
            assert_eq!(row, None);
        }
    }
    assert_eq!(one.loads() + two.loads() - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pages_go_on_without_redis_and_nothing_stale_is_left_when_it_is_back() {
    let (suite, mut redis) = (Suite::new(), Redis::start().expect("a Redis"));
    let one = Instance::open(&suite.settings("catalog"), &redis.url()).await;
    let two = Instance::open(&suite.settings("catalog"), &redis.url()).await;
    let mut left = ALL;
    for killed in [true, false] {
        one.shows(left).await;
        two.shows(left).await;
        match killed {
            true => redis.kill(),
            // It comes back with all that it had.
            false => redis.freeze().expect("held"),
        }
        sell(&one.catalog, &format!("away, killed: {killed}"), 1).await;
        left -= 1;
        assert_eq!(one.stock().await, left, "its own it shows at once");
        two.shows(left).await;
        match killed {
            true => redis.restart().expect("started"),
            false => redis.thaw().expect("going on"),
        }
        sell(&two.catalog, &format!("back, killed: {killed}"), 1).await;
        left -= 1;
        one.shows(left).await;
        two.shows(left).await;
        // And so it stays, while it is found again by both.
        for _ in 0..50 {
            assert_eq!((one.stock().await, two.stock().await), (left, left));
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Killed when it has committed and told nobody.
#[test]
fn a_catalog_that_dies_after_its_commit_leaves_nothing_stale() {
    let (suite, redis) = (Suite::new(), Redis::start().expect("a Redis"));
    let runtime = || {
        let mut runtime = runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all().build().expect("one")
    };
    let (here, process) = (runtime(), runtime());
    let two = here.block_on(async {
        let two = Instance::open(&suite.settings("catalog"), &redis.url()).await;
        assert_eq!(two.stock().await, ALL);
        two
    });
    let (committed, mut told) = mpsc::channel(1);
    let (settings, url) = (suite.settings("catalog"), redis.url());
    process.spawn(async move {
        let database = mysql::open(&settings).await.expect("opened");
        let store = Shelves::new(database);
        let dying = Dying { store, committed };
        let catalog = Catalog::new(Fencing::new(dying, cache(&url)));
        sell(&catalog, "a", 3).await;
    });
    here.block_on(told.recv()).expect("committed");
    process.shutdown_background();
    here.block_on(async {
        two.shows(ALL - 3).await;
        // Until its fence falls nobody keeps what is read.
        let before = two.loads();
        for _ in 0..5 {
            assert_eq!((two.stock().await, two.cache.get(&1)), (ALL - 3, None));
        }
        assert_eq!(two.loads() - before, 5);
        // Another sale neither waits for it nor lifts it.
        sell(&two.catalog, "b", 1).await;
        assert_eq!((two.stock().await, two.cache.get(&1)), (ALL - 4, None));
    });
}

/// A store whose process is gone as soon as it has committed.
#[derive(Clone)]
struct Dying<S> {
    store: S,
    committed: mpsc::Sender<()>,
}

impl<S: Store> Store for Dying<S> {
    type Tx = Dying<S::Tx>;

    async fn begin(&self) -> Result<Self::Tx, biz::Error> {
        Ok(Dying {
            store: self.store.begin().await?,
            committed: self.committed.clone(),
        })
    }

    async fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, biz::Error> {
        self.store.reservation(id).await
    }

    async fn lapsed(&self, now: Time, most: u32) -> Result<Vec<ReservationId>, biz::Error> {
        self.store.lapsed(now, most).await
    }
}

impl<T: Tx> Tx for Dying<T> {
    async fn insert(&mut self, id: &ReservationId, until: Time) -> Result<bool, biz::Error> {
        self.store.insert(id, until).await
    }

    async fn take(&mut self, id: &ReservationId, wanted: Wanted) -> Result<Held, biz::Error> {
        self.store.take(id, wanted).await
    }

    async fn put_back(&mut self, held: &Held) -> Result<(), biz::Error> {
        self.store.put_back(held).await
    }

    async fn turn(
        &mut self,
        id: &ReservationId,
        from: &[State],
        to: State,
    ) -> Result<bool, biz::Error> {
        self.store.turn(id, from, to).await
    }

    async fn reprice(&mut self, product: ProductId, price: Money) -> Result<bool, biz::Error> {
        self.store.reprice(product, price).await
    }

    async fn commit(self) -> Result<(), biz::Error> {
        self.store.commit().await?;
        self.committed.send(()).await.expect("somebody listens");
        std::future::pending().await
    }
}
