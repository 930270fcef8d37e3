//! Products, prices and stock.

pub mod biz;
pub mod data;
pub mod service;

use seawall::app::{BoxError, Setup};
use shop_api::v1;

use crate::config::{Config, Switches};
use crate::pkg::Time;

/// Puts the catalog together.
///
/// # Errors
/// Its database cannot be opened.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let settings = app.config().data.catalog.clone();
    if settings.embedded() {
        use data::sqlite::{Shelves, Shown, open, seed};
        let database = open(&settings).await?;
        seed(&database).await?;
        serve(&app, Shelves::new(database.clone()), Shown::new(database));
    } else {
        use data::mysql::{Shelves, Shown, open, seed};
        let database = open(&settings).await?;
        seed(&database).await?;
        serve(&app, Shelves::new(database.clone()), Shown::new(database));
    }
    Ok(())
}

fn serve<S: biz::Store + Clone, V: data::Views>(app: &Setup<Config>, store: S, views: V) {
    let catalog = biz::Catalog::new(store);
    let switches = Switches::of(app.live_config());
    let service = service::Service::new(catalog.clone(), views, switches);
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
