//! What customers are told, and when.

pub mod biz;
pub mod data;
pub mod service;

use seawall::app::{BoxError, Setup};
use shop_api::v1;

use crate::config::Config;
use crate::order::data::tell::SUBJECT;
use crate::pkg::queue;

/// Puts the notify service together. It keeps notices; the worker sends them.
///
/// # Errors
/// Its database cannot be opened.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let rows = app.config().data.notify.clone();
    let settings = rows.settings();
    if rows.embedded() {
        use data::sqlite::{Listed, Notes, open};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        let (notes, listed) = (Notes::new(database.clone()), Listed::new(database));
        serve(&app, notes, listed).await?;
    } else {
        use data::mysql::{Listed, Notes, open};
        let database = open(&settings).await?;
        app.metrics(|all| all.register_collector(Box::new(database.clone())));
        let (notes, listed) = (Notes::new(database.clone()), Listed::new(database));
        serve(&app, notes, listed).await?;
    }
    Ok(())
}

async fn serve<S, V>(app: &Setup<Config>, store: S, views: V) -> Result<(), BoxError>
where
    S: biz::Store + Clone,
    V: data::Views,
{
    let notices = biz::Notices::new(store);
    app.service(v1::notify::service(service::Service::new(
        notices.clone(),
        views,
    )));
    if let Some(url) = &app.config().events.nats {
        let client = queue::connect(url).await?;
        app.worker("events", move |life| {
            let keep = move |bytes: Vec<u8>| {
                let notices = notices.clone();
                async move { service::hear_bytes(&notices, &bytes).await }
            };
            queue::take(client, SUBJECT, "notify", life, keep)
        });
    }
    Ok(())
}
