//! What is read of notices.

use super::Db;
use super::notes::{Row, notice};
use crate::notify::data::{NoticeView, Views};
use crate::pkg::sql::Database;

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
    async fn latest(&self, customer: &str, most: u32) -> Result<Vec<NoticeView>, sqlx::Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT order_id, kind, customer, text, due, state, attempts FROM notices
             WHERE customer = ? ORDER BY due DESC LIMIT ?",
        )
        .bind(customer)
        .bind(i64::from(most))
        .fetch_all(self.database.replica())
        .await?;
        let notice = |row| notice(row).map_err(|error| sqlx::Error::Decode(error.into()));
        rows.into_iter().map(notice).collect()
    }
}
