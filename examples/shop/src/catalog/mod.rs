//! Products, prices and stock.

pub mod biz;
pub mod data;
pub mod service;

use seawall::app::{BoxError, Setup};
use seawall_cache::Caches;
use shop_api::v1;

use crate::config::{Config, Switches};
use crate::pkg::Time;
use crate::pkg::faults::Faults;
use crate::pkg::scarce::Scarce;
use data::cache::{self, Cached, Fencing};

/// Puts the catalog together.
///
/// # Errors
/// Its database cannot be opened, or the cache's URL is none.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let rows = app.config().data.catalog.clone();
    let settings = rows.settings();
    if rows.embedded() {
        use data::sqlite::{Shelves, Shown, open, seed};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        seed(&database).await?;
        let (shelves, shown) = (Shelves::new(database.clone()), Shown::new(database));
        serve(&app, shelves, shown)?;
    } else {
        use data::mysql::{Shelves, Shown, open, seed};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        seed(&database).await?;
        let (shelves, shown) = (Shelves::new(database.clone()), Shown::new(database));
        serve(&app, shelves, shown)?;
    }
    Ok(())
}

fn serve<S, V>(app: &Setup<Config>, store: S, views: V) -> Result<(), BoxError>
where
    S: biz::Store<Tx: 'static> + Clone,
    V: data::Views + Clone,
{
    let (cache, filter) = cache::open(&app.config().cache)?;
    let caches = Caches::default();
    caches.add(&cache);
    caches.show(app);
    let catalog = biz::Catalog::new(Fencing::new(store, cache.clone()));
    let cached = Cached::new(views.clone(), cache);
    let switches = Switches::of(app.live_config());
    let plant = app.config().plant;
    let slots = usize::try_from(plant.slots.get()).unwrap_or(usize::MAX);
    let scarce = Scarce::new(slots, plant.service_time.get());
    let faults = Faults::new(plant.hot_spot, plant.leak, plant.convoy);
    let service = service::Service::new(catalog.clone(), cached, switches, scarce, faults);
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
    app.job("know-products", "every 60s", move || {
        let (filter, views) = (filter.clone(), views.clone());
        async move { Ok(cache::fill(&filter, &views).await?) }
    });
    Ok(())
}

/// Rows that a job takes at a time.
const AT_ONCE: u32 = 100;
