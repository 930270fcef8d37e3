//! The composition root: everything is made here, from the inside out, and handed to what needs it.
//! Nothing is looked up anywhere else, so this page is the whole wiring.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use seawall::app::App;

use shop::admin;
use shop::config::Config;
use shop::job;
use shop::{biz, data, server, service};

fn main() -> ExitCode {
    App::<Config>::new("shop")
        .version(env!("CARGO_PKG_VERSION"))
        .run(async |app| {
            let config = app.config();

            let database = data::open(&config.data).await?;
            let metrics = Box::new(database.clone());
            app.metrics(|registry| registry.register_collector(metrics));
            let store = data::notes::Notes::new(database);
            let notes = Arc::new(biz::notes::Notes::new(store, SystemTime::now));

            server::serve(&app, service::notes::Notes::new(Arc::clone(&notes)));
            job::schedule(&app, &config.job, Arc::clone(&notes));
            app.admin(admin::router(notes));
            Ok(())
        })
}
