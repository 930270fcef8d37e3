//! Orders: placed, paid for, or run out.

pub mod biz;
pub mod data;
pub mod service;

use seawall::app::{BoxError, Setup};
use shop_api::v1;

use crate::config::{Config, Switches};
use data::catalog::Catalog;

/// Puts the order service together.
///
/// # Errors
/// Its database cannot be opened, or the configuration has no `[upstreams.catalog]`.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let rows = app.config().data.order.clone();
    let settings = rows.settings();
    let catalog = Catalog::new(&app.client("catalog")?);
    if rows.embedded() {
        use data::sqlite::{Books, Listed, open};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        let (books, listed) = (Books::new(database.clone()), Listed::new(database));
        serve(&app, books, listed, catalog);
    } else {
        use data::mysql::{Books, Listed, open};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        let (books, listed) = (Books::new(database.clone()), Listed::new(database));
        serve(&app, books, listed, catalog);
    }
    Ok(())
}

fn serve<S: biz::Store + Clone, V: data::Views>(
    app: &Setup<Config>,
    store: S,
    views: V,
    catalog: Catalog,
) {
    let terms = biz::Terms {
        pay_within: app.config().terms.pay_within.get(),
    };
    let orders = biz::Orders::new(store.clone(), catalog.clone(), terms);
    let switches = Switches::of(app.live_config());
    let service = service::Service::new(store, orders, views, catalog, switches);
    app.service(v1::orders::service(service));
}
