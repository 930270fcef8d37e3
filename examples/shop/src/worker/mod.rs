//! What is done by itself, now and then: orders expire, what happened is told, notices are sent.
//!
//! A program of its own, so that its work takes nothing from those who are waiting for an answer.
//! It has no service: jobs alone, over the same business and the same tables. Any number may run.

use seawall::app::{BoxError, Setup};

use crate::config::Config;
use crate::order::data::catalog::Catalog;
use crate::order::data::tell::{Notify, Queue};
use crate::pkg::{Time, queue};
use crate::{notify, order};

/// Rows that a job takes at a time.
const AT_ONCE: u32 = 100;

/// Puts the worker together.
///
/// # Errors
/// A database cannot be opened, or the configuration lacks an upstream.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let data = app.config().data.clone();
    if data.order.embedded() {
        let database = order::data::sqlite::open(&data.order.settings()).await?;
        tell(&app, order::data::sqlite::Books::new(database)).await?;
    } else {
        let database = order::data::mysql::open(&data.order.settings()).await?;
        tell(&app, order::data::mysql::Books::new(database)).await?;
    }
    if data.notify.embedded() {
        let database = notify::data::sqlite::open(&data.notify.settings()).await?;
        send(&app, notify::data::sqlite::Notes::new(database));
    } else {
        let database = notify::data::mysql::open(&data.notify.settings()).await?;
        send(&app, notify::data::mysql::Notes::new(database));
    }
    Ok(())
}

async fn tell<S>(app: &Setup<Config>, books: S) -> Result<(), BoxError>
where
    S: order::biz::Store + Clone,
{
    let catalog = Catalog::new(&app.client("catalog")?);
    if let Some(url) = &app.config().events.nats {
        let queue = Queue::new(queue::connect(url).await?);
        settle(app, order::biz::Settle::new(books, catalog, queue));
    } else {
        let notify = Notify::new(&app.client("notify")?);
        settle(app, order::biz::Settle::new(books, catalog, notify));
    }
    Ok(())
}

fn settle<S, C, T>(app: &Setup<Config>, settle: order::biz::Settle<S, C, T>)
where
    S: order::biz::Store + Clone,
    C: order::biz::Stock + Clone,
    T: order::biz::Tell + Clone,
{
    let expire = settle.clone();
    app.job("expire", "every 1s", move || {
        let settle = expire.clone();
        async move {
            let count = settle.expire(Time::now(), AT_ONCE).await?;
            if count > 0 {
                tracing::info!(count, "orders were not paid in time");
            }
            Ok(())
        }
    });
    app.job("tell", "every 1s", move || {
        let settle = settle.clone();
        async move {
            let told = settle.tell(AT_ONCE).await?;
            if told.failed > 0 {
                tracing::warn!(told.failed, "events that nobody hears; they are told again");
            }
            Ok(())
        }
    });
}

fn send<S: notify::biz::Store + Clone>(app: &Setup<Config>, notes: S) {
    let notices = notify::biz::Notices::new(notes);
    app.job("send", "every 1s", move || {
        let notices = notices.clone();
        async move {
            let post = notify::data::post::Post;
            let (_, failed) = notices.send(&post, Time::now(), AT_ONCE).await?;
            if failed > 0 {
                tracing::warn!(
                    failed,
                    "notices that could not be sent; they are tried again"
                );
            }
            Ok(())
        }
    });
}
