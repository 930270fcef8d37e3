//! Products, prices and stock.

pub mod biz;
pub mod data;
pub mod service;

use seawall::app::{BoxError, Setup};
use shop_api::v1;

use crate::config::{Config, Switches};
use crate::pkg::Time;
use crate::pkg::faults::Faults;
use crate::pkg::scarce::Scarce;
use data::cache::{Cache, Cached, Forgetting};

/// Puts the catalog together.
///
/// # Errors
/// Its database or its cache cannot be opened.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let rows = app.config().data.catalog.clone();
    let settings = rows.settings();
    let cache = Cache::open(app.config().cache.redis.as_deref()).await?;
    if rows.embedded() {
        use data::sqlite::{Shelves, Shown, open, seed};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        seed(&database).await?;
        let (shelves, shown) = (Shelves::new(database.clone()), Shown::new(database));
        serve(&app, shelves, shown, cache);
    } else {
        use data::mysql::{Shelves, Shown, open, seed};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        seed(&database).await?;
        let (shelves, shown) = (Shelves::new(database.clone()), Shown::new(database));
        serve(&app, shelves, shown, cache);
    }
    Ok(())
}

fn serve<S, V>(app: &Setup<Config>, store: S, views: V, cache: Cache)
where
    S: biz::Store + Clone,
    V: data::Views,
{
    let catalog = biz::Catalog::new(Forgetting::new(store, cache.clone()));
    let views = Cached::new(views, cache);
    let switches = Switches::of(app.live_config());
    let plant = app.config().plant;
    let slots = usize::try_from(plant.slots.get()).unwrap_or(usize::MAX);
    let scarce = Scarce::new(slots, plant.service_time.get());
    let faults = Faults::new(plant.hot_spot, plant.leak, plant.convoy);
    let service = service::Service::new(catalog.clone(), views, switches, scarce, faults);
    app.service(v1::catalog::service(service));
    app.job("take-back", "every 5s", move || {
        let catalog = catalog.clone();
        async move {
            let count = catalog.expire(Time::now(), AT_ONCE).await?;
            if count > 0 {
                tracing::info!(count, "reservations were not confirmed in time");
            }
            Ok(())
        }
    });
}

/// Rows that a job takes at a time.
const AT_ONCE: u32 = 100;
