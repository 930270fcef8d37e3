//! What customers are told, and when.

pub mod biz;
pub mod data;
pub mod service;

use seawall::app::{BoxError, Setup};
use shop_api::v1;

use crate::config::Config;

/// Puts the notify service together. It keeps notices; the worker sends them.
///
/// # Errors
/// Its database cannot be opened.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let settings = app.config().data.notify.clone();
    if settings.embedded() {
        use data::sqlite::{Listed, Notes, open};
        let database = open(&settings).await?;
        serve(&app, Notes::new(database.clone()), Listed::new(database));
    } else {
        use data::mysql::{Listed, Notes, open};
        let database = open(&settings).await?;
        serve(&app, Notes::new(database.clone()), Listed::new(database));
    }
    Ok(())
}

fn serve<S: biz::Store, V: data::Views>(app: &Setup<Config>, store: S, views: V) {
    let service = service::Service::new(biz::Notices::new(store), views);
    app.service(v1::notify::service(service));
}
