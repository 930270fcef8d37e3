//! What is read of notices.

use seawall::data::{Database, Error};

use super::Db;
use super::notes::{Row, notice};
use crate::notify::data::{NoticeView, Views};

/// The queries, on a replica where there is one.
#[derive(Clone, Debug)]
pub struct Listed {
    database: Database<Db>,
}

impl Listed {
    /// Over this database.
    #[must_use]
    pub fn new(database: Database<Db>) -> Self {
        Self { database }
    }
}

impl Views for Listed {
    async fn latest(&self, customer: &str, most: u32) -> Result<Vec<NoticeView>, Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT order_id, kind, customer, text, due, state, attempts FROM notices
             WHERE customer = ? ORDER BY due DESC LIMIT ?",
        )
        .bind(customer)
        .bind(i64::from(most))
        .fetch_all(&mut self.database.read().await?)
        .await?;
        let notice =
            |row| notice(row).map_err(|error| Error::Query(sqlx::Error::Decode(error.into())));
        rows.into_iter().map(notice).collect()
    }
}
