//! What is read of orders, past the business.

use seawall::data::{Database, Error};

use super::Db;
use crate::order::data::{OrderView, Views, row};
use crate::pkg::number;

/// The queries, on a replica that has what this customer did, where there is one.
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
    async fn latest(&self, customer: &str, most: u32) -> Result<Vec<OrderView>, Error> {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT id, total, status, placed_at FROM orders
             WHERE customer = ? ORDER BY placed_at DESC LIMIT ?",
        )
        .bind(customer)
        .bind(i64::from(most))
        .fetch_all(&mut self.database.read().session(customer).await?)
        .await?;
        let view = |(id, total, status, placed_at): (String, i64, i64, i64)| {
            Ok(OrderView {
                id,
                total: number::unsigned(total),
                status: row::status_of(status).map_err(unreadable)?,
                placed_at: number::unsigned(placed_at),
            })
        };
        rows.into_iter().map(view).collect()
    }
}

fn unreadable(error: crate::order::biz::Error) -> Error {
    Error::Query(sqlx::Error::Decode(error.into()))
}
